"""Weights that torch layers make of other tensors: parametrizations, weight_norm, spectral_norm and pruning.

Such a weight is no parameter. The layer holds its originals (a magnitude and a direction; a matrix whose norm is
divided out), so a draw is assigned: it is solved for the originals, and those are written.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.nn.functional import normalize
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _Orthogonal, _SpectralNorm, _WeightNorm
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from arrayinit.backends import backend_of
from arrayinit.initializers import normal
from arrayinit.key import Key
from arrayinit.seeds import seeded

__all__ = ["Derived", "Slot", "derived_of", "held", "tensor_at", "write"]

ITERATIONS = 15  # of the power method for new singular vectors: as many as torch makes for a new parametrization

Slot: TypeAlias = tuple[nn.Module, str]  # a module, and the name of a parameter or buffer of its own


def derived_of(layer: nn.Module) -> "list[Derived]":
    """The weights that a layer makes of other tensors."""
    weights: list[Derived] = []
    lists = dict(layer._modules.items()).get("parametrizations")  # getattr of checkpoint_wrapper has another layer's
    if isinstance(lists, nn.ModuleDict):
        weights += [
            _Parametrized(layer, name, each) for name, each in lists.items() if isinstance(each, ParametrizationList)
        ]
    for hook in layer._forward_pre_hooks.values():
        match hook:
            case WeightNorm():
                weights.append(_WeightNormed(layer, hook.name, hook))
            case SpectralNorm():
                weights.append(_SpectralNormed(layer, hook.name, hook))
            case BasePruningMethod():
                weights.append(_Pruned(layer, hook._tensor_name, hook))
    return weights


def tensor_at(slot: Slot) -> Any:
    """The parameter or buffer of a module by its name; None where there is none."""
    module, name = slot
    return module._parameters[name] if name in module._parameters else module._buffers.get(name)


class Derived(ABC):
    """A weight of a layer that is made of other tensors."""

    layer: nn.Module
    name: str
    through: str  # what makes it
    originals: dict[str, Slot]  # what it is made of, by paths below the layer
    marks: dict[str, tuple[str, ...]]  # for each original, texts in a pattern that mean it and not the weight
    made_anew: tuple[Slot, ...]  # other tensors that go with the weight, such as singular vectors
    beside: Mapping[str, Slot] = MappingProxyType({})  # those of them that rules may draw, by paths below the layer

    @property
    def problem(self) -> str:
        """Why no weight can be assigned; "" where one can."""
        nested = [path for path, slot in self.originals.items() if not isinstance(tensor_at(slot), torch.Tensor)]
        return f"is made of {' and '.join(nested)}, which is made of others itself" if nested else ""

    @abstractmethod
    def likeness(self) -> torch.Tensor:
        """A tensor on the meta device with the shape and the dtype of the weight."""

    def value(self) -> torch.Tensor:
        """The weight as the layer makes it, changing nothing; a meta tensor where an original has no values here."""
        originals = self._values()
        with torch.no_grad():
            return self.likeness() if originals is None else self._make(originals)

    def drawn(self) -> torch.Tensor:
        """The weight as it was drawn: before its norm is divided out, or a mask is applied."""
        return self.value()

    @abstractmethod
    def check(self, weight: torch.Tensor, key: Key, fill: Callable[[nn.Module], None]) -> None:
        """Raise the errors of :meth:`assign`, and ValueError where the weight would not be finite; change nothing.

        Args:
            fill: draws the other tensors of the parametrizations into a copy of them, where rules draw those too.
        """

    @abstractmethod
    def assign(self, weight: torch.Tensor, key: Key) -> None:
        """Write originals that make this weight (whole, a plain tensor), and renew the tensors that go with it."""

    @abstractmethod
    def renew(self, key: Key) -> None:
        """Renew the tensors that go with the weight, after its originals were drawn by rules of their own."""

    def multiply(self, factor: Any) -> bool:
        """Multiply the weight, and one original for it; False where no original carries a scale on to the weight.

        The magnitude of weight_norm does, and the matrix below a mask; spectral_norm divides it out.

        Args:
            factor: a number, or a tensor that is broadcast to the weight.
        """
        before, originals = self.value(), self._values()
        for x in originals or ():
            kept = x.detach().clone()
            with torch.no_grad():
                new = kept * factor
                if new.shape == kept.shape:
                    x.copy_(new)
                    tolerance = 16 * torch.finfo(x.dtype).eps
                    if torch.allclose(self.value(), (before * factor).to(before.dtype), rtol=tolerance, atol=0):
                        self.refresh()
                        return True
                x.copy_(kept)
        return False

    @abstractmethod
    def refresh(self) -> None:
        """Let the layer see changed originals before its next forward pass."""

    @abstractmethod
    def _make(self, originals: Sequence[torch.Tensor]) -> torch.Tensor:
        """The weight."""

    def _values(self) -> list[torch.Tensor] | None:
        """The originals, where each has values and is whole: torch computes with parts beyond their memory."""
        tensors = [tensor_at(slot) for slot in self.originals.values()]
        return tensors if all(isinstance(x, torch.Tensor) and _is_whole(x) for x in tensors) else None

    def _whole(self) -> list[torch.Tensor]:
        """The originals; DTensors are gathered from all ranks."""
        tensors = [tensor_at(slot) for slot in self.originals.values()]
        return [x.full_tensor() if backend_of(x).is_distributed else x for x in tensors]

    def _write(self, values: Sequence[torch.Tensor]) -> None:
        for slot, whole in zip(self.originals.values(), values, strict=True):
            write(tensor_at(slot), whole)


class _Parametrized(Derived):
    """A weight behind torch.nn.utils.parametrize: one parametrization, or several in a row."""

    def __init__(self, layer: nn.Module, name: str, parametrizations: ParametrizationList) -> None:
        self.layer, self.name, self.list = layer, name, parametrizations
        self.through = ", ".join(type(each).__name__ for each in parametrizations)
        count = parametrizations.ntensors
        names = ["original"] if parametrizations.is_tensor else [f"original{k}" for k in range(count)]
        self.originals = {f"parametrizations.{name}.{original}": (parametrizations, original) for original in names}
        self.beside = {
            f"parametrizations.{name}.{number}.base": (each, "base")
            for number, each in enumerate(parametrizations)
            if isinstance(each, _Orthogonal) and each._buffers.get("base") is not None
        }
        self.marks = dict.fromkeys((*self.originals, *self.beside), ("original", "parametrizations"))
        kinds = {"_u": _SpectralNorm, "_v": _SpectralNorm, "base": _Orthogonal}
        self.made_anew = tuple(
            (each, buffer)
            for each in parametrizations
            for buffer, kind in kinds.items()
            if isinstance(each, kind) and buffer in each._buffers
        )

    @property
    def problem(self) -> str:
        instead = f"draw before that, or have rules that name {' and '.join(self.originals)}"
        lacking = [type(each).__name__ for each in self.list if not hasattr(each, "right_inverse")]
        if lacking:
            return f"{', '.join(lacking)} has no right_inverse, by which a weight is assigned: give it one, {instead}"
        if any(backend_of(x).is_distributed for x in self._others()):
            return f"{self.through} has tensors of its own that are DTensors: {instead}"
        return super().problem

    def likeness(self) -> torch.Tensor:
        last = tensor_at(list(self.originals.values())[-1])
        if not all(isinstance(each, _WeightNorm | _SpectralNorm | _Orthogonal) for each in self.list):
            # A user's parametrization may make any shape, and need not work on the meta device.
            for attempt in (self._make_from_values, self._make_on_meta):
                with suppress(Exception):
                    last = attempt()
                    break
        return torch.empty(last.shape, dtype=last.dtype, device="meta")

    def drawn(self) -> torch.Tensor:
        originals = self._values()
        return self.value() if originals is None else self._run(self.list, originals, divide=False)

    def check(self, weight: torch.Tensor, key: Key, fill: Callable[[nn.Module], None]) -> None:
        copied, _ = self._copy(weight.device)
        fill(copied)
        originals = self._solve(copied, weight, key)
        result = self._run(copied, originals, key)
        if (result.shape, result.dtype) != (weight.shape, weight.dtype):
            raise ValueError(f"{self.through} makes {_shown(result)} of what it gives for {_shown(weight)}")
        _check_finite([*originals, result], self.through)

    def assign(self, weight: torch.Tensor, key: Key) -> None:
        originals = self._solve(self.list, weight, key)
        self._write(originals)
        if self._has_norm:
            self._run(self.list, originals, key)
        self.refresh()

    def renew(self, key: Key) -> None:
        if self._has_norm:
            self._run(self.list, self._whole(), key)
        self.refresh()

    def _make(self, originals: Sequence[torch.Tensor]) -> torch.Tensor:
        return self._run(self.list, originals)

    def _make_from_values(self) -> torch.Tensor:
        originals = self._values()
        if originals is None:
            raise ValueError("without values")
        return self._make(originals)

    def _make_on_meta(self) -> torch.Tensor:
        return self._run(*self._copy("meta"))

    @property
    def _has_norm(self) -> bool:
        return any(isinstance(each, _SpectralNorm) for each in self.list)

    def refresh(self) -> None:
        """Drop the weight that torch's `cached()` would still return."""
        cache = getattr(parametrize, "_cache", {})
        cache.pop((id(self.layer), self.name), None)

    def _others(self) -> Iterator[torch.Tensor]:
        """The tensors of the parametrizations that are no originals."""
        originals = {id(tensor_at(slot)) for slot in self.originals.values()}
        return (x for x in (*self.list.parameters(), *self.list.buffers()) if id(x) not in originals)

    def _copy(self, device: Any) -> tuple[ParametrizationList, list[torch.Tensor]]:
        """The parametrizations, in memory of their own, and originals that have no values yet."""
        memo: dict[int, Any] = {}  # instead of what deepcopy would copy
        for x in self._others():
            with torch.no_grad():
                new = torch.empty_like(x, device=device) if "meta" in (x.device.type, device) else x.clone()
            memo[id(x)] = nn.Parameter(new, x.requires_grad) if isinstance(x, nn.Parameter) else new
        for x in map(tensor_at, self.originals.values()):
            memo[id(x)] = torch.empty(x.shape, dtype=x.dtype, device=device)
        originals = [memo[id(tensor_at(slot))] for slot in self.originals.values()]
        return copy.deepcopy(self.list, memo), originals

    def _solve(self, modules: ParametrizationList, weight: torch.Tensor, key: Key) -> list[torch.Tensor]:
        """The originals that make a weight: each right_inverse is applied, the last one first."""
        value: Any = weight
        with torch.inference_mode(False), torch.no_grad(), _seeded(key, weight.device):
            for each in reversed(list(modules)):
                value = each.right_inverse(value)
        originals = [value] if modules.is_tensor else list(value)
        slots = self.originals.values()
        if [_shown(x) for x in originals] != [_shown(tensor_at(slot)) for slot in slots]:
            raise ValueError(
                f"right_inverse of {self.through} must give {', '.join(_shown(tensor_at(slot)) for slot in slots)}; "
                f"got {', '.join(map(_shown, originals))}"
            )
        return originals

    def _run(
        self, modules: ParametrizationList, originals: Sequence[torch.Tensor], key: Key | None = None,
        divide: bool = True,
    ) -> torch.Tensor:  # fmt: skip
        """The weight. key: of new singular vectors. divide: whether spectral_norm divides, or leaves what it gets."""
        tensors: Sequence[Any] = originals
        with torch.no_grad(), _evaluating(modules):
            for number, each in enumerate(modules):
                if isinstance(each, _SpectralNorm):
                    if key is not None and tensors[0].ndim > 1:
                        matrix = each._reshape_weight_to_matrix(tensors[0])
                        u, v = _singular_vectors(matrix, each.eps, key, number)
                        each._u.copy_(u)
                        each._v.copy_(v)
                    if not divide:
                        continue
                tensors = (each(*tensors),)
        weight: torch.Tensor = tensors[0]
        return weight


class _Hooked(Derived):
    """A weight that a hook makes before each forward pass, and leaves as an attribute of the layer."""

    suffixes: tuple[str, ...]
    vectors: tuple[str, ...] = ()

    def __init__(self, layer: nn.Module, name: str, hook: Any) -> None:
        self.layer, self.name, self.hook = layer, name, hook
        self.through = type(hook).__name__
        self.originals = {name + suffix: (layer, name + suffix) for suffix in self.suffixes}
        self.marks = {name + suffix: (suffix,) for suffix in self.suffixes}
        self.made_anew = tuple((layer, name + suffix) for suffix in self.vectors)

    def likeness(self) -> torch.Tensor:
        x = next(x for x in map(tensor_at, self.originals.values()) if x is not None)
        return torch.empty(x.shape, dtype=x.dtype, device="meta")

    def check(self, weight: torch.Tensor, key: Key, fill: Callable[[nn.Module], None]) -> None:
        with torch.no_grad():
            originals = self._solve(weight)
            _check_finite([*originals, self._make(originals)], self.through)

    def assign(self, weight: torch.Tensor, key: Key) -> None:
        with torch.no_grad():
            self._write(self._solve(weight))
        self.refresh()

    def renew(self, key: Key) -> None:
        self.refresh()

    def refresh(self) -> None:
        if self._values() is not None:  # otherwise the hook makes it before it is used
            before = getattr(self.layer, self.name, None)
            new = self._attribute()
            keeps_graph = isinstance(before, torch.Tensor) and before.requires_grad
            setattr(self.layer, self.name, new if keeps_graph else new.detach())

    @abstractmethod
    def _solve(self, weight: torch.Tensor) -> list[torch.Tensor]:
        """The originals that make a weight."""

    @abstractmethod
    def _attribute(self) -> torch.Tensor:
        """The weight as the hook makes it."""


class _WeightNormed(_Hooked):
    """A weight behind torch.nn.utils.weight_norm."""

    suffixes = ("_v", "_g")

    def _make(self, originals: Sequence[torch.Tensor]) -> torch.Tensor:
        direction, magnitude = originals
        return torch._weight_norm(direction, magnitude, self.hook.dim)

    def _solve(self, weight: torch.Tensor) -> list[torch.Tensor]:
        return [weight, torch.norm_except_dim(weight, 2, self.hook.dim)]

    def _attribute(self) -> torch.Tensor:
        weight: torch.Tensor = self.hook.compute_weight(self.layer)
        return weight


class _SpectralNormed(_Hooked):
    """A weight behind torch.nn.utils.spectral_norm."""

    suffixes = ("_orig",)
    vectors = ("_u", "_v")

    def check(self, weight: torch.Tensor, key: Key, fill: Callable[[nn.Module], None]) -> None:
        with torch.no_grad():
            _check_finite([self._divided(weight, *self._new_vectors(weight, key))], self.through)

    def drawn(self) -> torch.Tensor:
        originals = self._values()
        return self.likeness() if originals is None else originals[0]

    def assign(self, weight: torch.Tensor, key: Key) -> None:
        with torch.no_grad():
            self._write([weight])
        self._make_vectors(weight, key)

    def renew(self, key: Key) -> None:
        self._make_vectors(self._whole()[0], key)

    def _make_vectors(self, weight: torch.Tensor, key: Key) -> None:
        with torch.no_grad():
            for slot, new in zip(self.made_anew, self._new_vectors(weight, key), strict=True):
                tensor_at(slot).copy_(new)
        self.refresh()

    def _make(self, originals: Sequence[torch.Tensor]) -> torch.Tensor:
        return self._divided(originals[0], *map(tensor_at, self.made_anew))

    def _divided(self, weight: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return weight / torch.dot(u, torch.mv(self.hook.reshape_weight_to_matrix(weight), v))

    def _new_vectors(self, weight: torch.Tensor, key: Key) -> tuple[torch.Tensor, torch.Tensor]:
        return _singular_vectors(self.hook.reshape_weight_to_matrix(weight), self.hook.eps, key)

    def _solve(self, weight: torch.Tensor) -> list[torch.Tensor]:
        return [weight]

    def _attribute(self) -> torch.Tensor:
        weight: torch.Tensor = self.hook.compute_weight(self.layer, do_power_iteration=False)
        return weight


class _Pruned(_Hooked):
    """A weight behind torch.nn.utils.prune. The mask is a buffer, and stays."""

    suffixes = ("_orig",)

    def drawn(self) -> torch.Tensor:
        originals = self._values()
        return self.likeness() if originals is None else originals[0]

    def _make(self, originals: Sequence[torch.Tensor]) -> torch.Tensor:
        mask: torch.Tensor = tensor_at((self.layer, f"{self.name}_mask"))
        return mask.to(dtype=originals[0].dtype) * originals[0]

    def _solve(self, weight: torch.Tensor) -> list[torch.Tensor]:
        return [weight]

    def _attribute(self) -> torch.Tensor:
        weight: torch.Tensor = self.hook.apply_mask(self.layer)
        return weight


def _singular_vectors(matrix: torch.Tensor, eps: float, key: Key, number: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Approximate first left and right singular vectors, by the power method from a start drawn with the key."""
    kind = backend_of(matrix).dtype_name(matrix.dtype)
    name = ("spectral_norm", number)
    start = normal(matrix.shape[1:], seed=key, name=name, xp="torch", dtype=kind, device=matrix.device)
    v = normalize(start, dim=0, eps=eps)
    for _ in range(ITERATIONS):
        u = normalize(torch.mv(matrix, v), dim=0, eps=eps)
        v = normalize(torch.mv(matrix.mH, u), dim=0, eps=eps)
    return u, v


def _is_whole(x: torch.Tensor) -> bool:
    backend = backend_of(x)
    return not (x.is_meta or backend.is_distributed or backend.missing(x))


def held(x: torch.Tensor) -> Iterator[tuple[tuple[int, ...], torch.Tensor]]:
    """Parts of a tensor that are here, as (the first element of each, a view of it); of other tensors all of it.

    The views are to be written to: torch is told that the tensor changes.
    """
    backend = backend_of(x)
    if not backend.is_distributed:
        yield (0,) * x.ndim, x
        return
    from arrayinit.backends.dtensor import DTensorBackend, local

    assert isinstance(backend, DTensorBackend)
    torch.autograd.graph.increment_version(x)
    for corner, where in backend.parts(x):
        yield corner, local(x)[where]


def write(x: torch.Tensor, whole: torch.Tensor) -> None:
    """Copy a whole tensor into x; where x is a DTensor, only what this rank holds."""
    with torch.no_grad():
        for corner, part in held(x):
            part.copy_(whole[tuple(slice(a, a + n) for a, n in zip(corner, part.shape, strict=True))])


def _check_finite(tensors: Sequence[torch.Tensor], through: str) -> None:
    if not all(bool(torch.isfinite(x).all()) for x in tensors):
        raise ValueError(
            f"{through} turns this draw into NaN or infinities, as it does rows of zeros, which have no direction"
        )


def _shown(x: Any) -> str:
    return f"{tuple(x.shape)} of {x.dtype}" if isinstance(x, torch.Tensor) else repr(x)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode: in training mode spectral_norm updates its vectors whenever it computes a weight."""
    before = [(each, each.training) for each in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for each, training in before:
            each.training = training


@contextmanager
def _seeded(key: Key, device: torch.device) -> Iterator[None]:
    """Start torch's generators from the key for a right_inverse that is random, and restore them afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.random.default_generator.manual_seed(int(key))
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(int(key))
        with seeded(key):  # for draws of this package that take the next key
            yield
