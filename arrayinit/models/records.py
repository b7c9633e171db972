"""Records: what the constructor of a torch model does to its parameters and buffers, as rules."""

import re
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.utils._pytree import tree_leaves, tree_map

from arrayinit.backends import backend_of
from arrayinit.common.escapes import printable
from arrayinit.common.messages import shape_text, warn
from arrayinit.common.tables import aligned
from arrayinit.models.derived import derived_of
from arrayinit.models.recorded import RecordedRule
from arrayinit.models.rules import Rule, Rules
from arrayinit.models.torch_members import ModuleTensor, padding_of, tensors_of
from arrayinit.recording.modes import modes
from arrayinit.recording.programs import Program
from arrayinit.recording.recognition import Recognized, is_unset, recognize
from arrayinit.recording.replay import notes_behind, values_of
from arrayinit.recording.tape import RecordError, Tape, is_draw

__all__ = ["Record", "record"]

UNSET = "the constructor leaves it as it was allocated, without values: give it a rule"
_recording: ContextVar[bool] = ContextVar("arrayinit_recording", default=False)


class Record(Rules):
    """The rules that :func:`record` yields: one for each parameter and buffer of the models that were built, by path.

    It is accepted wherever rules are, alone or behind others: `rules + start`. `print(start)` shows each path with its
    shape and law. :meth:`as_rules` gives rules that can be written as TOML or JSON, where every parameter is a law. A
    record can be pickled, and drawn into the same model that another process builds.

    Example:
        >>> import torch
        >>> from arrayinit.torch import init_module_, record
        >>> with record() as start:
        ...     model = torch.nn.Linear(4, 3)
        >>> rules = ai.Rules({"bias": "zeros"}) + start
        >>> init_module_(model, rules, seed=0).bias.tolist()
        [0.0, 0.0, 0.0]
    """

    def __init__(self) -> None:
        super().__init__()

    def __str__(self) -> str:
        rows = [(printable(rule.path), shape_text(rule.shape), rule.words) for rule in self._entries]
        return "\n".join(aligned(rows, right=(1,)))

    @property
    def _entries(self) -> list[RecordedRule]:
        return [rule for rule in self.rules if isinstance(rule, RecordedRule)]

    def as_rules(self) -> Rules:
        """The record as rules that can be written as JSON or TOML.

        Raises:
            ValueError: parameters and buffers that follow no law; the text lists them.

        >>> import torch
        >>> from arrayinit.torch import record
        >>> with record() as start:
        ...     model = torch.nn.LayerNorm(3)
        >>> start.as_rules().as_dict()["rules"]
        [{'pattern': 'weight', 'initializer': 'ones'}, {'pattern': 'bias', 'initializer': 'zeros'}]
        """
        others = [rule.path for rule in self._entries if rule.initializer is None or rule.zero_row != rule.padding]
        if others:
            raise ValueError(f"a record must have laws only to be plain rules; got more for {', '.join(others)}")
        return Rules(
            [Rule(rule.pattern, rule.initializer, kind="buffer" if rule.is_buffer else None) for rule in self._entries]
        )


@contextmanager
def record() -> Iterator[Record]:
    """Build torch models without drawing: parameters take no memory, and how they would be filled is recorded.

    Within the block tensors are on the meta device, and the constructor sees the device that it asked for. Operations
    on them are noted instead of executed. Values that a constructor asks for (`.item()`, `if`, NumPy, printing) are
    computed, unless they depend on a draw. At the end each parameter and buffer becomes a rule:

    - a law, where one initializer draws all of its elements: by torch.nn.init's functions, by tensor methods, or by
      inversion, scaled, shifted or cut afterwards; or a constant;
    - a program of operations otherwise, such as the logarithm of a uniform draw or slices that are drawn differently;
      it is run again with draws of this package, on the whole tensor, also where only a shard of it is kept;
    - the values themselves of buffers that the constructor computes, such as rotary frequencies and masks.

    :func:`init_module_` draws by them from any seed: the same weights on any device and for any number of ranks. The
    key of a parameter is fold(seed, its path), as by rules; draw k of a program has fold(that, k). Copies of one draw,
    as torch.nn.TransformerEncoder makes of its layer, stay copies. A parameter that the constructor freezes is drawn;
    one that transformers has loaded is left alone.

    Only the thread that enters the block records; models that other threads build meanwhile are as ever.

    Yields:
        A :class:`Record`, which is empty until the block ends.

    Raises:
        RecordError: a record within another one; values that depend on a draw, asked for by the constructor.

    Example:
        >>> import torch
        >>> from arrayinit.torch import init_module_, record
        >>> with record() as start:
        ...     model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.LayerNorm(3))
        >>> model[0].weight.device.type
        'meta'
        >>> print(start)
        0.weight  3x4  kaiming_uniform, a=2.23606797749979, mode='fan_in', nonlinearity='leaky_relu'
        0.bias      3  uniform, a=-0.5, b=0.5
        1.weight    3  ones
        1.bias      3  zeros
        >>> model = init_module_(model, start, seed=0)
        >>> weight = ai.kaiming_uniform((3, 4), a=5**0.5, seed=0, name="0.weight")
        >>> bool((model[0].weight.detach().numpy() == weight).all())
        True
    """
    if _recording.get():
        raise RecordError("a record can't be made within another one")
    tape, result = Tape(), Record()
    modules: weakref.WeakSet[nn.Module] = weakref.WeakSet()
    token = _recording.set(True)
    hooks = _watch(modules)
    try:
        with modes(tape):
            yield result
    finally:
        _recording.reset(token)
        for hook in hooks:
            hook.remove()
    tape.take_back()
    inner = {id(child) for module in modules for child in module.modules() if child is not module}
    roots = [module for module in modules if id(module) not in inner]
    object.__setattr__(result, "rules", tuple(_rules(tape, roots)))
    _warn_of_lost(tape, modules)
    listed = {id(x) for module in modules for x in (*module._parameters.values(), *module._buffers.values())}
    for module in modules:
        _give_values(tape, module, listed)
    tape.seal()


def _warn_of_lost(tape: Tape, modules: Iterable[nn.Module]) -> None:
    """Warn of tensors that had values, were drawn into, and are not part of a model: the draw was only noted."""
    tensors = (x for module in modules for x in (*module._parameters.values(), *module._buffers.values()))
    recorded = {view.storage for x in tensors if x is not None and (view := tape.view(x)) is not None}
    for number, storage in enumerate(tape.storages):
        if storage.twin is not None and number not in recorded:
            where = tape.notes[tape.writers[number][0]].where
            warn(f"a tensor that is no parameter or buffer was drawn into at {where}, and keeps its old values")


def _give_values(tape: Tape, module: nn.Module, listed: set[int]) -> None:
    """Compute the tensors that a module holds as plain attributes; a warning where one depends on a draw.

    Args:
        listed: the ids of parameters and buffers, which rules draw, wherever else they are held.
    """
    behind = {weight.name for weight in derived_of(module)}  # which a hook makes of originals

    def is_plain(x: Any) -> bool:
        return isinstance(x, torch.Tensor) and id(x) not in listed and tape.view(x) is not None

    for name, value in list(vars(module).items()):
        if (
            name in ("_parameters", "_buffers", "_modules")
            or name in behind
            or not any(map(is_plain, tree_leaves(value)))
        ):
            continue
        try:
            vars(module)[name] = tree_map(lambda x: values_of(tape, x) if is_plain(x) else x, value)
        except RecordError as error:
            warn(f"`{name}` of {type(module).__name__} is no parameter or buffer, and gets no values: {error}")


def _watch(modules: "weakref.WeakSet[nn.Module]") -> list[Any]:
    """Hooks of torch's that collect the modules which this thread builds."""
    thread = threading.get_ident()

    def collect(module: nn.Module, name: str, value: Any) -> None:
        if threading.get_ident() == thread:
            modules.add(module)

    return [
        register_module_parameter_registration_hook(collect),
        register_module_buffer_registration_hook(collect),
        register_module_module_registration_hook(collect),
    ]


def _rules(tape: Tape, roots: list[nn.Module]) -> Iterator[RecordedRule]:
    """A rule for each parameter and buffer that :func:`arrayinit.torch.init_module_` may draw."""
    tensors: dict[str, ModuleTensor] = {}
    listed = set()
    for root in roots:
        for tensor in tensors_of(root):
            for each in tensor.originals if tensor.derived is not None else (tensor,):
                x = each.read()
                if id(x) not in listed and not backend_of(x).shapeless(x):  # tied ones once, under their first path
                    listed.add(id(x))
                    tensors.setdefault(each.path, each)
    views = {path: tape.view(tensor.read()) for path, tensor in tensors.items()}
    laws = {path: recognize(tape, view) for path, view in views.items() if view is not None}
    programs = {
        path: notes_behind(tape, view.storage)
        for path, view in views.items()
        if view is not None and laws[path] is None
    }
    owners = _owners(tape, laws, programs)
    for path, tensor in tensors.items():
        x, view, law = tensor.read(), views[path], laws.get(path)
        rule = RecordedRule(
            pattern=re.sub(r"([\[*?])", r"[\1]", path),
            initializer=None,
            path=path,
            shape=tuple(x.shape),
            is_buffer=tensor.is_buffer,
            padding=padding_of(tensor.owner, tensor.name),
        )
        if view is None:
            yield replace(rule, program=Program(tape, tape.constant(x), {}))
        elif law is None:
            draws = {number: owners[number] for number in programs[path] if is_draw(tape.notes[number])}
            program = Program(tape, view, draws)
            problem = UNSET if is_unset(tape, view) else program.problem
            yield replace(rule, program=program, problem=problem)
        else:
            owner = path if law.draw is None else owners[law.draw][0]
            shares = None if owner == path else owner
            yield replace(rule, initializer=law.initializer, zero_row=law.zero_row, shares=shares)


def _owners(
    tape: Tape, laws: dict[str, Recognized | None], programs: dict[str, list[int]]
) -> dict[int, tuple[str, int | None]]:
    """Draw -> the first parameter that has it, and which of its draws it is: None for the only one of a law."""
    owners: dict[int, tuple[str, int | None]] = {}
    for path, law in laws.items():
        if law is not None and law.draw is not None:
            owners.setdefault(law.draw, (path, None))
    for path, numbers in programs.items():
        for place, number in enumerate(number for number in numbers if is_draw(tape.notes[number])):
            owners.setdefault(number, (path, place))
    return owners
