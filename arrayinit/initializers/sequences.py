"""Initializers of sequence models: state spaces and positions."""

from functools import partial
from typing import Any, Unpack

from arrayinit import schemes
from arrayinit.draw import Keywords, draw

__all__ = [
    "hippo_legs",
    "hippo_legs_",
    "mamba_a_log",
    "mamba_a_log_",
    "s4d",
    "s4d_",
    "sinusoidal",
    "sinusoidal_",
]


def hippo_legs(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """HiPPO-LegS: A[n, k] = -sqrt((2n + 1)(2k + 1)) for n > k, -(n + 1) for n = k, 0 for n < k.

    With the sign of S4, x' = A x + B u: HiPPO's own A is its negative. Shapes are (N, N) or, with a layout or
    batch_axis, a batch of such matrices. float64 values are correctly rounded products and roots.

    Raises:
        ValueError: a shape that is not square, values beyond the dtype's range. TypeError: an integer dtype.

    Sources: Gu et al., HiPPO, NeurIPS 2020, theorem 2; Gu, Goel and Re, S4, ICLR 2022, eq. 2.
    """
    return draw(x, schemes.hippo_legs, False, **keywords)


def hippo_legs_(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`hippo_legs`; returns x."""
    return draw(x, schemes.hippo_legs, True, **keywords)


def s4d(x: Any, variant: str = "lin", **keywords: Unpack[Keywords]) -> Any:
    """The diagonal A of S4D, n along the last axis: eigenvalues of N = 2 M states of which the M with Im >= 0 are kept.

        "lin":   -1/2 + i pi n
        "inv":   -1/2 + i N / pi (N / (2n + 1) - 1)
        "legs":  -1/2 + i y_n, the eigenvalues of the normal part of HiPPO-LegS of size N, y ascending
        "real":  -(n + 1)

    M is the size of the last axis; all else are copies. The states with conjugate eigenvalues are left to the model, as
    in the reference code, which takes twice the real part. Models keep log(-Re A) and Im A as parameters.

    Args:
        variant: all but "real" need a complex dtype.

    Raises:
        ValueError: an unknown variant, a shape without axes. TypeError: a real dtype for complex values.

    Source: Gu et al., Parameterization and Initialization of Diagonal State Space Models, NeurIPS 2022, section 4.
    """
    return draw(x, partial(schemes.s4d, variant=variant), False, **keywords)


def s4d_(x: Any, variant: str = "lin", **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`s4d`; returns x."""
    return draw(x, partial(schemes.s4d, variant=variant), True, **keywords)


def mamba_a_log(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """log(n + 1) for n along the last axis: Mamba's A_log, whose -exp is S4D's real A = -(n + 1).

    For shapes (channels, N). The same on every machine.

    Raises:
        ValueError: a shape without axes. TypeError: an integer dtype.

    Source: Gu and Dao, Mamba, 2023, section 3.6; mamba_ssm's Mamba.
    """
    return draw(x, schemes.mamba_a_log, False, **keywords)


def mamba_a_log_(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`mamba_a_log`; returns x."""
    return draw(x, schemes.mamba_a_log, True, **keywords)


def sinusoidal(x: Any, base: float = 10000.0, interleaved: bool = True, **keywords: Unpack[Keywords]) -> Any:
    """Sines of positions p: [p, 2i] = sin(p / base^(2i / d)), [p, 2i + 1] the cosine, for shapes (positions, d).

    To 1e-15 at all positions, the angle reduced in integers, and the same on every machine. Under `jax.jit` the part
    that is asked for becomes a constant of the program.

    Args:
        base: the ratio of the longest wavelength to the shortest, above 1.
        interleaved: False puts all sines first, then all cosines, with the same frequencies.

    Raises:
        ValueError: a shape that is not two-dimensional, a base of at most 1, an odd d for halves, 2^32 positions.
        TypeError: an integer dtype.

    Source: Vaswani et al., Attention Is All You Need, NeurIPS 2017, section 3.5.
    """
    return draw(x, partial(schemes.sinusoidal, base=base, interleaved=interleaved), False, **keywords)


def sinusoidal_(x: Any, base: float = 10000.0, interleaved: bool = True, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`sinusoidal`; returns x."""
    return draw(x, partial(schemes.sinusoidal, base=base, interleaved=interleaved), True, **keywords)
