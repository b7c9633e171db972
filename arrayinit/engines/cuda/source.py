"""The text to compile: the table of the inverse normal CDF, the block of parameters, then `kernel.cu`."""

import functools
import pkgutil

from arrayinit.backends.base import coefficients
from arrayinit.engines.cuda.parameters import declaration

__all__ = ["OPTIONS", "options", "source"]

OPTIONS = ("-std=c++17",)

_TABLE = """\
#ifdef __CUDACC__
#define TABLE __device__ const unsigned int
#else
#define TABLE static const unsigned int
#endif
"""


@functools.cache
def source() -> str:
    """The whole text. It is the same in each process, so that a process finds what another one compiled."""
    kernel = pkgutil.get_data(__name__.rpartition(".")[0], "kernel.cu")
    assert kernel is not None
    columns = zip(("c0", "c1", "c2"), coefficients(), strict=True)
    tables = [f"TABLE table_{name}[] = {{{','.join(map(str, column.tolist()))}}};\n" for name, column in columns]
    return _TABLE + "".join(tables) + declaration() + kernel.decode()


def options(kind: str, form: str) -> tuple[str, ...]:
    """Options of a compiler, for the two kernels of a kind of law and a format."""
    return (*OPTIONS, f"-DONLY_KIND={kind}", f"-DONLY_FORM={form}")
