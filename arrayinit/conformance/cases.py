"""The draws on which all backends must agree: `check` runs them, and the golden vectors hold their results."""

import functools
import importlib.resources
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from arrayinit.specs import Spec, spec

__all__ = ["CASES", "DTYPES", "ONE_EACH", "Case", "golden"]

DTYPES = ("float64", "float32", "float16", "bfloat16", "complex128", "complex64")
SEED = 0x0123456789ABCDEF

# Initializers whose draws agree to a tolerance, not to the bit.
CLOSE = ("orthogonal", "delta_orthogonal", "spectral_orthogonal", "mimetic", "lora_orthogonal")


@dataclass(frozen=True)
class Case:
    """An initializer, a shape and keywords. The name of the case is the `name` of the draw."""

    name: str
    spec: Spec
    shape: tuple[int, ...]
    keywords: dict[str, Any] = field(default_factory=dict, hash=False)

    def draw(self, dtype: str, seed: Any = SEED, **where: Any) -> Any:
        """A new array, on the backend and device that `where` names."""
        return self.spec(self.shape, seed=seed, name=self.name, dtype=dtype, **self.keywords, **where)

    @property
    def is_exact(self) -> bool:
        """Whether backends must agree bit for bit, as they do in all cases except those of matrix products."""
        return self.spec.name not in CLOSE


def _cases() -> Iterable[Case]:
    large = (257, 513)  # more than one piece for the engines, and no multiple of four
    yield Case("uniform", spec("uniform"), large)
    yield Case("uniform asymmetric", spec("uniform", a=-0.3, b=17.0), (7, 9))
    yield Case("normal", spec("normal"), large)
    yield Case("normal shifted", spec("normal", mean=-3.25, std=0.7), (3, 5, 7))
    yield Case("trunc_normal", spec("trunc_normal"), large)
    yield Case("trunc_normal tail", spec("trunc_normal", std=0.5, a=1.5, b=float("inf")), (5, 13))
    yield Case("trunc_normal far", spec("trunc_normal", mean=1.0, a=-8.0, b=-5.0), (11, 3))
    yield Case("constant", spec("constant", val=0.1), (3, 5))
    yield Case("ones", spec("ones"), (7,))
    yield Case("zeros", spec("zeros"), (2, 3, 5))
    yield Case("eye", spec("eye"), (5, 7))
    yield Case("dirac", spec("dirac", groups=2), (6, 5, 3, 4))
    yield Case("xavier_uniform", spec("xavier_uniform"), large)
    yield Case("xavier_normal", spec("xavier_normal", gain=5 / 3), (6, 5, 3, 3))
    yield Case("kaiming_uniform", spec("kaiming_uniform", a=0.2), (9, 2, 5))
    yield Case("kaiming_normal", spec("kaiming_normal", mode="fan_out", nonlinearity="relu", groups=3), (6, 5, 3, 3))
    yield Case("lecun_uniform", spec("lecun_uniform", layout="hwio"), (3, 3, 5, 6))
    yield Case("lecun_normal", spec("lecun_normal", layout="io"), (33, 17))
    yield Case("variance_scaling", spec("variance_scaling", mode="fan_geo_avg", transposed=True), (8, 5, 2, 2))
    yield Case("sparse", spec("sparse", sparsity=0.9), (31, 17))
    yield Case("orthogonal", spec("orthogonal"), (67, 150))
    yield Case("truncated_normal", spec("truncated_normal", mean=0.5, std=0.2, lower=-1.0, upper=3.0), (9, 11))
    yield Case("siren", spec("siren"), (19, 7))
    yield Case("siren first", spec("siren", first=True), (19, 7))
    yield Case("scaled_truncated_normal", spec("scaled_truncated_normal", gain=0.5), (7, 13))
    yield Case("small_normal", spec("small_normal"), (7, 13))
    yield Case("wang_normal", spec("wang_normal", layers=12, dim=64), (7, 13))
    yield Case("prior_bias", spec("prior_bias"), (5,))
    yield Case("identity", spec("identity", gain=-0.3, groups=2), (6, 5, 3))
    yield Case("delta_orthogonal", spec("delta_orthogonal", gain=0.5), (9, 5, 4, 3))
    yield Case("spectral_orthogonal", spec("spectral_orthogonal", gain=0.5, layout="oib"), (9, 5, 3))
    yield Case("mimetic", spec("mimetic", part="key", heads=2), (6, 8))
    yield Case("mimetic out", spec("mimetic", part="out", layout="bio"), (2, 6, 7))
    yield Case("lora_orthogonal", spec("lora_orthogonal", part="A"), (6, 9))
    yield Case("lora_orthogonal B", spec("lora_orthogonal", part="B", gain=0.5), (9, 6))
    yield Case("bilinear", spec("bilinear", groups=2, layout="hwio"), (4, 3, 5, 10))
    yield Case("packed", spec("packed", initializer=spec("xavier_uniform"), blocks=3), (3 * 11, 7))
    yield Case("packed order", spec("packed", initializer=spec("normal"), blocks=3, order=(1, 0, 2)), (3 * 11, 7))
    two_laws = (spec("uniform"), spec("uniform", a=-2.0))
    yield Case("packed shared", spec("packed", initializer=two_laws, blocks=2, shared=True), (2 * 5, 7))
    mixed = (spec("normal"), spec("zeros"), spec("trunc_normal", std=0.3))
    yield Case("packed unequal", spec("packed", initializer=mixed, blocks=(5, 2, 6), layout="hwio"), (3, 2, 4, 13))
    nested = spec("packed", initializer=spec("packed", initializer=spec("uniform"), blocks=2), blocks=(4, 8))
    packed_part = (slice(10, 1, -2), slice(None, None, 3))
    yield Case("packed slice", nested, (12, 9), {"index": packed_part})
    yield Case("icnr", spec("icnr"), (8, 3, 3, 2))
    yield Case("lstm_bias", spec("lstm_bias", gates="igfo"), (20,))
    yield Case("chrono", spec("chrono", t_max=1000.0), (24,))
    # Its quantile function has + - * / and sqrt only, so it is the same in all versions of SciPy. `spec` would import
    # scipy.stats, half a second for the help of the command line, to look the name up.
    triangle = Spec("distribution", (("distribution", "triang"), ("parameters", (0.3, -1.0, 4.0))))
    yield Case("distribution", triangle, large)
    yield Case("mamba2_a_log", spec("mamba2_a_log"), (257,))
    yield Case("mamba2_a_log from 0", spec("mamba2_a_log", a_min=0.0), (257,))
    yield Case("lru_nu_log", spec("lru_nu_log"), (257,))
    yield Case("lru_nu_log on a ring", spec("lru_nu_log", r_min=0.9, r_max=0.999), (257,))
    yield Case("lru_gamma_log", spec("lru_gamma_log"), (257,))
    yield Case("lru_gamma_log on a ring", spec("lru_gamma_log", r_min=0.9, r_max=0.999), (257,))
    yield Case("mamba_dt_bias", spec("mamba_dt_bias"), (257,))
    yield Case("hippo_legs", spec("hippo_legs"), (19, 19))
    yield Case("s4d", spec("s4d", variant="real"), (3, 17))
    yield Case("mamba_a_log", spec("mamba_a_log"), (5, 16))
    yield Case("linspace", spec("linspace", start=3.0, end=6.0), (3, 17))
    yield Case("linspace by powers", spec("linspace", start=5.0, end=-7.0, power=0.3, endpoint=False), (5, 16))
    yield Case(
        "linspace with a zigzag", spec("linspace", start=-5.5, end=0.5, power=1.7, zigzag=2.5, period=8), (2, 33)
    )
    yield Case("sinusoidal", spec("sinusoidal"), large)
    halves = spec("sinusoidal", interleaved=False, base=500.0, layout="io")
    yield Case("sinusoidal slice", halves, (64, 2**32), {"index": (slice(None, None, -3), slice(2**32 - 9, 2**32, 2))})
    yield Case("zero_hadamard", spec("zero_hadamard"), (37, 21))
    yield Case("zero_hadamard kernel", spec("zero_hadamard", layout="hwio"), (3, 3, 5, 9))
    yield Case("scalar", spec("normal"), ())
    yield Case("empty", spec("normal"), (3, 0, 5))
    index = (slice(5, 250, 3), slice(None, None, -2))
    yield Case("slice", spec("normal"), (999, 31), {"index": index})
    yield Case("far slice", spec("uniform"), (2**40, 9), {"index": slice(2**40 - 3, 2**40)})


CASES = tuple(_cases())
ONE_EACH = tuple({case.spec.name: case for case in reversed(CASES)}.values())[
    ::-1
]  # the first case of each initializer


@functools.cache
def golden() -> dict[str, dict[str, dict[str, Any]]]:
    """The committed vectors: case -> dtype -> {"fingerprint": of the whole array, "head": its first elements}."""
    text = importlib.resources.files("arrayinit.conformance").joinpath("golden.json").read_text("utf-8")
    vectors: dict[str, dict[str, dict[str, Any]]] = json.loads(text)["vectors"]
    return vectors
