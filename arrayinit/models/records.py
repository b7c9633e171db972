"""Records: what the constructor of a torch model does to its parameters and buffers, as rules."""

import gc
import math
import pickle
import random
import re
import threading
import uuid
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves, tree_map

from arrayinit.backends import backend_of
from arrayinit.common.arguments import flag
from arrayinit.common.messages import shown, warn
from arrayinit.models.derived import derived_of
from arrayinit.models.recorded import RecordedRule, RecordedRules
from arrayinit.models.torch import init_module_
from arrayinit.models.torch_members import ModuleTensor, axes_of, padding_of, tensors_of
from arrayinit.recording.modes import modes
from arrayinit.recording.programs import Program
from arrayinit.recording.recognition import Recognized, draw_of, is_unset, recognize
from arrayinit.recording.replay import notes_behind, values_of
from arrayinit.recording.tape import RecordError, Tape, View, is_draw
from arrayinit.specs import Spec, job_of, spec

__all__ = ["Record", "record"]

TWICE = "several models that were built have this path, and differ there: record each in a block of its own"
COPIES = ("clone", "copy_", "empty")
UNSET = "the constructor leaves it as it was allocated, without values: give it a rule"
_recording: ContextVar[bool] = ContextVar("arrayinit_recording", default=False)


class Record(RecordedRules):
    """The rules that :func:`record` yields: one for each parameter and buffer of the models that were built, by path.

    It is accepted wherever rules are, alone or behind others: `rules + start`. `print(start)` shows each path with its
    shape and law. A record can be pickled, and drawn into the same model in another process, whether that was built
    plainly, on the meta device or within :func:`record`. Where every parameter and buffer follows a law,
    `start.as_rules().to_toml()` writes them as text. Records are equal if they draw the same values.

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


@contextmanager
def record(*, draw: bool = False, seed: Any = None) -> Iterator[Record]:
    """Build torch models without drawing: parameters take no memory, and how they would be filled is recorded.

    Within the block tensors are on the meta device, and the constructor sees the device that it asked for. Operations
    on them are noted instead of executed. Values that a constructor asks for (`.item()`, `if`, NumPy, printing) are
    computed, unless they depend on a draw. At the end each parameter and buffer becomes a rule:

    - a law, where one initializer draws all of its elements: by torch.nn.init's functions, by tensor methods, or by
      inversion, scaled, shifted or cut afterwards; or a constant;
    - a program of operations otherwise, such as the logarithm of a uniform draw or slices that are drawn differently;
      it is run again with draws of this package, on the whole tensor, even where only a shard of it is kept;
    - the values themselves of buffers that the constructor computes, such as rotary frequencies and masks.

    :func:`init_module_` draws by them from any seed: the same weights on any device and for any number of ranks. Until
    then the model is on the meta device: `.to("cuda")` fails, its outputs hold nothing, and `load_state_dict` needs
    `assign=True`. Shard it after the block. The key of a parameter is fold(seed, its path), as by rules; draw k of a
    program has fold(that, k). Copies of one draw, as torch.nn.TransformerEncoder makes of its layer, stay copies. A
    parameter that the constructor freezes is drawn; for one that is frozen after the block, `init_module_` wants to be
    told by `frozen`. What transformers has loaded is left alone. Tensors go to the device that the constructor asked
    for, unless `init_module_` is given another one.

    Several models may be built in one block; each is drawn by itself. Only the thread that enters the block records;
    models that other threads build meanwhile are not affected. Tensors that belong to no module get no values.

    Args:
        draw: True draws the models when the block ends, as `init_module_(model, start, seed=seed)` does. For models of
            some million parameters and more, that takes less time than most constructors do.
        seed: as in every initializer; only with draw=True.

    Yields:
        A :class:`Record`, which is empty until the block ends.

    Raises:
        RecordError: a record within another one; values that depend on a draw, asked for by the constructor; with
            draw=True several models that have a random parameter of the same path, and would have the same values.
        PlanError: with draw=True, parameters that can't be drawn.
        ValueError: a seed without draw=True.

    Warns:
        UserWarning: no module is left at the end of the block; a draw into a tensor that had values before the block
            and is no part of a model, which keeps them; an attribute of a module that depends on a draw, and gets no
            values; numbers drawn from `random` or `numpy.random`, which are recorded as constants.

    Example:
        >>> import torch
        >>> from arrayinit.torch import init_module_, record
        >>> with record() as start:
        ...     model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.LayerNorm(3))
        >>> model[0].weight.device.type
        'meta'
        >>> print(start)
        0.weight  3x4  kaiming_uniform, a=2.23607, mode='fan_in', nonlinearity='leaky_relu'
        0.bias      3  uniform, a=-0.5, b=0.5
        1.weight    3  ones
        1.bias      3  zeros
        >>> model = init_module_(model, start, seed=0)
        >>> weight = ai.kaiming_uniform((3, 4), a=5**0.5, seed=0, name="0.weight")
        >>> bool((model[0].weight.detach().numpy() == weight).all())
        True

        Drawn at once:

        >>> with record(draw=True, seed=0):
        ...     other = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.LayerNorm(3))
        >>> torch.equal(other[0].weight, model[0].weight)
        True
    """
    flag(draw, "draw")
    if seed is not None and not draw:
        raise ValueError(
            f"`seed` may only be given with draw=True; got {shown(seed)} (init_module_ takes the seed of a record)"
        )
    if _recording.get():
        raise RecordError(
            "a record can't be made within another one: leave that block first, or build both models in it"
        )
    tape, result = Tape(), Record()
    built, generators = _Built(), _states()
    token = _recording.set(True)
    hooks = built.watch()
    try:
        with modes(tape):
            yield result
    finally:
        _recording.reset(token)
        for hook in hooks:
            hook.remove()
    tape.take_back()
    modules = built.modules
    if tape.has_copies:
        modules.update(_holders(tape))
    if built.is_any and not modules:
        warn("nothing is recorded, since no module is left at the end of the block: keep the model in a variable")
    inner = {id(child) for module in modules for child in module.modules() if child is not module}
    roots = sorted((module for module in modules if id(module) not in inner), key=lambda root: _storages(tape, root))
    rules = _combined({uuid.uuid4().hex: _rules(tape, root) for root in roots})
    object.__setattr__(result, "rules", rules)
    _warn_of_lost(tape, modules)
    _warn_of_generators(generators)
    listed = {id(x) for module in modules for x in (*module._parameters.values(), *module._buffers.values())}
    for module in modules:
        _give_values(tape, module, listed)
    tape.seal()
    if draw:
        _draw(roots, result, seed)


def _holders(tape: Tape) -> Iterator[nn.Module]:
    """All modules that hold tensors of the tape, and those above them: what copy.deepcopy makes calls no hook."""
    alive = [each for each in gc.get_objects() if issubclass(type(each), nn.Module) and "_modules" in vars(each)]
    above: dict[int, list[nn.Module]] = {}
    for each in alive:
        for child in each._modules.values():
            above.setdefault(id(child), []).append(each)
    todo = [
        each
        for each in alive
        if any(x is not None and tape.view(x) for x in (*each._parameters.values(), *each._buffers.values()))
    ]
    visited = set()
    while todo:
        each = todo.pop()
        if id(each) not in visited:
            visited.add(id(each))
            yield each
            todo += above.get(id(each), [])


def _storages(tape: Tape, root: nn.Module) -> list[int]:
    """The numbers of a model's storages, by which models are sorted in the order in which they were built."""
    views = (tape.view(x) for x in (*root.parameters(), *root.buffers()))
    return sorted(view.storage for view in views if view is not None)


def _combined(recorded: dict[str, list[RecordedRule]]) -> tuple[RecordedRule, ...]:
    """One rule for each path, of all models that were built.

    Args:
        recorded: a name for each model -> its rules.
    """
    rules: dict[str, RecordedRule] = {}
    for model, of_model in recorded.items():
        for rule in of_model:
            first = rules.get(rule.path, rule)
            problem = first.problem if first == rule or first.problem else TWICE
            rules[rule.path] = replace(first, models=(*first.models, model), problem=problem)
    return tuple(rules.values())


def _draw(roots: list[nn.Module], rules: Record, seed: Any) -> None:
    """Draw all models that were built. RecordError where two of them would get the same random numbers."""
    owners: dict[str, nn.Module] = {}
    holders: dict[int, nn.Module] = {}
    for root in roots if len(roots) > 1 else ():
        for path, x in (*root.named_parameters(), *root.named_buffers()):
            other = root if is_lazy(x) else holders.setdefault(x.untyped_storage()._cdata, root)
            if other is not root:
                raise RecordError(
                    f"{type(other).__name__} and {type(root).__name__} share {path}, which would be drawn twice: make "
                    f"them parts of one module"
                )
        for entry in init_module_(root, rules, seed=0, dry_run=True):
            other = owners.setdefault(entry.path, root)
            if other is not root and entry.is_random:
                raise RecordError(
                    f"{type(other).__name__} and {type(root).__name__} both have {entry.path}, and would get the same "
                    f"random numbers: draw each in a block of its own with another seed, or make them parts of one "
                    f"module"
                )
    for root in roots:
        init_module_(root, rules, seed=seed)


def _warn_of_lost(tape: Tape, modules: Iterable[nn.Module]) -> None:
    """Warn of tensors that had values, were drawn into, and are not part of a model: the draw was only noted."""
    tensors = (x for module in modules for x in (*module._parameters.values(), *module._buffers.values()))
    recorded = {view.storage for x in tensors if x is not None and (view := tape.view(x)) is not None}
    for number, storage in enumerate(tape.storages):
        if storage.twin is not None and number not in recorded and number in tape.writers:
            where = tape.notes[tape.writers[number][0]].where
            warn(f"a tensor that is no parameter or buffer was drawn into at {where}, and keeps its old values")


def _states() -> dict[str, bytes]:
    """The states of random generators whose draws are not recorded."""
    states = {"random": random.getstate(), "numpy.random": np.random.get_state(legacy=False)}
    return {name: pickle.dumps(state) for name, state in states.items()}


def _warn_of_generators(before: dict[str, bytes]) -> None:
    """Warn of draws by other generators than torch's: what they gave is recorded as constants."""
    moved = [name for name, state in _states().items() if state != before[name]]
    if moved:
        warn(
            f"numbers were drawn from {' and '.join(moved)} while models were built: what tensors hold of them is "
            f"recorded as it is, so it does not depend on the seed, and differs between processes"
        )


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


class _Built:
    """The modules that this thread builds, as long as they live."""

    def __init__(self) -> None:
        self.modules: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self.is_any = False
        self.thread = threading.get_ident()

    def watch(self) -> list[Any]:
        """Hooks of torch's that collect the modules."""
        return [
            register_module_parameter_registration_hook(self._collect),
            register_module_buffer_registration_hook(self._collect),
            register_module_module_registration_hook(self._collect),
        ]

    def _collect(self, module: nn.Module, name: str, value: Any) -> None:
        if threading.get_ident() == self.thread:
            self.modules.add(module)
            self.is_any = True


def _rules(tape: Tape, root: nn.Module) -> list[RecordedRule]:
    """A rule for each parameter and buffer that :func:`arrayinit.torch.init_module_` may draw."""
    tensors: dict[str, ModuleTensor] = {}
    paths: dict[int, list[str]] = {}  # of each tensor: tied ones are listed once, under their first path
    for tensor in tensors_of(root):
        for each in tensor.originals if tensor.derived is not None else (tensor,):
            x = each.read()
            if not backend_of(x).shapeless(x) and x.layout == torch.strided:  # sparse tensors stay as they are
                paths.setdefault(id(x), []).append(each.path)
                if len(paths[id(x)]) == 1:
                    tensors.setdefault(each.path, each)
    views = {path: tape.view(tensor.read()) for path, tensor in tensors.items()}
    axes = {path: axes_of(tensor.owner, tensor.name, tensor.read().ndim) for path, tensor in tensors.items()}
    laws = _laws(tape, {path: view for path, view in views.items() if view is not None}, axes)
    programs = {
        path: notes_behind(tape, view.storage)
        for path, view in views.items()
        if view is not None and laws[path] is None
    }
    owners = _owners(tape, laws, programs)
    rules = []
    for path, tensor in tensors.items():
        x, view, law = tensor.read(), views[path], laws.get(path)
        rule = RecordedRule(
            pattern=re.sub(r"([\[*?])", r"[\1]", path),
            initializer=None,
            path=path,
            shape=tuple(x.shape),
            is_buffer=tensor.is_buffer,
            padding=padding_of(tensor.owner, tensor.name),
            tied=tuple(paths[id(x)][1:]),
            device="" if view is None else _device(tape, view),
            is_frozen=isinstance(x, nn.Parameter) and not x.requires_grad,
        )
        if view is None:
            number = _number(x)
            program = Program(tape, tape.constant(x), {}) if number is None else None
            rule = replace(rule, initializer=number, program=program)
        elif law is None:
            draws = {number: owners[number] for number in programs[path] if is_draw(tape.notes[number])}
            program = Program(tape, view, draws)
            problem = UNSET if is_unset(tape, view) else program.problem
            rule = replace(rule, program=program, problem=problem)
        else:
            owner = path if law.draw is None else owners[law.draw][0]
            shares = None if owner == path else owner
            rule = replace(rule, initializer=law.initializer, zero_row=law.zero_row, shares=shares)
        rules.append(rule)
    return rules


def _number(x: torch.Tensor) -> Spec | None:
    """The constant that a tensor with values is, such as num_batches_tracked; None where it is none."""
    if x.numel() == 0 or x.is_complex():
        return None
    first = x.detach().reshape(-1)[0]
    value = first.item()
    if not (bool((x == first).all()) and math.isfinite(value)) or math.copysign(1, value) < 0:
        return None
    result = spec("zeros") if value == 0 else spec("ones") if value == 1 else spec("constant", val=value)
    try:
        job_of(result, tuple(x.shape), backend_of(x).dtype_name(x.dtype))
    except (TypeError, ValueError):  # a dtype that no initializer has
        return None
    return result


def _laws(tape: Tape, views: dict[str, View], axes: dict[str, dict[str, Any]]) -> dict[str, Recognized | None]:
    """The law of each tensor; None where none tells it, or would draw it apart from others that are made of its draw.

    Two laws with one key give the same numbers only if they are one law. A program runs the draw as it was noted; what
    a law makes of that draw is rounded differently, and may be its negative.

    Args:
        axes: the meaning of each tensor's axes, by which a law may number the elements in another order.
    """
    laws = {path: recognize(tape, view) for path, view in views.items()}
    users: dict[int, list[str]] = {}
    for path, view in views.items():
        law = laws[path]
        behind = notes_behind(tape, view.storage) if law is None else [] if law.draw is None else [law.draw]
        for number in behind:
            if is_draw(tape.notes[number]):
                users.setdefault(number, []).append(path)
    for number, paths in users.items():
        if len(paths) == 1:
            continue
        kinds = {
            path: (laws[path], _layout(views[path]), _changes(tape, views[path]), "layout" in axes[path])
            for path in paths
        }
        first = kinds[paths[0]]
        if first[0] is not None and all(kind == first for kind in kinds.values()):
            continue
        note = tape.notes[number]
        target = next(view for view in (*note.written, *note.outputs) if view is not None)
        initializer = draw_of(note)
        as_noted = None if initializer is None else Recognized(initializer, number)
        laws |= {path: None for path in paths if kinds[path] != (as_noted, _layout(target), [], False)}
    return laws


def _changes(tape: Tape, view: View) -> list[Any]:
    """What is done to the draw behind a tensor, other than to copy it."""
    notes = (tape.notes[number] for number in notes_behind(tape, view.storage))
    return [
        (note.op, tree_map(lambda x: None if isinstance(x, View) else repr(x), (note.args, note.kwargs)))
        for note in notes
        if not (is_draw(note) or note.name in COPIES)
    ]


def _layout(view: View) -> View:
    """A view without its place in memory."""
    return replace(view, storage=0, offset=0)


def _device(tape: Tape, view: View) -> str:
    device = tape.storages[view.storage].device
    return "" if device.type == "cpu" else str(device)


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
