"""A draw as data: what a config or a checkpoint stores in place of a random array."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from arrayinit.backends import backend_named
from arrayinit.common.integers import as_integer
from arrayinit.common.messages import shape_text, shown
from arrayinit.key import Key
from arrayinit.laws.geometry import check_shape
from arrayinit.laws.regions import Index
from arrayinit.seeds import Name, resolve
from arrayinit.specs import Spec, law_of, named, spec_hint, with_path

__all__ = ["Draw"]

_FIELDS = ("initializer", "shape", "seed", "name", "dtype", "stream_version")


@dataclass(frozen=True)
class Draw:
    """An array as data: an initializer, a shape, a seed, a name and a dtype. The array is drawn where it is needed.

    Random projections that are never trained, as VeRA's, need no other storage: the values are the same in every
    process, on every backend and in later versions, until the stream's version changes. A draw that was stored under
    another version is refused, because its values would differ.

        >>> a = ai.Draw(ai.spec("kaiming_uniform"), (8, 64), seed=0, name="vera_A")
        >>> a.as_dict()["stream_version"]
        1
        >>> np.array_equal(ai.Draw.from_dict(a.as_dict())(), ai.kaiming_uniform((8, 64), seed=0, name="vera_A"))
        True

    Args:
        initializer: a Spec, or the name of an initializer.
        shape: of the whole array.
        seed: an integer in [0, 2**64), or an `arrayinit.Key`, which is stored as its integer.
        name: folded into the key: a string, an integer, or a tuple of them; None for none. The path of a parameter
            gives what `init_module_` and `init_tree` draw for it with the same seed, if the initializer has the
            `layout` or `groups` of its layer; a row of padding is not 0 here. A :func:`scheme` with a `path` gets the
            name as its path, where that is a string.
        dtype: the dtype of new arrays, by name.

    Raises:
        TypeError, ValueError: a seed of another kind, and whatever the initializer refuses. Nothing is drawn.
    """

    initializer: Spec
    shape: tuple[int, ...]
    seed: int
    name: Name | None = None
    dtype: str = "float32"

    def __post_init__(self) -> None:
        given = self.initializer
        if isinstance(given, str):
            given = named(given, "initializer")
        if not isinstance(given, Spec):
            raise TypeError(
                f"`initializer` must be an arrayinit.Spec or the name of an initializer; got {shown(given)}"
                f"{spec_hint(given)}"
            )
        seed = self.seed
        if isinstance(seed, bool) or not isinstance(seed, int | Key) or (isinstance(seed, Key) and seed.is_traced):
            raise TypeError(f"`seed` must be an integer or an arrayinit.Key, to be stored; got {shown(seed)}")
        resolve(seed, self.name)  # checks both
        object.__setattr__(self, "initializer", given)
        object.__setattr__(self, "name", _plain_name(self.name))
        object.__setattr__(self, "shape", check_shape(self.shape, "shape"))
        object.__setattr__(self, "seed", int(seed))
        object.__setattr__(self, "dtype", backend_named("numpy").dtype_name(self.dtype))
        law_of(self._with_path, self.shape, self.dtype)  # refuses what can't be drawn

    @property
    def _with_path(self) -> Spec:
        """The initializer as a plan of a model has it for a parameter with the path `name`."""
        return with_path(self.initializer, self.name) if isinstance(self.name, str) else self.initializer

    def __call__(
        self,
        *,
        xp: str | ModuleType | Any = None,
        device: Any = None,
        index: Index | None = None,
        flat: slice | None = None,
        chunks: Any = None,
    ) -> Any:
        """A new array, or a part of it; the keywords are those of every initializer.

            >>> b = ai.Draw("normal", (1000, 4), seed=3, dtype="float16")
            >>> np.array_equal(b(index=slice(0, 2)), b()[:2])
            True

        Raises:
            TypeError, ValueError: as the initializer.
        """
        return self._with_path(
            self.shape, seed=self.seed, name=self.name, dtype=self.dtype, xp=xp, device=device, index=index, flat=flat,
            chunks=chunks,
        )  # fmt: skip

    def fill_(self, x: Any, *, index: Index | None = None, flat: slice | None = None) -> Any:
        """Fill x, which holds the array or a part of it; returns x. The values are rounded to the dtype of x.

            >>> x = np.empty((2, 4), "float16")
            >>> ai.Draw("ones", (2, 4), seed=0).fill_(x) is x
            True

        Raises:
            ValueError: x has another shape than the array or the part. TypeError, ValueError: as the initializer.
        """
        if index is None and flat is None:
            shape = tuple(getattr(x, "shape", self.shape))
            if shape != self.shape:
                raise ValueError(f"`x` must have the shape {self.shape} of the draw; got {shape}")
            return self._with_path.fill_(x, seed=self.seed, name=self.name)
        return self._with_path.fill_(x, seed=self.seed, name=self.name, shape=self.shape, index=index, flat=flat)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON or TOML, with the version of the stream. A name of None is left out.

        >>> ai.Draw("normal", (2, 3), seed=0).as_dict()
        {'initializer': 'normal', 'shape': [2, 3], 'seed': 0, 'dtype': 'float32', 'stream_version': 1}
        """
        name = {} if self.name is None else {"name": [*self.name] if isinstance(self.name, tuple) else self.name}
        return {
            "initializer": self.initializer.as_dict() if self.initializer.items else self.initializer.name,
            "shape": [*self.shape],
            "seed": self.seed,
            **name,
            "dtype": self.dtype,
            "stream_version": _stream_version(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Draw":
        """The inverse of :meth:`as_dict`.

            >>> ai.Draw.from_dict({"initializer": "eye", "shape": [2, 2], "seed": 0, "stream_version": 1})()
            array([[1., 0.],
                   [0., 1.]], dtype=float32)

        Raises:
            ValueError: another stream version, entries that are missing or unknown. TypeError, ValueError: as the
                class.
        """
        if not isinstance(data, Mapping):
            raise TypeError(f"`data` of a draw must be a mapping; got {shown(data)}")
        _check_version(data.get("stream_version"))
        unknown = [key for key in data if key not in _FIELDS]
        missing = [key for key in ("initializer", "shape", "seed") if key not in data]
        if unknown or missing:
            raise ValueError(
                f"`data` of a draw must have {', '.join(_FIELDS)}, of which name and dtype may be left out; "
                f"got {shown(dict(data))}"
            )
        rest = {key: value for key, value in data.items() if key != "stream_version"}
        if isinstance(rest["initializer"], Mapping):
            rest["initializer"] = Spec.from_dict(rest["initializer"])
        if isinstance(rest.get("name"), list):
            rest["name"] = tuple(rest["name"])
        return cls(**rest)

    def _repr_html_(self) -> str:
        from arrayinit.common.tables import html_fields

        name = {} if self.name is None else {"name": str(self.name)}
        shared = {"shape": shape_text(self.shape), "seed": str(self.seed), **name, "dtype": self.dtype}
        return html_fields("draw", {"initializer": repr(self.initializer), **shared})

    def __reduce__(self) -> Any:
        return (_unpickled, (_stream_version(), self.initializer, self.shape, self.seed, self.name, self.dtype))


def _unpickled(version: int, *fields: Any) -> Draw:
    _check_version(version)
    return Draw(*fields)


def _plain_name(name: Any) -> Name | None:
    """A name that folds, with strings and integers of Python's, which JSON and TOML can hold."""
    if name is None:
        return None
    if isinstance(name, tuple):
        return tuple(_plain_name(word) for word in name)  # type: ignore[misc] # none is None, which does not fold
    number = None if isinstance(name, str) else as_integer(name)
    if number is None and not isinstance(name, str):
        raise TypeError(f"`name` must be a string or an integer with a value, to be stored; got {shown(name)}")
    return str(name) if number is None else number


def _check_version(version: Any) -> None:
    if as_integer(version) != _stream_version():
        raise ValueError(
            f"`stream_version` must be {_stream_version()}, the stream of this version of arrayinit, which draws other "
            f"values than another stream; got {'none' if version is None else shown(version)}"
        )


def _stream_version() -> int:
    from arrayinit import STREAM_VERSION  # here, because it is defined at the top of the package

    return STREAM_VERSION
