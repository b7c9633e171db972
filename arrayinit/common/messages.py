"""Parts of errors and warnings: short representations, guesses at misspelt names, warnings at the caller's line."""

import sys
import warnings
from collections.abc import Iterable
from typing import Any

from arrayinit.common.escapes import cut

__all__ = [
    "REPR_CHARACTERS",
    "counted",
    "did_you_mean",
    "known_as",
    "module_hint",
    "no_attribute",
    "shape_text",
    "shown",
    "warn",
]

REPR_CHARACTERS = 1000  # characters of a value in a message


def shown(value: Any) -> str:
    """The repr of a value, cut if it is long; its type if it has no repr."""
    try:
        text = repr(value)
    except Exception:  # of a user's object, an integer with thousands of digits, or something nested too deeply
        bits = f" of {value.bit_length()} bits" if isinstance(value, int) else ""
        return f"<{type(value).__name__}{bits}>"
    return cut(text, REPR_CHARACTERS)


def shape_text(shape: Iterable[int]) -> str:
    """A shape as tables show it: "64x32", or "scalar"."""
    return "x".join(map(str, shape)) or "scalar"


def counted(count: int, noun: str) -> str:
    """A count with its noun: "1 tensor", "2 tensors"."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def did_you_mean(word: Any, known: Iterable[str], quote: str = "'") -> str:
    """A question that ends an error, ", did you mean 'normal'?", with the nearest known word; "" where none is near.

    That is what another library's word stands for here, else a word that differs in capitals, hyphens and a prefix such
    as "torch.", else the one that is spelt most like it.
    """
    if not isinstance(word, str):
        return ""
    import difflib  # imported here: few processes need it

    words = {_plain(each): each for each in known}
    plain = _plain(word)
    near = [foreign] if (foreign := known_as(word, words.values())) else difflib.get_close_matches(plain, words, n=1)
    return f", did you mean {quote}{words.get(near[0], near[0])}{quote}?" if near else ""


def no_attribute(module: str, name: str, known: Iterable[str]) -> AttributeError:
    """The error of a name that a module lacks, for its `__getattr__`."""
    hint = "" if name.startswith("_") else did_you_mean(name, known)
    return AttributeError(f"module {module!r} has no attribute {name!r}{hint}")


def module_hint(x: Any) -> str:
    """The end of an error about a module of torch in the place of an array; "" for all else."""
    is_module = hasattr(x, "named_parameters") and not isinstance(x, type)
    return ": give its .weight, or draw the module by arrayinit.torch.init_module_" if is_module else ""


def known_as(word: str, known: Iterable[str]) -> str | None:
    """The known word for what another library calls `word`; None where the word is no such name."""
    from arrayinit.common.synonyms import SYNONYMS  # imported here: few processes need it

    allowed = {*known}
    return next((each for each in SYNONYMS.get(_plain(word), ()) if each in allowed), None)


def _plain(word: str) -> str:
    """A word without capitals, blanks, hyphens and the prefix of a library."""
    word = word.strip().casefold().replace("-", "_").replace(" ", "_")
    prefix, _, rest = word.rpartition(".")
    return rest if rest and prefix in ("torch", "np", "numpy", "jnp", "jax.numpy", "jax", "ai", "arrayinit") else word


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, and name the line that called this package, however many calls within the package lie between.

    `stacklevel` would depend on the path that leads here, and `skip_file_prefixes` needs Python 3.12.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_within(frame.f_globals.get("__name__")):
        frame = frame.f_back
    module = frame.f_globals.get("__name__") or "<string>"
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(message, category, frame.f_code.co_filename, frame.f_lineno, module, registry)


def _is_within(module: Any) -> bool:
    """Whether a module is this package's, or contextlib, which calls it at the end of a block."""
    return isinstance(module, str) and module.partition(".")[0] in (__name__.partition(".")[0], "contextlib")
