"""Shapes -> roles of their axes -> fans, and the order (batch, out, in, spatial) in which elements are numbered."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from arrayinit.common.arguments import flag
from arrayinit.common.integers import MAX_AXES, as_integer, as_integers
from arrayinit.common.messages import shown

__all__ = ["Axes", "Geometry", "axis_numbers", "calculate_fans", "check_plain", "check_shape", "geometry"]

Axes: TypeAlias = int | Sequence[int]

# Elements of a tensor, at most: word numbers are signed 64-bit integers, and a complex element takes two words.
ELEMENTS = 1 << 62


@dataclass(frozen=True)
class Geometry:
    """A global shape and the roles of its axes: what a scheme computes its numbers from.

        >>> from arrayinit.laws import Normal
        >>> @ai.scheme(name="half_he")
        ... def half_he(geometry):
        ...     return Normal(0.0, geometry.fan_in**-0.5)
        >>> half_he((64, 32, 3, 3), seed=0).shape
        (64, 32, 3, 3)

    shape: the global shape, as the array lies.
    roles: one letter an axis (o, i, b, or s for spatial), or None where neither a layout nor axes are given.
    groups, transposed: as in :class:`arrayinit.Keywords`.
    """

    shape: tuple[int, ...]
    roles: str | None
    groups: int
    transposed: bool

    @property
    def order(self) -> tuple[int, ...]:
        """The axes in canonical order (batch, out, in, spatial), or as they are if their roles were not given."""
        if self.roles is None:
            return tuple(range(len(self.shape)))
        return tuple(axis for role in "bois" for axis, letter in enumerate(self.roles) if letter == role)

    @property
    def canonical(self) -> tuple[int, ...]:
        """The shape in canonical order."""
        return tuple(self.shape[axis] for axis in self.order)

    @property
    def has_fans(self) -> bool:
        """Whether there are an output and an input axis. Biases have none, nor those of stacked layers (batch, out)."""
        if self.roles is None:
            return len(self.shape) >= 2
        return "b" not in self.roles or bool({"o", "i"} & set(self.roles))

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(out, in, spatial): products of the sizes of the axes with each role. ValueError below two dimensions."""
        roles = self.roles
        if not self.has_fans:
            raise _too_few(self.shape)
        if roles is None:
            roles = "oi" + "s" * (len(self.shape) - 2)
        by_role = {role: math.prod(n for n, r in zip(self.shape, roles, strict=True) if r == role) for role in "ois"}
        return by_role["o"], by_role["i"], by_role["s"]

    @property
    def fan_in(self) -> int:
        """How many inputs an output sums over, as :func:`calculate_fans` has it. ValueError below two dimensions."""
        return self.fans[0]

    @property
    def fan_out(self) -> int:
        """How many outputs an input reaches, likewise."""
        return self.fans[1]

    @property
    def receptive_field(self) -> int:
        """The product of the spatial sizes, 1 for a matrix. ValueError below two dimensions."""
        return self.sizes[2]

    def axis(self, role: str) -> int:
        """The first axis with this role, "out", "in" or "batch"; without a layout, axis 0 is out, and axis 1 in."""
        roles = self.roles if self.roles is not None else "oi"[: len(self.shape)]
        letter = role[0]
        if letter not in roles:
            raise ValueError(
                f"`axis` must name an axis of the shape; got {role!r} for {self.shape}, whose axes are {roles!r}"
            )
        return roles.index(letter)

    @property
    def fans(self) -> tuple[int, int]:
        """(fan_in, fan_out)."""
        out, in_, spatial = self.sizes
        if out % self.groups:
            raise ValueError(
                f"`groups` must divide the size of the output axis (of the input axis where `transposed`); "
                f"got groups {self.groups} and shape {self.shape}, where it is {out}"
            )
        fan_in, fan_out = in_ * spatial, out // self.groups * spatial
        return (fan_out, fan_in) if self.transposed else (fan_in, fan_out)


def calculate_fans(
    shape: Sequence[int],
    *,
    layout: str | None = None,
    in_axis: Axes | None = None,
    out_axis: Axes | None = None,
    batch_axis: Axes = (),
    groups: int = 1,
    transposed: bool = False,
) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight: how many inputs an output sums over, how many outputs an input reaches.

        fan_in = in * receptive,    fan_out = out / groups * receptive

    where receptive is the product of the spatial sizes. The weight of a grouped convolution stores in / groups input
    channels already, so only fan_out is divided. torch.nn.init and jax.nn.initializers don't divide it.

        >>> ai.calculate_fans((64, 16, 3, 3))
        (144, 576)
        >>> ai.calculate_fans((3, 3, 16, 64), layout="hwio")
        (144, 576)
        >>> ai.calculate_fans((64, 1, 3, 3), groups=64)
        (9, 9)
        >>> ai.calculate_fans((8, 64, 16), batch_axis=0)  # eight matrices (out, in)
        (16, 64)

    Args:
        shape: at least two axes; (out, in, *spatial) without the arguments below.
        layout: one letter an axis: o output, i input, b batch (left out of the fans, e.g. stacked layers), any other
            letter spatial; o, i and b may repeat ("ioo"). "oihw" is torch's Conv2d, "hwio" is Flax's and Keras's.
        in_axis, out_axis, batch_axis: the same as axis numbers, as in jax.nn.initializers; exclude `layout`. With
            `batch_axis` alone the other axes are (out, in, *spatial), in the order in which they lie.
        groups: of a grouped convolution; groups = channels is a depthwise one.
        transposed: whether the weight is that of a transposed convolution, stored as the weight of the convolution that
            it transposes (torch's ConvTranspose, whose axis 0 holds the inputs). The two fans are exchanged.

    Raises:
        ValueError: a shape below two dimensions or of more than 2**62 elements, a layout of another rank, groups that
            do not divide the output size. TypeError: a shape or axes that are no integers.

    Sources: Glorot and Bengio, AISTATS 2010; He et al., ICCV 2015, section 2.2.
    """
    return geometry(shape, layout, in_axis, out_axis, batch_axis, groups, transposed).fans


def geometry(
    shape: Sequence[int] | int,
    layout: str | None = None,
    in_axis: Axes | None = None,
    out_axis: Axes | None = None,
    batch_axis: Axes = (),
    groups: int = 1,
    transposed: bool = False,
) -> Geometry:
    """Check the keywords that give the axes of a shape their roles, and combine them."""
    shape = check_shape(shape, "shape")
    count = as_integer(groups)
    if count is None or not 1 <= count <= ELEMENTS:
        raise ValueError(f"`groups` must be an integer of at least 1, and at most 2**62; got {shown(groups)}")
    batch = axis_numbers(batch_axis, "batch_axis")
    flag(transposed, "transposed")
    by_axes = in_axis is not None or out_axis is not None
    if layout is not None and (by_axes or batch):
        raise ValueError(
            f"`layout` and `in_axis`, `out_axis` or `batch_axis` say the same thing, so give one of them; got "
            f"{shown(layout)} and {shown(in_axis)}, {shown(out_axis)}, {shown(batch_axis)}"
        )
    if layout is not None:
        roles: str | None = _roles_of_layout(layout, shape)
    elif by_axes or batch:
        roles = _roles_of_axes(shape, in_axis, out_axis, batch)
    else:
        roles = None
    return Geometry(shape, roles, count, transposed)


def check_shape(shape: Any, name: str) -> tuple[int, ...]:
    """A shape as a tuple of ints, from a sequence of integers, an array of them with one axis, or one integer."""
    result = as_integers(shape)
    if result is None:
        size = as_integer(shape)
        if size is None:
            raise TypeError(
                f"`{name}` must be a sequence of integers, at most {MAX_AXES} of them, or one integer; "
                f"got {shown(shape)}"
            )
        result = (size,)
    if any(n < 0 for n in result):
        raise ValueError(f"`{name}` must have no negative size; got {shown(shape)}")
    if math.prod([n or 1 for n in result]) > ELEMENTS:  # also of the other sizes beside a 0, which libraries refuse
        raise ValueError(f"`{name}` must have at most 2**62 elements; got {shown(shape)}")
    return result


def check_plain(geometry: Geometry, ranks: tuple[int, ...] | None, name: str) -> None:
    """Refuse shapes of another rank (None: below 2), and layouts that are not one o, one i and spatial axes."""
    if len(geometry.shape) not in ranks if ranks else len(geometry.shape) < 2:
        wanted = " or ".join(map(str, ranks)) if ranks else "at least 2"
        raise ValueError(f"{name} needs a shape of {wanted} dimensions; got {geometry.shape}")
    if geometry.roles is not None and sorted(geometry.roles.replace("s", "")) != ["i", "o"]:
        raise ValueError(f"`layout` must have one 'o', one 'i' and no 'b' for {name}; got roles {geometry.roles!r}")


def axis_numbers(axes: Any, name: str) -> tuple[int, ...]:
    """One axis number or several, as a tuple."""
    numbers = as_integers(axes)
    if numbers is not None:
        return numbers
    axis = as_integer(axes)
    if axis is None:
        raise TypeError(f"`{name}` must be an axis number or a sequence of them; got {shown(axes)}")
    return (axis,)


def _roles_of_layout(layout: str, shape: tuple[int, ...]) -> str:
    if not isinstance(layout, str):
        hint = f": write {''.join(layout)!r}" if _are_letters(layout) else ""
        raise TypeError(f"`layout` must be a string such as 'oi' or 'hwio'; got {shown(layout)}{hint}")
    plain = "".join(letter for letter in layout.lower() if letter.isalpha())
    if plain != layout and len(plain) == len(shape) and {"o", "i"} <= {*plain}:
        raise ValueError(f"`layout` must be lower-case letters; got {shown(layout)}, did you mean {plain!r}?")
    if len(layout) != len(shape):
        raise ValueError(
            f"`layout` must have one letter for each of the {len(shape)} axes; got {shown(layout)} for {shape}"
        )
    if not all("a" <= letter <= "z" for letter in layout) or "o" not in layout or "i" not in layout:
        hint = ": it says what the axes of a weight mean, not those of images" if {*"nc"} <= {*layout.lower()} else ""
        raise ValueError(f"`layout` must be lower-case letters with an 'o' and an 'i' among them; got {layout!r}{hint}")
    return "".join(letter if letter in "oib" else "s" for letter in layout)


def _are_letters(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(each, str) and len(each) == 1 for each in value)


def _roles_of_axes(shape: tuple[int, ...], in_axis: Axes | None, out_axis: Axes | None, batch_axis: Axes) -> str:
    given = in_axis, out_axis, batch_axis
    if in_axis is None and out_axis is None:
        in_axis, out_axis = _beside(shape, axis_numbers(batch_axis, "batch_axis"))
    if in_axis is None or out_axis is None:
        raise ValueError(f"`in_axis` and `out_axis` must be given together; got {shown(in_axis)} and {shown(out_axis)}")
    roles = ["s"] * len(shape)
    for letter, name, axes in (("b", "batch_axis", batch_axis), ("i", "in_axis", in_axis), ("o", "out_axis", out_axis)):
        for axis in axis_numbers(axes, name):
            if axis == -2 and len(shape) < 2:  # a default of JAX: nobody means an axis of a bias by it
                raise _too_few(shape)
            if not -len(shape) <= axis < len(shape):
                raise ValueError(f"`{name}` must name an axis of the shape {shape}; got {shown(axis)}")
            if roles[axis] != "s":
                raise ValueError(
                    f"`in_axis`, `out_axis` and `batch_axis` must name an axis only once; got {given[0]!r}, "
                    f"{given[1]!r} and {given[2]!r} for the shape {shape}"
                )
            roles[axis] = letter
    return "".join(roles)


def _beside(shape: tuple[int, ...], batch: tuple[int, ...]) -> tuple[Axes, Axes]:
    """(in_axis, out_axis) where only batch axes are given: the others are (out, in, *spatial)."""
    taken = {axis % len(shape) for axis in batch if -len(shape) <= axis < len(shape)}
    rest = [axis for axis in range(len(shape)) if axis not in taken]
    return (rest[1], rest[0]) if len(rest) > 1 else ((), ())


def _too_few(shape: tuple[int, ...]) -> ValueError:
    return ValueError(
        f"fans need a shape of at least 2 dimensions, for an output and an input axis; got {shape}: "
        "a bias or the gain of a norm has none; draw a bias with zeros, a gain with ones, or either with constant, "
        "uniform or normal"
    )
