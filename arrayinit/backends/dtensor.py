"""torch's DTensors: each rank fills its own part of the global tensor, without communication."""

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise, product
from typing import Any

import array_api_compat.torch as xp
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from arrayinit.backends.chunks import Cut, Runs, held
from arrayinit.backends.torch import TorchBackend

__all__ = ["DTensorBackend", "make"]

HALF, MASK = (1 << 32) - 1, (1 << 64) - 1


class DTensorBackend(TorchBackend):
    """The backend of torch.distributed.tensor.DTensor and of parameters that are one."""

    engine = "dtensor"
    is_distributed = True

    def check_readable(self, x: Any) -> None:
        super().check_readable(local(x))
        for placement in x.placements:
            if not placement.is_replicate() and not hasattr(placement, "dim"):
                raise ValueError(
                    f"`x` must be placed by Shard and Replicate, since no rank holds elements of a sum of parts; "
                    f"got {placement} among {tuple(x.placements)}"
                )
        local_shape = tuple(sum(length for _, length in runs) for runs in self._runs(x))
        is_empty = local(x).numel() == math.prod(local_shape) == 0  # FSDP keeps no shape of an empty part
        if x.device_mesh.get_coordinate() is not None and local_shape != tuple(local(x).shape) and not is_empty:
            raise ValueError(
                f"`x` must have on each rank the local shape of its placements; got {tuple(local(x).shape)} where "
                f"{tuple(x.placements)} of {tuple(x.shape)} make {local_shape}"
            )

    def check_writable(self, x: Any) -> None:
        base = x._base if x._is_view() else None
        if isinstance(base, DTensor) and (_is_gathered(base, x) or not _is_same_memory(local(base), local(x))):
            raise ValueError(
                f"`x` must be a DTensor itself; got a part {tuple(x.shape)} of one {tuple(base.shape)}, which torch "
                f"has gathered from other ranks into memory of its own, so that nothing would change. Draw into what "
                f"each rank holds, x.to_local(), with the `shape` and its `index`; or into the whole"
            )
        super().check_writable(local(x))

    def check_device(self, device: Any) -> Any:
        raise TypeError(f"`device` of a DTensor is that of its mesh; got {device!r}")

    def is_abstract(self, x: Any) -> bool:
        return super().is_abstract(local(x) if isinstance(x, DTensor) else x)

    def is_recorded(self, x: Any) -> bool:
        maps = torch._C._functorch.TransformType.Vmap
        layers = torch._C._functorch.get_interpreter_stack() or ()
        if self.is_tracing(x) or any(layer.key() == maps for layer in layers):
            raise ValueError(
                "`x` must not be a DTensor where torch records a graph or maps over members; got one that "
                f"is placed {x.placements}"
            )
        return False

    def empty_like(self, x: Any, dtype: str, device: Any) -> Any:
        part = super().empty_like(local(x), dtype, device)
        return DTensor.from_local(part, x.device_mesh, x.placements, run_check=False, shape=x.shape, stride=x.stride())

    def to_numpy(self, x: Any) -> npt.NDArray[Any]:
        return super().to_numpy(x.full_tensor())  # the only step for which ranks communicate

    def blocks(self, x: Any) -> Iterator[tuple[tuple[int, ...], Any]]:
        yield from super().blocks(x.to_local())

    def pieces(self, x: Any) -> Iterator[tuple[tuple[int, ...], Any]]:
        if x.device_mesh.get_coordinate() is None:
            raise ValueError("`x` must be a DTensor of a mesh that has this rank; got one of other ranks")
        for corner, place in self.parts(x):
            part = local(x)[place]
            if part.numel():
                yield corner, part

    def copies(self, x: Any) -> tuple[int, bool]:
        repeated = [k for k, placement in enumerate(x.placements) if placement.is_replicate()]
        coordinate = x.device_mesh.get_coordinate()
        return math.prod(x.device_mesh.size(k) for k in repeated), not any(coordinate[k] for k in repeated)

    def groups(self, xs: Sequence[Any]) -> list[list[int]]:
        found: dict[Any, list[int]] = {}
        for k, x in enumerate(xs):
            if x.device_mesh.get_coordinate() is not None:
                found.setdefault(x.device_mesh, []).append(k)
        return list(found.values())

    def rank(self) -> int:
        return int(dist.get_rank())

    def added(self, x: Any, rows: Sequence[Sequence[int]]) -> list[list[int]]:
        """One all-reduce over a mesh that has all ranks, else one along each of its dimensions."""
        halves = [[half for n in row for half in (n & HALF, n >> 32)] for row in rows]  # no sum overflows
        table = torch.tensor(halves, dtype=torch.int64, device=x.device_mesh.device_type)
        for group in _process_groups(x):
            dist.all_reduce(table, group=group)
        return [
            [(low + (high << 32)) & MASK for low, high in zip(sums[::2], sums[1::2], strict=True)]
            for sums in table.tolist()
        ]

    def told(self, x: Any, text: str) -> dict[int, str]:
        texts = {self.rank(): text}
        for group in _process_groups(x):
            everyone: list[Any] = [None] * dist.get_world_size(group)
            dist.all_gather_object(everyone, texts, group=group)
            texts = {rank: each for one in everyone for rank, each in one.items()}
        return texts

    def parts(self, x: Any) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
        """Parts of the global tensor that this rank holds: the first element of each, and its place in `local(x)`."""
        if x.device_mesh.get_coordinate() is None:
            return
        axes = []
        for runs in self._runs(x):
            ends = list(accumulate((length for _, length in runs), initial=0))
            places = [slice(a, b) for a, b in pairwise(ends)]
            axes.append([(start, place) for (start, _), place in zip(runs, places, strict=True)])
        for part in product(*axes):
            yield tuple(start for start, _ in part), tuple(place for _, place in part)

    def _runs(self, x: Any) -> list[Runs]:
        """For each axis, the places of the global tensor that this rank holds."""
        coordinate = x.device_mesh.get_coordinate()
        cuts: list[list[Cut]] = [[] for _ in x.shape]
        for dimension, placement in enumerate(x.placements if coordinate is not None else ()):
            if not placement.is_replicate():
                split_factor = int(getattr(placement, "split_factor", 1))
                cuts[placement.dim].append((x.device_mesh.size(dimension), coordinate[dimension], split_factor))
        return [held(int(n), each, int(m)) for n, each, m in zip(x.shape, cuts, local(x).shape, strict=True)]


def _is_gathered(base: DTensor, x: DTensor) -> bool:
    """Whether a view is on all ranks of a dimension that cuts its base: also known where a rank holds nothing of it."""
    return any(
        base.device_mesh.size(k) > 1 and not before.is_replicate() and after.is_replicate()
        for k, (before, after) in enumerate(zip(base.placements, x.placements, strict=True))
    )


def _is_same_memory(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two local tensors have one storage; tensors without elements have nothing to lose."""
    return not (a.numel() and b.numel()) or a.untyped_storage()._cdata == b.untyped_storage()._cdata


def _process_groups(x: Any) -> list[Any]:
    """The groups over which one collective after the other reaches all ranks of the mesh of x; None is the world."""
    mesh = x.device_mesh
    return [None] if mesh.size() == dist.get_world_size() else [mesh.get_group(k) for k in range(mesh.ndim)]


def local(x: Any) -> torch.Tensor:
    """The tensor that this rank holds, outside of any record for gradients."""
    with torch.no_grad():
        part: torch.Tensor = x.to_local()
        return part


def make() -> DTensorBackend:
    """The one backend for DTensors."""
    return DTensorBackend("torch", xp)
