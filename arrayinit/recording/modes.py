"""The modes that write a tape.

The dispatch mode sees every operation in its lowest form (`aten.uniform_`, `aten.copy_`): it runs on the meta device,
which gives shapes and aliases but takes no memory, and is noted. The function mode sees what never becomes an
operation: questions about a tensor's device, which are answered as if its values were there, and conversions to Python
and NumPy, for which values are computed.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from types import FrameType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

from arrayinit.recording.initializers import is_deep_copy, is_of_storage, is_orthogonality_test, named, whole
from arrayinit.recording.replay import values_of
from arrayinit.recording.tape import META, Note, RecordError, Tape, View
from arrayinit.specs import Spec

__all__ = ["modes"]


class _Operations(TorchDispatchMode):  # type: ignore[misc] # torch is not followed
    """Notes every operation on tensors without values, and runs it on the meta device."""

    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self.tape = tape

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        with torch._C.DisableTorchFunction():  # so that the other mode does not answer our own questions
            return self._run(func, args, dict(kwargs or {}), sys._getframe(1))

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], frame: FrameType) -> Any:
        """Note an operation that a frame calls, and run it on the meta device; or for real, where all has values."""
        if kwargs.get("generator") is not None:
            kwargs["generator"] = None  # the key of a draw comes from the seed, whatever the constructor would take
        tape = self.tape
        tape.take_back()
        if func in _FILLS and isinstance(args[0], torch.Tensor) and _is_valid(func, args, kwargs):
            view = tape.view(args[0])
            if view is not None:
                self._note_fill(func, view, args, kwargs, frame)
                return args[0]
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        names = {argument.name for argument in func._schema.arguments}
        takes_device = "device" in names
        is_noted = any(tape.view(x) is not None for x in tensors)
        draws = torch.Tag.nondeterministic_seeded in func.tags
        if is_of_storage(frame):  # storages with values are loaded and copied as ever
            if is_noted:
                raise RecordError(f"the memory of a tensor without values is copied at {_where(frame)}")
            return func(*args, **kwargs)
        if not (is_noted or draws or (takes_device and not tensors)):
            return func(*args, **kwargs)  # tensors with values, such as torch.tensor([...])
        if torch.Tag.data_dependent_output in func.tags and is_orthogonality_test(frame):
            return False  # the step is taken, which changes nothing beyond rounding where it was not needed
        if torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags:
            return func(*self._real(args), **self._real(kwargs))
        device = torch.device(kwargs.get("device") or (self._device(tensors[0]) if tensors else "cpu"))
        if device.type == "meta":  # asked for by code of torch's that saw the truth
            device = self._device(tensors[0]) if tensors else torch.device("cpu")
        written = [
            x
            for argument, x in _bound(func, args, kwargs)
            if argument.alias_info is not None and argument.alias_info.is_write
            for x in tree_leaves(x)
            if isinstance(x, torch.Tensor)
        ]
        for x in written:
            if tape.view(x) is None:  # a tensor with values, into which something without values is written
                tape.adopt(x)
        noted = tree_map(lambda x: self._noted(x) if isinstance(x, torch.Tensor) else x, (args, kwargs))
        on_meta = tree_map(lambda x: tape.without_values(x) if isinstance(x, torch.Tensor) else x, (args, kwargs))
        if takes_device:
            on_meta[1]["device"] = META
        try:
            result = func(*on_meta[0], **on_meta[1])
        except NotImplementedError as error:  # which a constructor may take for something else, and catch
            if written:
                raise RecordError(f"{func} at {_where(frame)} can't be run without values") from error
            result = _of_zeros(func, *on_meta)
        if any(isinstance(x, torch.Tensor) and x.layout != torch.strided for x in tree_leaves(result)):
            return func(*self._real(args), **self._real(kwargs))  # sparse tensors are no views of a storage
        if func is torch.ops.aten.clone.default and not tape.has_copies:
            tape.has_copies = is_deep_copy(frame)
        views_written = tuple(view for view in map(tape.view, written) if view is not None)
        outputs = [
            tape.add(x, device) if isinstance(x, torch.Tensor) and tape.view(x) is None else None
            for x in tree_leaves(result)
        ]
        is_view = str(func).startswith("aten.set_.")  # which gives a tensor another one's memory, and writes nothing
        if (written and not is_view) or any(outputs):
            tape.append(
                Note(
                    op=str(func),
                    args=noted[0],
                    kwargs=noted[1],
                    outputs=tuple(outputs),
                    written=views_written,
                    read=_read(func, *noted),
                    initializer=self._initializer(views_written, frame),
                    where=_where(frame),
                )
            )
        return written[0] if written and isinstance(result, torch.Tensor) else result  # torch._foreach_* give None

    def _note_fill(
        self, func: Any, view: View, args: tuple[Any, ...], kwargs: dict[str, Any], frame: FrameType
    ) -> None:
        """Note an operation that fills a tensor: most of a constructor's, and slow on the meta device."""
        self.tape.append(
            Note(
                op=str(func), args=(view, *args[1:]), kwargs=kwargs, outputs=(None,), written=(view,), read=(view,),
                initializer=self._initializer((view,), frame), where=_where(frame),
            )
        )  # fmt: skip

    def _initializer(self, written: tuple[View, ...], frame: FrameType) -> Spec | None:
        """The initializer that a draw is the end of, where the frames tell."""
        call = named(frame) if len(written) == 1 else None
        return None if call is None or self.tape.view(call[1]) != written[0] else call[0]

    def _noted(self, x: torch.Tensor) -> View | torch.Tensor:
        view = self.tape.view(x)
        return x.detach().clone() if view is None else view  # a constant; it may be changed later

    def _device(self, x: torch.Tensor) -> torch.device:
        view = self.tape.view(x)
        return x.device if view is None else self.tape.storages[view.storage].device

    def _real(self, arguments: Any) -> Any:
        return tree_map(lambda x: values_of(self.tape, x) if isinstance(x, torch.Tensor) else x, arguments)


_FILLS = (
    torch.ops.aten.normal_.default, torch.ops.aten.uniform_.default, torch.ops.aten.zero_.default,
    torch.ops.aten.fill_.Scalar,
)  # fmt: skip


def _is_valid(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether torch takes these arguments of one of these operations; it tells itself what is wrong with others."""
    if func is torch.ops.aten.normal_.default:
        return bool((args[2] if len(args) > 2 else kwargs.get("std", 1.0)) >= 0)
    if func is torch.ops.aten.uniform_.default:
        low = args[1] if len(args) > 1 else kwargs.get("from", 0.0)
        high = args[2] if len(args) > 2 else kwargs.get("to", 1.0)
        return bool(low <= high)
    return True


def _read(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[View, ...]:
    """The views whose values an operation needs: not that of the tensor that a new one is made like."""
    name = str(func).split(".")[1]
    needed = args[1:] if name.startswith("new_") or name.endswith("_like") else args
    return tuple(x for x in tree_leaves((needed, kwargs)) if isinstance(x, View))


def _of_zeros(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Tensors on the meta device like those that an operation gives, for one that torch can't run there."""
    cpu = torch.device("cpu")

    def zeros(x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            return torch.zeros(x.size(), dtype=x.dtype, device=cpu)
        return cpu if x == META else x

    with torch.random.fork_rng(devices=[]):
        result = func(*tree_map(zeros, args), **tree_map(zeros, kwargs))
    return tree_map(
        lambda x: (
            torch.empty_strided(x.size(), x.stride(), dtype=x.dtype, device=META)
            if isinstance(x, torch.Tensor) and x.layout == torch.strided
            else x
        ),
        result,
    )


def _bound(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Each argument of a call, with its description in the operation's schema."""
    for place, argument in enumerate(func._schema.arguments):
        if place < len(args):
            yield argument, args[place]
        elif argument.name in kwargs:
            yield argument, kwargs[argument.name]


class _Questions(TorchFunctionMode):  # type: ignore[misc] # torch is not followed
    """Answers questions about tensors without values as if they had them."""

    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self.tape = tape

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor, torch.asarray):  # under torch.device("meta"), without their values
            device = torch.device(kwargs.get("device") or torch.get_default_device())
            kwargs = kwargs | {"device": "cpu"} if device.type == "meta" else kwargs
        x = args[0] if args and isinstance(args[0], torch.Tensor) else None
        view = None if x is None else self.tape.view(x)
        if x is not None and func is torch.Tensor.__deepcopy__ and x.is_leaf:
            self.tape.has_copies = True
            memo = args[1]  # torch would copy the memory into an empty tensor, which is a meta tensor here
            if id(x) not in memo:
                memo[id(x)] = x.detach().clone().requires_grad_(x.requires_grad)
            return memo[id(x)]
        if getattr(func, "__self__", None) is torch.Tensor.data and func.__name__ == "__set__":
            return self._set_data(args[0], args[1])
        if view is not None:
            device = self.tape.storages[view.storage].device
            name = getattr(func, "__name__", "")
            if name == "__get__":
                getter = getattr(func, "__self__", None)
                if getter is torch.Tensor.device:
                    return device
                if getter is torch.Tensor.is_meta:
                    return self._notes_whole(view, sys._getframe(1)) or device.type == "meta"
                if getter in (torch.Tensor.is_cpu, torch.Tensor.is_cuda):
                    return device.type == ("cpu" if getter is torch.Tensor.is_cpu else "cuda")
            elif name in ("numpy", "__array__"):
                values = values_of(self.tape, x)
                array = func(values, *args[1:], **kwargs)
                self.tape.lend(view, values, array)
                return array
            elif name in ("tolist", "__repr__", "__format__", "__reduce_ex__"):
                args = (values_of(self.tape, x), *args[1:])
            elif name == "get_device":
                return device.index if device.type == "cuda" else -1
        elif func in (torch.tensor, torch.as_tensor) and args and not isinstance(args[0], torch.Tensor):
            args = (tree_map(lambda x: self._number(x), args[0]), *args[1:])  # whose tensors are asked for their items
        return func(*args, **kwargs)

    def _number(self, x: Any) -> Any:
        return values_of(self.tape, x) if isinstance(x, torch.Tensor) else x

    def _set_data(self, x: torch.Tensor, value: torch.Tensor) -> None:
        """`x.data = value`, where one of them may have values and the other one none."""
        if not x.is_meta and value.is_meta:
            meta = value.detach().requires_grad_(x.requires_grad)
            torch._C._swap_tensor_impl(x, meta)
            return
        if x.is_meta and not value.is_meta:
            with _disable_current_modes():
                if self.tape.view(value) is None:
                    self.tape.adopt(value)
                value = self.tape.without_values(value)
        x.data = value

    def _notes_whole(self, view: View, frame: FrameType) -> bool:
        """Whether torch.nn.init asks, whose functions do nothing on the meta device: then the call is noted.

        orthogonal_, sparse_, trunc_normal_ and dirac_ would decide by values that are not there, or factorize.
        """
        initializer = whole(frame)
        if initializer is None or self.tape.view(frame.f_locals["tensor"]) != view:
            return False
        self.tape.append(
            Note(
                op="", args=(), kwargs={}, outputs=(), written=(view,), read=(), initializer=initializer,
                where=_where(frame),
            )
        )  # fmt: skip
        return True


def modes(tape: Tape) -> ExitStack:
    """The modes that write a tape while they are entered, on this thread only."""
    stack = ExitStack()
    stack.enter_context(_Operations(tape))
    stack.enter_context(_Questions(tape))
    return stack


def _where(frame: FrameType | None) -> str:
    """The nearest line outside of torch, of the constructor."""
    while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in ("torch", "arrayinit"):
        frame = frame.f_back
    return "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
