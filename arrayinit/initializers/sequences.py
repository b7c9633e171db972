"""Initializers of sequence models: state spaces and positions."""

import math
from functools import partial
from typing import Any, Unpack

from arrayinit.common.arguments import finite, flag, integer, one_of, positive
from arrayinit.draw import Keywords, draw
from arrayinit.initializers.forms import creating, filling
from arrayinit.laws import Constant, Formula, Law
from arrayinit.laws.geometry import Geometry, check_plain

VARIANTS = ("lin", "inv", "legs", "real")
POSITIONS = 1 << 32


def _hippo_legs(geometry: Geometry) -> Law:
    from arrayinit.laws import formulas  # imported here: few processes need it

    shape, roles = geometry.canonical, geometry.roles
    if len(shape) != 2 if roles is None else sorted(roles.replace("b", "")) != ["i", "o"]:
        raise ValueError(f"hippo_legs needs a square matrix or, with a layout, a batch of them; got {geometry.shape}")
    n = shape[-1]
    if shape[-2] != n:
        raise ValueError(f"hippo_legs needs a square matrix; got {geometry.shape}")
    return Formula(formulas.hippo, (), math.sqrt((2 * n + 1) * (2 * n - 1)) if n else 0.0)


@creating
def hippo_legs(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """HiPPO-LegS: A[n, k] = -sqrt((2n + 1)(2k + 1)) for n > k, -(n + 1) for n = k, 0 for n < k.

    With the sign of S4, x' = A x + B u: HiPPO's own A is its negative. Shapes are (N, N) or, with a layout or
    batch_axis, a batch of such matrices. float64 values are correctly rounded products and roots.

        >>> ai.hippo_legs((3, 3))
        array([[-1.       ,  0.       ,  0.       ],
               [-1.7320508, -2.       ,  0.       ],
               [-2.236068 , -3.8729835, -3.       ]], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a shape that is not square, values beyond the dtype's range. TypeError: an integer dtype.

    Sources: Gu et al., HiPPO, NeurIPS 2020, theorem 2; Gu, Goel and Re, S4, ICLR 2022, eq. 2.
    """
    return draw(x, _hippo_legs, **keywords)


hippo_legs_ = filling(hippo_legs)


def _s4d(geometry: Geometry, variant: str) -> Law:
    from arrayinit.laws import formulas  # imported here: few processes need it

    one_of(variant, "variant", VARIANTS)
    count = _last(geometry, "s4d")
    if not count:
        return Constant(0.0)
    if variant == "real":
        return Formula(formulas.real, (), float(count))
    if variant == "lin":
        return Formula(formulas.linear, (), math.pi * count, is_complex=True)
    if variant == "inv":
        return Formula(formulas.inverse, (count,), 4 / math.pi * count * count, is_complex=True)
    return Formula(formulas.legs, (count,), float(formulas.eigenvalues(count)[-1]), is_complex=True)


@creating
def s4d(x: Any, variant: str = "lin", **keywords: Unpack[Keywords]) -> Any:
    """The diagonal A of S4D, n along the last axis: the eigenvalues with Im >= 0 of N = 2 M states.

        "lin":   -1/2 + i pi n
        "inv":   -1/2 + i N / pi (N / (2n + 1) - 1)
        "legs":  -1/2 + i y_n, the eigenvalues of the normal part of HiPPO-LegS of size N, y ascending
        "real":  -(n + 1)

    M is the size of the last axis; the other axes hold copies. The states with conjugate eigenvalues are left to the
    model, as in the reference code, which takes twice the real part. Models keep log(-Re A) and Im A as parameters.

        >>> ai.s4d(3, dtype="complex64")
        array([-0.5+0.j       , -0.5+3.1415927j, -0.5+6.2831855j], dtype=complex64)
        >>> ai.s4d(3, variant="real")
        array([-1., -2., -3.], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        variant: "lin", "inv", "legs" or "real"; all but "real" need a complex dtype.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: an unknown variant, a shape without axes. TypeError: a real dtype for complex values.

    Source: Gu et al., Parameterization and Initialization of Diagonal State Space Models, NeurIPS 2022, section 4.
    """
    return draw(x, partial(_s4d, variant=variant), **keywords)


s4d_ = filling(s4d)


def _mamba_a_log(geometry: Geometry) -> Law:
    from arrayinit.laws import formulas  # imported here: few processes need it

    return Formula(formulas.logs, (), math.log(_last(geometry, "mamba_a_log") + 1))


@creating
def mamba_a_log(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """log(n + 1) for n along the last axis: Mamba's A_log, whose -exp is S4D's real A = -(n + 1).

    For shapes (channels, N). The same on each machine.

        >>> ai.mamba_a_log((2, 3))
        array([[0.       , 0.6931472, 1.0986123],
               [0.       , 0.6931472, 1.0986123]], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a shape without axes. TypeError: an integer dtype.

    Source: Gu and Dao, Mamba, 2023, section 3.6; mamba_ssm's Mamba.
    """
    return draw(x, _mamba_a_log, **keywords)


mamba_a_log_ = filling(mamba_a_log)


def _linspace(
    geometry: Geometry, start: float, end: float, power: float, endpoint: bool, zigzag: float, period: int
) -> Law:
    from arrayinit.laws import formulas  # imported here: few processes need it

    first, last, exponent = finite(start, "start"), finite(end, "end"), positive(power, "power")
    if not math.isfinite(last - first):
        raise ValueError(f"`start` and `end` must not be further apart than float64 reaches; got {start!r} and {end!r}")
    steps = _last(geometry, "linspace") - (1 if flag(endpoint, "endpoint") else 0)
    height, length = finite(zigzag, "zigzag"), integer(period, "period")
    if height and length < 2:
        raise ValueError(f"`period` must be at least 2 for a zigzag; got {period!r}")
    if height:
        reach = max(abs(first), abs(last)) + abs(height)
        if not math.isfinite(reach):
            raise ValueError(f"`zigzag` must stay within float64 beside start and end; got {zigzag!r}")
        return Formula(formulas.zigzag_ramp, (first, last, exponent, steps, height, length), reach)
    if steps < 1:
        return Constant(first)
    return Formula(formulas.ramp, (first, last, exponent, steps), max(abs(first), abs(last)))


@creating
def linspace(
    x: Any,
    start: float = 0.0,
    end: float = 1.0,
    power: float = 1.0,
    endpoint: bool = True,
    zigzag: float = 0.0,
    period: int = 64,
    **keywords: Unpack[Keywords],
) -> Any:
    """start + (end - start) (n / (N - 1))^power for n along the last axis, of size N: a number for each unit, or layer.

    With power 1 evenly spaced numbers, such as the biases of forget gates from 3 to 6 in xLSTM. The other axes hold
    copies; where N is 1, the element is start. The same on each machine.

    With a zigzag, z s |s| is added, where s goes from -1 to 1 within each period: s = 2 (n mod period) / (period - 1) -
    1. So RWKV-7 starts the decays of each head.

        >>> ai.linspace(4, 3.0, 6.0)
        array([3., 4., 5., 6.], dtype=float32)
        >>> ai.linspace(4, 1.0, 0.0, power=0.5, endpoint=False)
        array([1.        , 0.5       , 0.29289323, 0.1339746 ], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        start, end: the first and the last number; end may be the smaller one.
        power: of the way from start to end, > 0: above 1, the first numbers are closer to each other than the last.
        endpoint: False divides n by N instead, so that end itself is not reached, as in numpy.linspace.
        zigzag: z, the height of the steps within each period.
        period: elements from one step to the next, >= 2: the size of a head.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a number or a distance that is not finite, a power that is not positive, a period below 2, a shape
            without axes.
        TypeError: an integer dtype.

    Sources: numpy.linspace; NX-AI/xlstm, xlstm/components/init.py, bias_linspace_init_; with powers, BlinkDL/RWKV-LM.
    """
    return draw(
        x,
        partial(_linspace, start=start, end=end, power=power, endpoint=endpoint, zigzag=zigzag, period=period),
        **keywords,
    )


linspace_ = filling(linspace)


def _sinusoidal(geometry: Geometry, base: float, interleaved: bool) -> Law:
    from arrayinit.laws import formulas  # imported here: few processes need it

    check_plain(geometry, (2,), "sinusoidal")
    number, (positions, features) = positive(base, "base"), geometry.canonical
    if number <= 1:
        raise ValueError(f"`base` must be above 1; got {base!r}")
    if not flag(interleaved, "interleaved") and features % 2:
        raise ValueError(f"sinusoidal in two halves needs an even number of features; got {features}")
    if positions > POSITIONS:
        raise ValueError(f"sinusoidal has at most 2**32 positions; got {positions}")
    return Formula(formulas.sinusoid, (number, features, interleaved), 1.0)


@creating
def sinusoidal(x: Any, base: float = 10000.0, interleaved: bool = True, **keywords: Unpack[Keywords]) -> Any:
    """Sines of positions p: [p, 2i] = sin(p / base^(2i / d)), [p, 2i + 1] the cosine, for shapes (positions, d).

    To 1e-15 at all positions, the angle reduced in integers, and the same on each machine. Under `jax.jit` the
    requested part becomes a constant of the program.

        >>> ai.sinusoidal((2, 4))
        array([[0.        , 1.        , 0.        , 1.        ],
               [0.84147096, 0.5403023 , 0.00999983, 0.99995   ]], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        base: the ratio of the longest wavelength to the shortest, above 1.
        interleaved: False puts all sines first, then all cosines, with the same frequencies.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a shape that is not two-dimensional, a base of at most 1, an odd d for halves, more than 2^32
            positions.
        TypeError: an integer dtype.

    Source: Vaswani et al., Attention Is All You Need, NeurIPS 2017, section 3.5.
    """
    return draw(x, partial(_sinusoidal, base=base, interleaved=interleaved), **keywords)


sinusoidal_ = filling(sinusoidal)


def _last(geometry: Geometry, name: str) -> int:
    if not geometry.shape:
        raise ValueError(f"{name} needs a shape of at least 1 dimension; got {geometry.shape}")
    return geometry.canonical[-1]
