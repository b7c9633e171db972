"""Rules: patterns of paths, each with an initializer. Plain data; the first match wins."""

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias, overload

from arrayinit.common.arguments import flag, integer, nonnegative
from arrayinit.common.calls import hinting
from arrayinit.common.extras import missing_library
from arrayinit.common.messages import did_you_mean, shown
from arrayinit.common.tables import Column, html_fields, html_table, line
from arrayinit.initializers import known_names
from arrayinit.laws.geometry import check_shape
from arrayinit.specs import Spec, named, spec_hint, value_text

__all__ = [
    "BUFFER", "NOT", "Pattern", "Rule", "Rules", "in_words", "is_of", "is_path", "is_pattern", "matches",
    "pattern_text",
]  # fmt: skip

Pattern: TypeAlias = str | re.Pattern[str] | Callable[[str, tuple[int, ...]], bool]


BUFFER = "buffer"  # the kind of tensors that are not parameters
NOT = "!"  # before a kind that a rule excludes
SHOWN = 3  # kinds that the text of a rule names

FORMS = (  # of rules as plain data
    'patterns with their initializers, {"*.bias": "zeros", "*.weight": {"name": "normal", "std": 0.02}}, or a list of '
    'rules and nothing else, {"rules": [{"pattern": "*.bias", "initializer": "zeros"}]}'
)


def is_pattern(value: Any) -> bool:
    """Whether a value can be the pattern of a rule."""
    is_text = isinstance(value, str) or (isinstance(value, re.Pattern) and isinstance(value.pattern, str))
    return (is_text or callable(value)) and value != ""


def is_path(pattern: Pattern) -> bool:
    """Whether a pattern matches nothing but the path that it is."""
    return isinstance(pattern, str) and not any(letter in pattern for letter in "*?[")


def matches(pattern: Pattern, path: str, shape: tuple[int, ...]) -> bool:
    """Whether a pattern matches a path, or a tensor of this path and shape."""
    if isinstance(pattern, str):
        return fnmatch.fnmatchcase(path, pattern)
    if isinstance(pattern, re.Pattern):
        return pattern.search(path) is not None
    return bool(pattern(path, shape))


def is_of(kinds: Sequence[str], globs: Sequence[str]) -> bool:
    """Whether a layer of these classes is of one of the kinds that globs name, and of none that they exclude."""
    wanted = [glob for glob in globs if not glob.startswith(NOT)] or ["*"]
    excluded = [glob.removeprefix(NOT) for glob in globs if glob.startswith(NOT)]
    return any(fnmatch.fnmatchcase(kind, glob) for kind in kinds for glob in wanted) and not any(
        fnmatch.fnmatchcase(kind, glob) for kind in kinds for glob in excluded
    )


def pattern_text(pattern: Pattern) -> str:
    """A pattern as a reader would write it."""
    if isinstance(pattern, str):
        return pattern
    return f"/{pattern.pattern}/" if isinstance(pattern, re.Pattern) else getattr(pattern, "__name__", repr(pattern))


@dataclass(frozen=True, repr=False)
class Rule:
    """A pattern of paths, and the initializer of the parameters that match it.

    Args:
        pattern: a glob for the whole dotted path, in which `*` stands for any text, dots included, `?` for one
            character and `[ab]` for one of several; or a compiled regular expression that is searched in the path; or a
            function of path and shape that returns whether they match.
        initializer: a :class:`arrayinit.Spec`, an initializer's name, a dictionary from `Spec.as_dict()`, or None to
            leave the parameter as it is.
        like: the last word of the path of a neighbour whose shape gives the fans: "weight" for a bias that is drawn
            within 1 / sqrt(fan_in) of its layer.
        kind: a glob for the class name of the layer that owns the parameter, or of a class that it inherits from
            ("Linear", "Conv*"), or a sequence of such globs, of which one must match; "buffer" for buffers. A glob
            after "!" excludes: ("*Norm", "!buffer"). A rule with a kind matches nothing in trees of arrays, which have
            no layers. A rule without one matches no buffer, so that a last rule `"*"` resets no running variance.
        lr_scale, eps_scale: the factors by which the recipe multiplies the learning rate, and the epsilon of Adam, for
            these parameters; reported, not used.
        optional: True if it is no mistake that the rule matches nothing.
        min_ndim, max_ndim: the fewest and the most axes of the parameters that the rule matches; None for any number.
            With min_ndim=2, "*.weight" leaves the gains of norms to other rules.
        keeps_frozen: True if frozen parameters that the rule matches stay as they are; False if they are an error. The
            argument `frozen` of the function that draws comes first.
        seed_of: the last word of the path of a neighbour whose seed name these parameters take instead of their own, so
            that both are drawn from the same random words: two laws of one draw, as `nu_log` and `gamma_log` of LRU.
            With a dot before it, a path from one layer further up: ".q_proj.weight" for the weight of k_proj. A word
            "*" in it is the one that the parameter itself has there: "..lora_A.*.weight". The neighbour has the same
            shape, that of the transposed weight by another layout, or is the other matrix of a pair
            (:func:`arrayinit.mimetic`). What `seed_names` says of the neighbour holds for both.

    Raises:
        TypeError, ValueError: an argument of the wrong type, or an initializer that does not exist.

    Example:
        >>> rule = ai.Rule("*.bias", ai.spec("uniform", a=-0.1, b=0.1), kind="Linear")
        >>> rule.matches("fc.bias", (3,), ["Linear", "Module"])
        True
        >>> rule = ai.Rule("*.weight", ai.spec("normal", std=0.02), min_ndim=2)
        >>> rule.matches("fc.weight", (3, 4)), rule.matches("ln.weight", (3,))
        (True, False)
    """

    pattern: Pattern
    initializer: Spec | None
    like: str | None = None
    kind: str | Sequence[str] | None = None
    lr_scale: float = 1.0
    optional: bool = False
    eps_scale: float = 1.0
    min_ndim: int | None = None
    max_ndim: int | None = None
    keeps_frozen: bool = False
    seed_of: str | None = None

    def __post_init__(self) -> None:
        if not is_pattern(self.pattern):
            raise TypeError(
                f"`pattern` must be a glob, a compiled regular expression (of text) or a function of path and shape; "
                f"got {shown(self.pattern)}"
            )
        if self.initializer is not None:
            object.__setattr__(self, "initializer", _spec(self.initializer))
        for name, neighbour in (("like", self.like), ("seed_of", self.seed_of)):
            if not isinstance(neighbour, str | None):
                raise TypeError(f"`{name}` must be a string or None; got {shown(neighbour)}")
        object.__setattr__(self, "kind", _kind(self.kind))
        object.__setattr__(self, "lr_scale", nonnegative(self.lr_scale, "lr_scale"))
        object.__setattr__(self, "eps_scale", nonnegative(self.eps_scale, "eps_scale"))
        flag(self.optional, "optional")
        for name, ndim in (("min_ndim", self.min_ndim), ("max_ndim", self.max_ndim)):
            if ndim is not None:
                object.__setattr__(self, name, integer(ndim, name, least=0))
        if self.min_ndim is not None and self.max_ndim is not None and self.min_ndim > self.max_ndim:
            raise ValueError(
                f"`min_ndim` must not be above `max_ndim`; got min_ndim={self.min_ndim} and max_ndim={self.max_ndim}"
            )
        flag(self.keeps_frozen, "keeps_frozen")

    def matches(self, path: str, shape: tuple[int, ...], kinds: Sequence[str] = (), ndim: int | None = None) -> bool:
        """Whether this rule matches a parameter; an earlier rule may still come first.

        ndim: its axes in one layer, where the shape is that of a stack; by default those of the shape.

        >>> ai.Rule("*.bias", "zeros", kind="Conv*").matches("fc.bias", (3,), ["Linear", "Module"])
        False
        """
        if self.kind is None:
            if BUFFER in kinds:
                return False
        elif not is_of(kinds, self.kinds):
            return False
        count = len(shape) if ndim is None else ndim
        if self.min_ndim is not None and count < self.min_ndim:
            return False
        if self.max_ndim is not None and count > self.max_ndim:
            return False
        return matches(self.pattern, path, shape)

    def __repr__(self) -> str:
        """As Python would write it, without what is as by default.

        >>> ai.Rule("*.bias", "zeros", kind="Linear")
        Rule('*.bias', spec('zeros'), kind='Linear')
        """
        words = [repr(self.pattern), repr(self.initializer)]
        words += [f"{key}={getattr(self, key)!r}" for key, usual in _DEFAULTS.items() if getattr(self, key) != usual]
        return f"Rule({', '.join(words)})"

    def _repr_html_(self) -> str:
        given = {key: str(getattr(self, key)) for key, usual in _DEFAULTS.items() if getattr(self, key) != usual}
        return html_fields(pattern_text(self.pattern), {"initializer": in_words(self.initializer)} | given)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The globs of `kind`."""
        return () if self.kind is None else (self.kind,) if isinstance(self.kind, str) else tuple(self.kind)

    @property
    def _paths(self) -> tuple[str, ...]:
        """The only paths that it can match, where it names them in full; none for every other pattern."""
        return (self.pattern,) if isinstance(self.pattern, str) and is_path(self.pattern) else ()

    @property
    def text(self) -> str:
        """The pattern as a reader would write it."""
        text = pattern_text(self.pattern)
        if self.kinds:
            rest = f" and {len(self.kinds) - SHOWN} more" if len(self.kinds) > SHOWN else ""
            text += f" of {', '.join(self.kinds[:SHOWN])}{rest}"
        if self.min_ndim is None and self.max_ndim is None:
            return text
        if self.min_ndim == self.max_ndim:
            return f"{text}, ndim = {self.min_ndim}"
        ends = [] if self.min_ndim is None else [f"ndim >= {self.min_ndim}"]
        ends += [] if self.max_ndim is None else [f"ndim <= {self.max_ndim}"]
        return f"{text}, {', '.join(ends)}"

    @property
    def words(self) -> str:
        """What it does to a parameter, in one line."""
        words = [in_words(self.initializer)]
        words += [f"fans of {self.like}"] if self.like else []
        words += [f"seed of {self.seed_of}"] if self.seed_of else []
        words += [f"lr x {self.lr_scale:g}"] if self.lr_scale != 1 else []
        words += [f"eps x {self.eps_scale:g}"] if self.eps_scale != 1 else []
        return ", ".join(words)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON and TOML. TypeError where the pattern is a function.

        >>> ai.Rule("*.bias", "zeros").as_dict()
        {'pattern': '*.bias', 'initializer': 'zeros'}
        """
        data: dict[str, Any] = {}
        if isinstance(self.pattern, str):
            data["pattern"] = self.pattern
        elif isinstance(self.pattern, re.Pattern):
            # Flags that were given beside the text, written into it: (?i), (?s), ...
            flags = self.pattern.flags & ~re.compile(self.pattern.pattern).flags
            letters = "".join(letter for letter in "aimsx" if flags & getattr(re, letter.upper()))
            data["regex"] = (f"(?{letters})" if letters else "") + self.pattern.pattern
        else:
            raise TypeError(f"`pattern` must be a glob or a regular expression to be written; got {self.pattern!r}")
        if self.initializer is None:
            data["keep"] = True
        else:
            data["initializer"] = self.initializer.as_dict() if self.initializer.items else self.initializer.name
        for name, default in _DEFAULTS.items():
            if getattr(self, name) != default:
                data[name] = getattr(self, name)
        if isinstance(self.kind, tuple):
            data["kind"] = list(self.kind)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Rule":
        """The inverse of :meth:`as_dict`. TypeError or ValueError for data of another form.

        >>> ai.Rule.from_dict({"regex": "bias$", "initializer": {"name": "normal", "std": 0.02}}).initializer
        spec('normal', std=0.02)
        """
        if not isinstance(data, Mapping):
            raise TypeError(
                f"`data` of a rule must be a mapping with 'pattern' or 'regex' and 'initializer'; got {shown(data)}"
            )
        rest = dict(data)
        pattern, regex = rest.pop("pattern", None), rest.pop("regex", None)
        given, keep = rest.pop("initializer", None), rest.pop("keep", False)
        if (pattern is None) == (regex is None):
            raise ValueError(f"`data` of a rule must have one of 'pattern' and 'regex'; got {shown(dict(data))}")
        if (given is None) != (keep is True):
            raise ValueError(f"`data` of a rule must have an 'initializer', or 'keep' = true; got {shown(dict(data))}")
        unknown = set(rest) - set(_DEFAULTS)
        if unknown:
            raise ValueError(
                f"`data` of a rule must have no other entries; got {', '.join(map(str, unknown))} in "
                f"{shown(dict(data))}"
            )
        if regex is not None:
            try:
                pattern = re.compile(regex)
            except Exception as error:  # not text, not an expression, or nested or repeated beyond all limits
                raise ValueError(f"'regex' must be a regular expression; got {shown(regex)} ({error})") from None
        return cls(pattern, None if given is None else _spec(given), **rest)


Rule.__init__ = hinting(Rule.__init__)  # type: ignore[method-assign]

COLUMNS = (Column("parameters", width=39), Column("initializer"))

# The fields that plain data has where they differ from this.
_DEFAULTS: dict[str, Any] = {
    "like": None,
    "kind": None,
    "lr_scale": 1.0,
    "eps_scale": 1.0,
    "optional": False,
    "min_ndim": None,
    "max_ndim": None,
    "keeps_frozen": False,
    "seed_of": None,
}


@dataclass(frozen=True, init=False)
class Rules(Sequence[Rule]):
    """Rules in order; the first one that matches a parameter decides.

    Args:
        rules: a mapping from patterns to initializers, or a sequence of :class:`Rule` and of such pairs. An initializer
            is a Spec, an initializer's name, a dictionary from `Spec.as_dict()`, or None to leave the parameter as it
            is. In a glob, `*` matches dots, too.

    Raises:
        TypeError, ValueError: a pattern of a type that :class:`Rule` does not accept, or an initializer that does not
            exist.

    Example:
        >>> matrices = ai.Rule("*.weight", ai.spec("normal", std=0.02), min_ndim=2)
        >>> rules = ai.Rules([("*.bias", "zeros"), matrices, ("*.weight", "ones")])  # the rest are gains of norms
        >>> rules = ai.Rules([("head.*", "zeros"), *rules])
        >>> rules.find("head.weight", (10, 64)).initializer
        spec('zeros')
        >>> ai.Rules.from_toml(rules.to_toml()) == rules
        True
    """

    rules: tuple[Rule, ...]

    def __init__(self, rules: "Mapping[Pattern, Any] | Iterable[Rule | tuple[Pattern, Any]]" = ()) -> None:
        if isinstance(rules, str | Set) or not isinstance(rules, Iterable):  # a set has no order
            raise TypeError(
                f"`rules` must be a mapping from patterns to initializers, or a sequence of Rules; got {shown(rules)}"
                f"{_recipe_hint(rules)}"
            )
        try:
            pairs = iter(rules.items() if isinstance(rules, Mapping) else rules)
        except TypeError:  # of an array without axes
            raise TypeError(
                f"`rules` must hold Rules, or pairs of a pattern and an initializer; got {shown(rules)}"
            ) from None
        object.__setattr__(self, "rules", tuple(_rule(pair) for pair in pairs))

    @overload
    def __getitem__(self, k: int) -> Rule: ...

    @overload
    def __getitem__(self, k: slice) -> "Rules": ...

    def __getitem__(self, k: int | slice) -> "Rule | Rules":
        return Rules(self.rules[k]) if isinstance(k, slice) else self.rules[k]

    def __len__(self) -> int:
        return len(self.rules)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    def __add__(self, other: "Rules") -> "Rules":
        return Rules([*self.rules, *Rules(other).rules])

    def __radd__(self, other: Any) -> "Rules":
        return Rules([*Rules(other).rules, *self.rules])

    def __str__(self) -> str:
        return "\n".join(line(row, COLUMNS) for row in self._cells)

    def _repr_html_(self) -> str:
        return html_table(COLUMNS, self._cells)

    @property
    def _cells(self) -> list[tuple[str, ...]]:
        return [(rule.text, rule.words) for rule in self.rules]

    def find(
        self, path: str, shape: tuple[int, ...], kinds: Sequence[str] = (), ndim: int | None = None
    ) -> Rule | None:
        """The first rule that matches a parameter, or None. TypeError or ValueError: arguments of the wrong type.

        >>> ai.Rules({"*.bias": "zeros", "*": "xavier_uniform"}).find("fc.bias", (3,)).text
        '*.bias'
        """
        if not isinstance(path, str):
            raise TypeError(f"`path` must be a string; got {shown(path)}")
        if not isinstance(kinds, tuple | list) or not all(isinstance(kind, str) for kind in kinds):
            raise TypeError(f"`kinds` must be a sequence of strings; got {shown(kinds)}")
        shape = check_shape(shape, "shape")
        exact, patterns = self._places
        candidates = sorted([*exact[path], *patterns]) if path in exact else patterns
        return next((self.rules[k] for k in candidates if self.rules[k].matches(path, shape, kinds, ndim)), None)

    @cached_property
    def _places(self) -> tuple[dict[str, list[int]], list[int]]:
        """The places of rules for single paths, by path, and those of all other rules: a record has thousands."""
        exact: dict[str, list[int]] = {}
        for k, rule in enumerate(self.rules):
            for path in rule._paths:
                exact.setdefault(path, []).append(k)
        return exact, [k for k, rule in enumerate(self.rules) if not rule._paths]

    def as_dict(self) -> dict[str, Any]:
        """{"rules": [...]}, plain data. TypeError where a pattern is a function.

        >>> ai.Rules({"*.bias": "zeros"}).as_dict()
        {'rules': [{'pattern': '*.bias', 'initializer': 'zeros'}]}
        """
        return {"rules": [rule.as_dict() for rule in self.rules]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Rules":
        """The inverse of :meth:`as_dict`; also takes a mapping from globs to initializers, as plain data.

        There an initializer is a name, a dictionary from `Spec.as_dict()`, or None to leave the parameter as it is.
        TypeError or ValueError for data of another form.

        >>> print(ai.Rules.from_dict({"rules": [{"pattern": "*", "keep": True}]}))
        *                                        kept as it is
        >>> print(ai.Rules.from_dict({"*.bias": "zeros", "*": {"name": "normal", "std": 0.02}}))
        *.bias                                   zeros
        *                                        normal, std=0.02
        """
        return cls(_listed(data, "data"))

    def to_json(self) -> str:
        """As a JSON text, which :meth:`from_json` reads.

        >>> rules = ai.Rules({"*.bias": "zeros", "*": ai.spec("normal", std=0.02)})
        >>> ai.Rules.from_json(rules.to_json()) == rules
        True
        """
        import json

        return json.dumps(self.as_dict(), indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Rules":
        """Rules from JSON. ValueError for other text, or JSON that holds no rules; TypeError unless it is str or bytes.

        The forms are those of :meth:`from_dict`.

        >>> len(ai.Rules.from_json('{"rules": [{"pattern": "*", "initializer": "zeros"}]}'))
        1
        >>> len(ai.Rules.from_json('{"*.bias": "zeros", "*.weight": "xavier_uniform"}'))
        2
        """
        import json

        return cls(_listed(_parsed(json.loads, text, "JSON", str | bytes | bytearray), "text"))

    def to_toml(self) -> str:
        """As a TOML text, which :meth:`from_toml` reads. ImportError without tomli-w; ValueError for None in a spec.

        >>> print(ai.Rules({"*.bias": "zeros"}).to_toml())
        rules = [
            { pattern = "*.bias", initializer = "zeros" },
        ]
        <BLANKLINE>
        """
        try:
            import tomli_w
        except ImportError as error:
            raise missing_library("to_toml", "tomli-w", "toml", error) from error
        for rule in self.rules:
            if rule.initializer is not None and _has_none(rule.initializer):
                raise ValueError(f"`initializer` must be something that TOML has; got None in {rule.initializer!r}")
        text: str = tomli_w.dumps(self.as_dict())
        return text

    @classmethod
    def from_toml(cls, text: str) -> "Rules":
        """Rules from TOML. ValueError for other text, or TOML that holds no rules; TypeError unless it is a string.

        The forms are those of :meth:`from_dict`.

        >>> len(ai.Rules.from_toml('rules = [{pattern = "*", initializer = "zeros"}]'))
        1
        >>> len(ai.Rules.from_toml('"*.bias" = "zeros"'))
        1
        """
        import tomllib

        return cls(_listed(_parsed(tomllib.loads, text, "TOML", str), "text"))


def _recipe_hint(given: Any) -> str:
    """The end of an error about a recipe that was named and not called; "" for others."""
    from arrayinit.recipes import RECIPES  # here, because it imports this module

    is_recipe = callable(given) and RECIPES.get(getattr(given, "__name__", "")) is given
    name = given.__name__ if is_recipe else given
    if not isinstance(name, str):
        return ""
    if name not in RECIPES:
        return f': write {{"*.weight": "{name}"}}' if name in known_names() else did_you_mean(name, RECIPES)
    import inspect

    parameters = [*inspect.signature(RECIPES[name]).parameters]
    first = f"{parameters[0]}=..." if parameters else ""
    return f": {'call it' if is_recipe else 'write'}: arrayinit.recipes.{name}({first})".replace(": write:", ": write")


def _listed(data: Any, argument: str) -> list[Rule]:
    """The rules of plain data, of either form."""
    if isinstance(data, Mapping):
        if isinstance(data.get("rules"), list) and len(data) == 1:
            return [Rule.from_dict(rule) for rule in data["rules"]]
        if data and all(_is_plain(*pair) for pair in data.items()) and not {"pattern", "initializer"} <= set(data):
            return [_rule(pair) for pair in data.items()]
    raise ValueError(f"`{argument}` of rules must be {FORMS}; got {shown(data)}")


def _is_plain(pattern: Any, initializer: Any) -> bool:
    """Whether these are a glob, and an initializer as plain data."""
    is_initializer = initializer is None or isinstance(initializer, str)
    return isinstance(pattern, str) and (is_initializer or (isinstance(initializer, Mapping) and "name" in initializer))


def _parsed(loads: Callable[[Any], Any], text: Any, language: str, kinds: Any) -> Any:
    """A text, parsed. TypeError for a value that is not text, ValueError for text of another language."""
    if not isinstance(text, kinds):
        raise TypeError(f"`text` must be {language}; got {shown(text)}")
    try:
        return loads(text)
    except RecursionError:
        raise ValueError(f"`text` must be {language} that is not nested so deeply") from None
    except ValueError as error:
        raise ValueError(f"`text` must be {language}; {error}") from None


def _rule(given: Any) -> Rule:
    if isinstance(given, Rule):
        return given
    if isinstance(given, Mapping):
        return Rule.from_dict(given)
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != 2:
        raise TypeError(f"`rules` must hold Rules, or pairs of a pattern and an initializer; got {shown(given)}")
    pattern, initializer = given
    return Rule(pattern, None if initializer is None else _spec(initializer))


def _kind(given: Any) -> str | tuple[str, ...] | None:
    """One glob, or a tuple of them."""
    if given is None:
        return None
    if isinstance(given, type):
        raise TypeError(
            f"`kind` must be the name of a class, not the class; got {shown(given)}: write {given.__name__!r}"
        )
    if isinstance(given, str) and given:
        given = (given,)
    if not isinstance(given, tuple | list) or not given or not all(isinstance(each, str) and each for each in given):
        raise TypeError(f"`kind` must be a glob, a sequence of globs or None; got {shown(given)}")
    if any(each[1:].startswith(NOT) or each == NOT for each in given if each.startswith(NOT)):
        raise ValueError(f"`kind` must have a glob behind each {NOT!r}; got {shown(given)}")
    return given[0] if len(given) == 1 else tuple(given)


def _spec(given: Any) -> Spec:
    if isinstance(given, Spec):
        return given
    if isinstance(given, Mapping):
        return Spec.from_dict(given)
    if isinstance(given, str):
        return named(given, "initializer")
    raise TypeError(
        f"`initializer` must be an arrayinit.Spec, its name or its dictionary; got {shown(given)}{spec_hint(given)}"
    )


def _has_none(value: Any) -> bool:
    if isinstance(value, Spec):
        return any(_has_none(each) for _, each in value.items)
    return value is None or (isinstance(value, tuple) and any(map(_has_none, value)))


def in_words(initializer: Spec | None) -> str:
    """An initializer and its parameters in one line of a table, numbers with 6 digits."""
    if initializer is None:
        return "kept as it is"
    return ", ".join([initializer.name, *(f"{name}={value_text(value)}" for name, value in initializer.items)])
