"""torch modules: layers scaled to unit output on one batch, LSUV and in one pass."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from arrayinit.backends import backend_of, is_compiling
from arrayinit.common.calls import hinting
from arrayinit.common.messages import shown
from arrayinit.models.derived import derived_of
from arrayinit.models.matching import SeedNames
from arrayinit.models.output_scales import (
    LayerScale,
    Method,
    Moments,
    OutputScales,
    Per,
    check_layers,
    finished,
    lsuv_method,
    settle,
    start_of,
    unit_method,
)
from arrayinit.models.plans import PlanError
from arrayinit.models.rules import Rule, Rules
from arrayinit.models.signals import Layers, arguments, is_chosen
from arrayinit.models.torch import init_module_
from arrayinit.models.torch_members import (
    ModuleTensor,
    is_layer,
    modules_by_path,
    parameters_of,
    shapeless,
    tensors_of,
)

__all__ = ["lsuv_", "unit_output_"]

NOT_LINEAR = "unchanged: {} is no linear layer or convolution"
NEVER_CALLED = "unchanged: it never runs on its own in the forward pass"


@hinting
def lsuv_(
    module: nn.Module,
    batch: Any,
    rules: Any = "orthogonal",
    *,
    seed: Any = None,
    seed_names: SeedNames | None = None,
    layers: Layers | None = None,
    tolerance: float = 0.1,
    iterations: int = 10,
) -> OutputScales:
    """LSUV: draw a torch module, then scale layer after layer until its output has variance 1; returns a report.

    Layers come in the order of their first calls. The weight W of each is divided by sqrt(Var(y)), where y = W x + b is
    its output for the batch and Var that of all elements of y, until |Var(y) - 1| < tolerance. A bias, which is 0 in
    the paper, is divided with its weight, so that y is scaled as a whole. See Mishkin & Matas, "All you need is a good
    init", ICLR 2016, Algorithm 1, with Tol_var = 0.1. The paper runs the model again for each division; here the layer
    is run again on its inputs, which comes to the same, so it takes three passes of the model, whatever its depth.

    **Layers** are linear layers (Linear, Bilinear, transformers' Conv1D), convolutions, and nn.MultiheadAttention, of
    which the output projection is scaled. All others with matrices are listed in the report and stay: embeddings, and
    recurrent layers, which return tuples. Layers also stay if their output is constant, if they never run, if they are
    frozen or loaded by transformers, if they share a tensor with a layer that ran earlier (a head that is tied to an
    embedding), or if their parametrization doesn't pass a scale on (spectral_norm). weight_norm's magnitude is scaled,
    and the matrix below a pruning mask. A layer that runs several times is scaled at its first call.

    **The passes** run without gradients and in evaluation mode: no dropout, and norms use their running statistics,
    which don't change. torch's generators start from a fixed seed there. Modes, generators, buffers and hooks are as
    before afterwards. If anything fails, so are all parameters, of which a copy is kept meanwhile; a key that seed=None
    took is used up.

    The draw is the same bits everywhere. The factors are not: they come from floating-point sums, whose order depends
    on the device and the library. They are measured in float64 (on devices that have it, in other cases on the CPU).

    Args:
        module: any torch.nn.Module that is not on the meta device, lazy or sharded; see :func:`init_module_` for those.
        batch: inputs of the model: a tensor, a tuple of arguments, or a dictionary of keywords.
        rules: what draws the module before it is scaled. "orthogonal" is the paper's start: orthogonal weights of the
            layers that are scaled, and biases 0; all else stays. Rules, or what `Rules()` accepts, as in
            :func:`init_module_`; frozen parameters stay. None starts from the weights that are there.
        seed, seed_names: as in :func:`init_module_`; the key of each parameter is fold(seed, its path).
        layers: a glob on paths, or a predicate of path and module, of the layers to be scaled, of whatever class. Each
            needs a `weight` that its output is proportional to, apart from a `bias`.
        tolerance: of the variance, in (0, 1).
        iterations: the most divisions of a weight.

    Returns:
        A table, which `print` shows: std before and after, factor and iterations of each layer, and a note where one
        stays. `report["0"]` is the row of a path, with these as fields.

    Raises:
        TypeError: a module, batch or layers of another kind.
        ValueError: outputs that are not finite (the text names the layer); no layer to scale; parameters on the meta
            device or sharded; a tolerance or iterations out of range; a seed with rules=None.
        PlanError: as :func:`init_module_`, or parameters that have no shape or no memory of their own.

    Warns:
        UserWarning: outputs that are not within the tolerance in the end.

    Example:
        >>> import torch
        >>> from arrayinit.torch import lsuv_
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
        >>> x = ai.uniform((64, 8), seed=1, xp="torch")
        >>> print(lsuv_(model, x, seed=0))
        layer  std before  std after  mean after  factor  iterations  calls
        -------------------------------------------------------------------
        0          0.3994          1    -0.04808   2.504           1      1
        2           0.659          1      0.2387   1.518           1      1
        -------------------------------------------------------------------
        2 layers, 2 scaled
        >>> round(model(x).detach().std(correction=0).item(), 5)
        1.0
    """
    return _scale(module, batch, rules, seed, seed_names, layers, lsuv_method(tolerance, iterations))


@hinting
def unit_output_(
    module: nn.Module,
    batch: Any,
    rules: Any = None,
    *,
    seed: Any = None,
    seed_names: SeedNames | None = None,
    layers: Layers | None = None,
    per: Per = "layer",
    center: bool = False,
) -> OutputScales:
    """Scale each layer of a torch module once, so that its output on a batch has variance 1; returns a report.

    Layers come in the order of their first calls. With mean m and standard deviation s of the output y = W x + b of a
    layer, W becomes W / s and b becomes b / s, or (b - m) / s with `center`, so that y becomes y / s or (y - m) / s.

    Per channel with `center` this is the data-dependent initialization of Salimans & Kingma, "Weight Normalization",
    NeurIPS 2016, section 3, and the within-layer initialization of Krähenbühl et al., "Data-dependent
    Initializations of Convolutional Neural Networks", ICLR 2016, Algorithm 1 with beta = 0. The between-layer
    normalization of the latter is not here.

    Which layers are scaled, how the passes run and what stays is as in :func:`lsuv_`.

    Args:
        module, batch, seed, seed_names, layers: as in :func:`lsuv_`.
        rules: None starts from the weights that are there. Otherwise what draws them, as in :func:`lsuv_`.
        per: "layer": m and s are numbers, of all elements of y. "channel": they are those of each output feature of a
            linear layer or channel of a convolution. Layers without such an axis stay, and so do transposed
            convolutions with groups.
        center: whether the mean becomes 0. A layer without a bias stays.

    Raises:
        TypeError, ValueError, PlanError: as :func:`lsuv_`; a `per` or `center` of another kind.

    Example:
        >>> import torch
        >>> from arrayinit.torch import unit_output_
        >>> model, x = torch.nn.Linear(3, 2), ai.uniform((64, 3), seed=1, xp="torch")
        >>> report = unit_output_(model, x, {"*": "normal"}, seed=0, per="channel", center=True)
        >>> [round(std, 5) for std in model(x).std(dim=0, correction=0).tolist()]
        [1.0, 1.0]
        >>> report[0].iterations, report[0].calls
        (1, 1)
    """
    return _scale(module, batch, rules, seed, seed_names, layers, unit_method(per, center))


def _scale(
    module: nn.Module, batch: Any, rules: Any, seed: Any, seed_names: Any, layers: Layers | None, method: Method
) -> OutputScales:
    if is_compiling():
        raise TypeError("a model can't be scaled inside torch.compile or torch.export: do so before it is compiled")
    if not isinstance(module, nn.Module):
        raise TypeError(f"`module` must be a torch.nn.Module; got {shown(module)}")
    check_layers(layers)
    args, kwargs = _inputs(batch)
    rules = start_of(rules, seed)
    _check(module)
    model = _Model(module, layers, method)

    def run() -> None:
        module(*args, **kwargs)

    with _kept(module) as succeed:
        with _passing(module):
            model.watch(run)
        if rules is not None:
            start = rules if isinstance(rules, Rules) else model.orthogonal()
            init_module_(module, start, seed=seed, seed_names=seed_names, frozen="keep", progress=False)
        with _passing(module):
            report = model.scale(run)
        succeed()
    return report


def _inputs(batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments and keywords. TypeError where a batch holds no tensor."""
    args, kwargs = arguments(batch) if isinstance(batch, torch.Tensor | tuple | Mapping) else ((), {})
    if not any(isinstance(x, torch.Tensor) for x in (*args, *kwargs.values())):
        raise TypeError(
            f"`batch` must be a tensor, a tuple of arguments or a dictionary of keywords with a tensor among them; got "
            f"{shown(batch)}"
        )
    if any(isinstance(x, torch.Tensor) and x.is_meta for x in (*args, *kwargs.values())):
        raise ValueError("`batch` must hold values; got a tensor on the meta device")
    return args, kwargs


def _check(module: nn.Module) -> None:
    """Refuse a model that can't be run here, or whose parameters are not whole here."""
    unknown = shapeless(module)
    if unknown:
        raise PlanError(unknown)
    for member in tensors_of(module):
        for x in member.tensors:
            backend = backend_of(x)
            if backend.is_distributed:
                raise ValueError(f"`module` must not be sharded yet; got a DTensor at {member.path!r}")
            if x.is_meta or backend.is_abstract(x):
                raise ValueError(
                    f"`module` must hold values; got none at {member.path!r}, which is on the meta device or fake: "
                    f"call init_module_ first, and pass rules=None here"
                )
    problems = {
        each.path: each.problem or f"is {each.cut}, so that its layer can't be scaled here"
        for each in parameters_of(module)
        if (each.problem or each.cut) and not each.through
    }
    if problems:
        raise PlanError(problems)


@contextmanager
def _kept(module: nn.Module) -> Iterator[Callable[[], None]]:
    """Restore parameters, buffers and what hooks made of them, unless the yielded function is called."""
    tensors = {id(x): x for member in tensors_of(module) for each in (member, *member.originals) for x in each.tensors}
    tensors |= {id(x): x for x in module.buffers()}
    values = [(x, x.detach().clone()) for x in tensors.values()]
    weights = [weight for each in module.modules() for weight in derived_of(each)]
    attributes = [(weight.layer.__dict__, weight.name, weight.layer.__dict__.get(weight.name)) for weight in weights]
    has_succeeded = False

    def succeed() -> None:
        nonlocal has_succeeded
        has_succeeded = True

    try:
        yield succeed
    finally:
        if not has_succeeded:
            with torch.no_grad():
                for x, value in values:
                    x.copy_(value)
        for holder, name, attribute in attributes:
            if attribute is not None:
                holder[name] = attribute
        for weight in weights:
            weight.refresh()


@contextmanager
def _passing(module: nn.Module) -> Iterator[None]:
    """Forward passes that leave modes, generators and buffers as they are."""
    modes = [(each, each.training) for each in module.modules()]
    buffers = [(x, x.detach().clone()) for x in module.buffers()]
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        with ExitStack() as stack:
            if "torch._dynamo" in sys.modules:
                stack.enter_context(torch.compiler.set_stance("force_eager"))  # compiled code calls no hooks
            cuda = {x.device for x in (*module.parameters(), *module.buffers()) if x.is_cuda}
            stack.enter_context(torch.random.fork_rng(devices=cuda))
            stack.enter_context(torch.no_grad())
            torch.random.default_generator.manual_seed(0)
            for device in cuda:
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(0)
            torch.backends.mha.set_fastpath_enabled(False)  # it reads the weights of layers that it doesn't call
            module.eval()
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for each, training in modes:
            each.training = training
        with torch.no_grad():
            for x, value in buffers:
                x.copy_(value)


class _Model:
    """A model, the layers that are chosen of it, and what its forward pass shows of them."""

    def __init__(self, module: nn.Module, layers: Layers | None, method: Method) -> None:
        self.module, self.method = module, method
        self.modules = modules_by_path(module)
        self.members: dict[str, list[ModuleTensor]] = {path: [] for path in self.modules}
        users: dict[nn.Module, tuple[str, str]] = {}  # a module -> the layer that uses its tensors, and its own path
        for path, each in self.modules.items():
            users.setdefault(each, (path, path))
            if isinstance(each, nn.MultiheadAttention):
                users[each.out_proj] = path, f"{path}.out_proj".lstrip(".")
        for member in tensors_of(module):
            path, own = users.get(member.owner, ("", None))
            if own is not None and not member.is_buffer and member.path == f"{own}.{member.name}".lstrip("."):
                self.members[path].append(member)
        self.notes = {
            path: self._problem(path, each, layers)
            for path, each in self.modules.items()
            if users[each][0] == path and (is_layer(each) if layers is None else is_chosen(layers, path, each))
        }
        if all(self.notes.values()):
            reasons = "; ".join(f"{path or 'the model itself'} {why}" for path, why in self.notes.items())
            raise ValueError(
                f"`{'module' if layers is None else 'layers'}` must have a layer that can be scaled; got "
                f"{reasons or shown(module if layers is None else layers)}"
            )
        self.calls: dict[str, int] = {}

    def _problem(self, path: str, layer: nn.Module, layers: Layers | None) -> str:
        """Why a layer stays, whatever the batch; "" where it is scaled."""
        if layers is None and not _is_linear(layer):
            return NOT_LINEAR.format(type(layer).__name__)
        members = {member.name: member for member in self.members[path] if member.name in ("weight", "bias")}
        if "weight" not in members:
            return f"unchanged: {type(layer).__name__} has no parameter `weight` of its own"
        for name, member in members.items():
            for x in member.tensors:
                reason = backend_of(x).frozen(x)
                if reason:
                    return f"unchanged: its {name} is frozen ({reason})"
                if not (x.is_floating_point() or x.is_complex()):
                    return f"unchanged: its {name} is {x.dtype}"
        if self.method.center and "bias" not in members:
            return "unchanged: it has no bias to center its output with"
        is_by_channel = self.method.per == "channel"
        if is_by_channel and _channel_axes(layer) is None:
            return f"unchanged: {type(layer).__name__} has no axis of channels that is known"
        if self.method.center and members["bias"].derived is not None:
            return f"unchanged: its bias is made by {members['bias'].derived.through}, and can't be centered"
        return ""

    def watch(self, run: Callable[[], None]) -> None:
        """Run the model once: the order of layers, how often each runs, and which tensors ran earlier elsewhere."""
        users: dict[Any, str] = {}
        order: dict[str, int] = {}

        def hook(path: str) -> Callable[..., None]:
            def count(layer: nn.Module, args: Any) -> None:
                order[path] = order.get(path, 0) + 1
                if order[path] > 1:
                    return
                for member in self.members[path]:
                    for x in member.tensors:
                        extents = backend_of(x).extents(x)
                        user = users.setdefault(extents, member.path) if extents else member.path
                        if user != member.path and not self.notes.get(path, "-"):
                            self.notes[path] = f"unchanged: its {member.name} is tied to {user}, which ran earlier"

            return count

        handles = [each.register_forward_pre_hook(hook(path)) for path, each in self.modules.items()]
        try:
            run()
        finally:
            for handle in handles:
                handle.remove()
        self.calls = order
        for path in self.notes:
            if path not in order:
                self.notes[path] = NEVER_CALLED

    def orthogonal(self) -> Rules:
        """Rules that draw the layers to be scaled as LSUV starts, and keep all else."""
        own = {
            member.path: member.name
            for path, note in self.notes.items()
            if not note
            for member in self.members[path]
            if member.name in ("weight", "bias")
        }
        names = {
            each.path: name for each in parameters_of(self.module) for path in (each.path, *each.tied)
            if (name := own.get(path)) is not None
        }  # fmt: skip
        weights = {path for path, name in names.items() if name == "weight"}

        def is_weight(path: str, shape: tuple[int, ...]) -> bool:
            return path in weights and len(shape) >= 2

        def is_bias(path: str, shape: tuple[int, ...]) -> bool:
            return path in names and path not in weights

        start: list[Any] = [(is_weight, "orthogonal"), Rule(is_bias, "zeros", optional=True)]  # type: ignore[arg-type]
        return Rules([*start, Rule("*", None, optional=True)])

    def scale(self, run: Callable[[], None]) -> OutputScales:
        """Scale each layer while the model runs, then run it once more to measure."""
        order = [
            *(path for path in self.calls if path in self.notes),
            *(path for path in self.notes if path not in self.calls),
        ]
        rows = {
            path: LayerScale(path, None, None, None, 1.0, 0, self.calls.get(path, 0), self.notes[path])
            for path in order
        }

        def settled(path: str, layer: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
            row = rows[path]
            if row.note:
                moments = _moments(layer, output, None)
                before = moments.spread if isinstance(moments, Moments) else None
                rows[path] = replace(row, before=before, after=before)
                return None
            if row.calls > 1:
                row = replace(row, note=f"runs {row.calls} times, of which the first counts")
            run = _Run(layer, args, kwargs, self.members[path], self.method)
            rows[path] = settle(row, run, self.method)
            return run.output if rows[path].iterations else None

        self._hooked(run, settled)
        final: dict[str, Moments | str] = {}

        def measured(path: str, layer: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            by_channel = self.method.per == "channel" and not self.notes[path]
            final[path] = _moments(layer, output, _output_axis(layer) if by_channel else None)

        self._hooked(run, measured)
        return finished([rows[path] for path in order], final, self.method)

    def _hooked(self, run: Callable[[], None], function: Callable[..., Any]) -> None:
        """Run the model; at the first call of each layer the function may replace its output."""
        seen = set[str]()
        is_busy = False

        def hook(path: str) -> Callable[..., Any]:
            def first_call(layer: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
                nonlocal is_busy
                if is_busy or path in seen:
                    return None
                seen.add(path)
                is_busy = True
                try:
                    return function(path, layer, args, kwargs, output)
                finally:
                    is_busy = False

            return first_call

        # Before other hooks, which may change the output for the rest of the model.
        handles = [
            self.modules[path].register_forward_hook(hook(path), prepend=True, with_kwargs=True) for path in self.notes
        ]
        try:
            run()
        finally:
            for handle in handles:
                handle.remove()


class _Run:
    """A layer and the inputs of its first call."""

    def __init__(
        self, layer: nn.Module, args: Any, kwargs: Any, members: Sequence[ModuleTensor], method: Method
    ) -> None:
        self.layer, self.args, self.kwargs = layer, args, kwargs
        self.tensors = {member.name: member for member in members if member.name in ("weight", "bias")}
        self.axes = _channel_axes(layer) if method.per == "channel" else None
        self.output: Any = None

    def measure(self) -> Moments | str:
        self.output = self.layer.forward(*self.args, **self.kwargs)
        return _moments(self.layer, self.output, _output_axis(self.layer) if self.axes else None)

    def divide(self, std: NDArray[np.float64], mean: NDArray[Any] | None) -> str:
        derived = {name: member.derived for name, member in self.tensors.items() if member.derived is not None}
        kept = [(x, x.detach().clone()) for name in derived for x in self.tensors[name].tensors]
        for name, weight in derived.items():
            if not weight.multiply(1 / self._along(std, name)):
                for x, value in kept:
                    x.copy_(value)
                for each in derived.values():
                    each.refresh()
                return f"unchanged: {weight.through} does not pass a scale on"
        for name, member in self.tensors.items():
            if name not in derived:
                x = member.read()
                if name == "bias" and mean is not None:
                    x.sub_(self._along(mean, name))
                x.div_(self._along(std, name))
        return ""

    def _along(self, numbers: NDArray[Any], name: str) -> Any:
        """A number, or numbers along the channels of the weight or the bias, as a tensor that is broadcast to it."""
        if not numbers.ndim:
            return numbers.item()
        x, like = self.tensors[name].tensors[0], self.tensors[name].likeness
        shape = [1] * like.ndim
        shape[self.axes[0] if name == "weight" and self.axes is not None else 0] = -1
        kind = like.dtype if like.dtype in (torch.float64, torch.complex128) else torch.float32
        return torch.as_tensor(numbers).to(x.device, kind).reshape(shape)


def _moments(layer: nn.Module, output: Any, axis: int | None) -> Moments | str:
    """Moments of all elements, or along an axis; a text where an output is no floating tensor."""
    if isinstance(layer, nn.MultiheadAttention) and isinstance(output, tuple):
        output = output[0]  # beside the attention weights
    if not isinstance(output, torch.Tensor):
        return f"unchanged: it returns {type(output).__name__}, not a tensor"
    if not (output.is_floating_point() or output.is_complex()):
        return f"unchanged: it returns {output.dtype}"
    x = output.detach()
    x = x.cpu() if x.device.type == "mps" else x  # which has no float64
    x = x.to(torch.complex128 if x.is_complex() else torch.float64)
    eps = torch.finfo(output.dtype).eps
    axes = tuple(range(x.ndim)) if axis is None else tuple(k for k in range(x.ndim) if k != axis % x.ndim)
    if not x.numel():
        return Moments(np.zeros(()), np.zeros(()), eps, True, 0)
    mean = x.mean(dim=axes, keepdim=True) if axes else x
    std = (x - mean).abs().square().mean(dim=axes).sqrt() if axes else torch.zeros_like(x.real)
    is_finite = bool(torch.isfinite(std).all())
    return Moments(mean.reshape(std.shape).cpu().numpy(), std.cpu().numpy(), eps, is_finite, x.numel())


def _is_linear(layer: nn.Module) -> bool:
    """Whether a layer's output is linear in its weight, that of attention in out_proj's.

    transformers' Conv1D is known by its name.
    """
    is_linear = isinstance(layer, nn.Linear | nn.Bilinear | nn.MultiheadAttention | _ConvNd)
    return is_linear or any(kind.__name__ == "Conv1D" for kind in type(layer).__mro__)


def _channel_axes(layer: nn.Module) -> tuple[int, int] | None:
    """The axes of a weight and of an output that number the channels; None where none is known."""
    if isinstance(layer, _ConvTransposeNd):
        return (1, -1 - len(layer.kernel_size)) if layer.groups == 1 else None
    if isinstance(layer, _ConvNd):
        return 0, -1 - len(layer.kernel_size)
    if isinstance(layer, nn.Linear | nn.Bilinear | nn.MultiheadAttention):
        return 0, -1
    return (1, -1) if _is_linear(layer) else None


def _output_axis(layer: nn.Module) -> int | None:
    axes = _channel_axes(layer)
    return None if axes is None else axes[1]
