"""Functions that other libraries call to initialize a parameter: Megatron's init_method, torchtitan's param_init."""

import sys
from typing import Any

import torch
from torch import nn

from arrayinit.backends import backend_of
from arrayinit.models.derived import held
from arrayinit.models.matching import SeedNames, keyed, match, root_of
from arrayinit.models.megatron import part_of_megatron
from arrayinit.models.plans import Plan, Planned
from arrayinit.models.torch_members import parameters_of, tensors_of
from arrayinit.seeds import Name
from arrayinit.specs import Spec, spec

__all__ = ["init_method", "param_init_"]


# Megatron


def init_method(initializer: Any, *, seed: Any, name: Name) -> "InitMethod":
    """A function for Megatron's `init_method` and `output_layer_init_method`, which draws a rank's part of the whole.

    Megatron's functions draw a rank's part as if it were a whole matrix: fans are those of the part, and the values
    depend on the number of ranks. This one draws the part of the global tensor that `tensor_model_parallel`,
    `partition_dim` and `partition_stride` say, so that all sizes of tensor parallelism give one model.

    Megatron doesn't tell the name of the parameter. So the n-th call draws with the seed name (name, stage, n), where
    stage is the rank in the pipeline: other numbers of stages give other values. Where that matters, and with experts,
    set `perform_initialization=False` and call :func:`init_module_` on the model, which knows all names. That also cuts
    the blocks of one weight one by one, as Megatron's checkpoints do (a gate and its values in SwiGLU, the projections
    of Mamba and GatedDeltaNet); by this function the whole has them in the order of the ranks.

    Args:
        initializer: an initializer's name or :class:`arrayinit.Spec`.
        seed: as in every initializer, and not None: each rank would take another key.
        name: text or numbers that differ between the functions of a config, such as "init_method" and "output".

    Raises:
        ValueError: seed is None; in a call, a parameter without Megatron's attributes where there are several ranks
            (it may be whole, as a router, or a part, as in Transformer Engine's layers), or expert parallelism, whose
            ranks number their experts alike.

    Example:
        >>> import torch
        >>> from arrayinit.torch import init_method
        >>> draw = init_method(ai.spec("normal", std=0.02), seed=0, name="init_method")
        >>> first, second = draw(torch.empty(4, 6)), draw(torch.empty(4, 6))
        >>> torch.equal(first, ai.normal((4, 6), std=0.02, seed=0, name=("init_method", 0, 0), xp=torch))
        True
    """
    if seed is None:
        raise ValueError("`seed` must be given, since each rank would take another key; got None")
    chosen = initializer if isinstance(initializer, Spec) else spec(initializer)
    return InitMethod(chosen, seed, name if isinstance(name, tuple) else (name,))


class InitMethod:
    """What :func:`init_method` returns."""

    def __init__(self, initializer: Spec, seed: Any, name: tuple[Any, ...]) -> None:
        self.initializer, self.seed, self.name = initializer, seed, name
        self.calls = 0

    def __repr__(self) -> str:
        return f"init_method({self.initializer}, seed={self.seed!r}, name={self.name!r})"

    def __call__(self, weight: torch.Tensor) -> torch.Tensor:
        """Fill a weight with the next draw; returns it."""
        state: Any = sys.modules.get("megatron.core.parallel_state")
        is_parallel = state is not None and state.model_parallel_is_initialized()
        if is_parallel and state.get_expert_model_parallel_world_size() > 1:
            raise ValueError(
                "`init_method` can't be used with expert parallelism, because each rank numbers its experts from 0: "
                "set perform_initialization=False, and call arrayinit.torch.init_module_ on the model"
            )
        is_cut = getattr(weight, "tensor_model_parallel", False)
        ranks = state.get_tensor_model_parallel_world_size() if is_parallel else 1
        if ranks > 1 and not is_cut and isinstance(weight, nn.Parameter):  # a master weight is a plain tensor
            raise ValueError(
                f"`init_method` can't tell whether a parameter {tuple(weight.shape)} without tensor_model_parallel is "
                f"whole, or a part of {ranks}: set perform_initialization=False, and call "
                "arrayinit.torch.init_module_ on the model"
            )
        if is_cut and not is_parallel:
            raise ValueError(
                f"`init_method` needs Megatron's parallel_state to know which part of the whole a parameter "
                f"{tuple(weight.shape)} with tensor_model_parallel is: call initialize_model_parallel first"
            )
        stage = state.get_pipeline_model_parallel_rank() if is_parallel else 0
        options = {"seed": self.seed, "name": (*self.name, stage, self.calls)}
        self.calls += 1
        shard = part_of_megatron(nn.Module(), "weight", weight) if is_cut else None
        if shard is None:
            self.initializer.fill_(weight, **options)
        else:
            for part in shard.parts:
                self.initializer.fill_(part.x, shape=shard.shape, index=part.index, **options)
        return weight


# torchtitan


def param_init_(module: nn.Module, rules: Any, *, seed: Any, seed_names: SeedNames | None = None) -> Plan:
    """Let torchtitan's init_states draw a model by rules: sets the hooks `_param_init`, and returns the plan.

    Call it once the model is built on the meta device, before it is cut, such as at the start of a model's
    parallelize_fn or pipelining_fn. The keys are those of the fully qualified names, as of :func:`init_module_`; what
    torchtitan makes of the model afterwards (FSDP2, tensor, expert and pipeline parallelism) leaves the values as they
    are, without a seed checkpoint. Buffers stay torchtitan's.

    Args:
        module: a model whose modules are torchtitan's: they have `_init_self_parameters` and `_param_init`.
        rules: as in :func:`init_module_`; rules for tensors behind a parametrization have no hook.
        seed: as in every initializer, and not None.
        seed_names: as in :func:`init_module_`.

    Raises:
        PlanError: as in :func:`init_module_`.
        TypeError: `module` is no module, or a module with parameters is not one of torchtitan's.
        ValueError: seed is None. In a hook: the parameter has another global shape than was planned.

    Example:
        >>> import torch
        >>> from arrayinit.torch import param_init_
        >>> class Layer(torch.nn.Linear):  # as torchtitan's Module initializes its parameters
        ...     _param_init = None
        ...     def _init_self_parameters(self):
        ...         for name, x in self.named_parameters(recurse=False):
        ...             self._param_init[name](x)
        >>> layer = Layer(4, 2, device="meta")
        >>> print(param_init_(layer, {"weight": "kaiming_normal", "bias": "zeros"}, seed=0))
        parameter  shape  initializer     rule
        ----------------------------------------
        weight       2x4  kaiming_normal  weight
        bias           2  zeros           bias
        >>> layer = layer.to_empty(device="cpu")
        >>> layer._init_self_parameters()
        >>> torch.equal(layer.weight, ai.kaiming_normal((2, 4), seed=0, name="weight", xp=torch))
        True
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"`module` must be a torch.nn.Module; got {type(module).__name__}")
    if seed is None:
        raise ValueError("`seed` must be given, since each rank would take another key; got None")
    members = [each for each in tensors_of(module) if not each.is_buffer]
    for each in members:
        if not callable(getattr(each.owner, "_init_self_parameters", None)) or not hasattr(each.owner, "_param_init"):
            raise TypeError(
                f"`module` must have modules of torchtitan, which have `_init_self_parameters` and `_param_init`; got "
                f"{type(each.owner).__name__}, which holds {each.path}"
            )
    plan = keyed(match(parameters_of(module), rules, seed_names), root_of(seed))
    entries = {path: entry for entry in plan for path in (entry.path, *entry.parameter.tied)}
    hooks: dict[nn.Module, dict[str, ParamInit]] = {}
    for each in members:
        hooks.setdefault(each.owner, {})[each.name] = ParamInit(entries[each.path])
    for owner, named in hooks.items():
        owner._param_init = named
    return plan


class ParamInit:
    """A hook of :func:`param_init_`: draws one parameter, whole or a DTensor."""

    def __init__(self, entry: Planned) -> None:
        self.entry = entry

    def __repr__(self) -> str:
        return f"ParamInit({self.entry.path!r}, {self.entry.initializer})"

    def __call__(self, x: torch.Tensor) -> None:
        """Fill the parameter as it was planned."""
        if not self.entry.is_drawn:
            return
        self.entry.fill_(x)
        row = self.entry.parameter.zero_row
        if row is None or backend_of(x).is_abstract(x):
            return
        with torch.no_grad():
            for corner, part in held(x):
                if corner[0] <= row < corner[0] + len(part):
                    part[row - corner[0]] = 0
