"""A model's parameters and rules -> a plan: what each parameter is drawn by, and from which key. Draws nothing."""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias, overload

from arrayinit.common.escapes import printable
from arrayinit.common.messages import shown, warn
from arrayinit.key import Key
from arrayinit.laws import Constant, Law, Normal, Truncated, Uniform, is_random
from arrayinit.models.rules import BUFFER, Rule, Rules, told
from arrayinit.seeds import Name, peek, resolve
from arrayinit.specs import Spec, law_of, spec
from arrayinit.stream.formats import is_floating

__all__ = [
    "Frozen", "Match", "Parameter", "Plan", "PlanError", "Planned", "SeedNames", "keyed", "match", "matched",
    "overlapping", "plan", "root_of", "ruled", "tied_paths",
]  # fmt: skip

SeedNames: TypeAlias = Mapping[str, Name] | Callable[[str], Name | None]
Frozen: TypeAlias = Literal["draw", "keep"] | None

AXES = ("layout", "in_axis", "out_axis", "batch_axis")  # one of them in a spec replaces all that a framework says


NO_RULE = "no rule matches"
FROZEN = (
    "frozen ({}), and the rule {} would draw it: say frozen='draw' or frozen='keep', or put a rule of None before it, "
    "which keeps this one"
)
NOTHING_TO_KEEP = "frozen ({}), and without values to keep; a rule of None leaves it as it is"


class PlanError(ValueError):
    """Parameters that can't be drawn as the rules say; the text lists all of them, `problems` maps paths to reasons."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        rows = [(printable(path), reason) for path, reason in self.problems.items()]
        width = max((len(path) for path, _ in rows), default=0)
        lines = "\n".join(f"  {path:<{width}}  {reason}" for path, reason in rows)
        super().__init__(f"nothing was drawn: {len(self.problems)} of the parameters can't be\n{lines}")


@dataclass(frozen=True)
class Parameter:
    """A parameter of a model, as its framework describes it.

    path: dotted. kinds: the names of the type of the layer it belongs to, and of those that it inherits from. axes:
    layout, groups, transposed and so on, as keywords of an initializer; what a spec says itself comes first. tied:
    other paths of the same array. optional: whether it may stay as it is where no rule matches (a buffer with values
    of its own). zero_row: the row that is 0 whatever is drawn: that of an embedding's padding.

    frozen: why its values may be there to stay; "" where nothing says so. has_values: whether it has any yet. problem:
    why it can't be drawn, whatever the rule.

    through: what makes it of other tensors, as weight_norm does. parts: those tensors, which are drawn instead where
    rules name them. marks: of a part, texts of which a pattern must have one to mean it.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    kinds: tuple[str, ...] = ()
    axes: Mapping[str, Any] = field(default_factory=dict)
    tied: tuple[str, ...] = ()
    optional: bool = False
    zero_row: int | None = None
    frozen: str = ""
    has_values: bool = True
    problem: str = ""
    through: str = ""
    parts: "tuple[Parameter, ...]" = ()
    marks: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Planned:
    """What a parameter is drawn by. `initializer` has all in it: the layout, and the numbers of a neighbour's fans."""

    parameter: Parameter
    rule: Rule | None  # None for an optional one that no rule matches
    initializer: Spec | None  # None where it stays as it is
    seed_name: Name
    key: Key

    @property
    def path(self) -> str:
        """The dotted path."""
        return self.parameter.path

    @property
    def shape(self) -> tuple[int, ...]:
        """The global shape."""
        return self.parameter.shape


@dataclass(frozen=True)
class Plan(Sequence[Planned]):
    """What `dry_run=True` returns: each parameter, in order, with its rule, initializer and key."""

    entries: tuple[Planned, ...]

    @overload
    def __getitem__(self, k: int) -> Planned: ...

    @overload
    def __getitem__(self, k: slice) -> "Plan": ...

    def __getitem__(self, k: int | slice) -> "Planned | Plan":
        return Plan(self.entries[k]) if isinstance(k, slice) else self.entries[k]

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Planned]:
        return iter(self.entries)

    def __str__(self) -> str:
        rows = [(printable(e.path), "x".join(map(str, e.shape)) or "scalar", _said(e)) for e in self.entries]
        widths = [max((len(row[k]) for row in rows), default=0) for k in range(2)]
        return "\n".join(f"{path:<{widths[0]}}  {shape:>{widths[1]}}  {said}" for path, shape, said in rows)

    @property
    def lr_scales(self) -> dict[str, float]:
        """Path -> what the recipe multiplies the learning rate by, for each parameter that a rule matches.

        A weight that is made of other tensors is there under its own path and theirs, which an optimizer has.
        """
        return {
            path: entry.rule.lr_scale
            for entry in self.entries
            if entry.rule is not None
            for path in (entry.path, *(part.path for part in entry.parameter.parts))
        }


class Match(NamedTuple):
    """What a parameter is drawn by, but for its key."""

    parameter: Parameter
    rule: Rule | None
    initializer: Spec | None
    seed_name: Name
    is_random: bool  # whether its draw takes something from a key

    @property
    def path(self) -> str:
        """The dotted path."""
        return self.parameter.path


def plan(
    parameters: Iterable[Parameter],
    rules: Any,
    *,
    seed: Any = None,
    seed_names: SeedNames | None = None,
    frozen: Frozen = None,
    dry_run: bool = False,
) -> Plan:
    """Match rules with parameters, and check that each can be drawn.

    The key of a parameter is fold(seed, name), where the name is its path or what `seed_names` has for it, so that its
    values depend on nothing else: not on other parameters, their order or number.

    Args:
        rules: a :class:`Rules`, or what makes one. First match wins.
        seed: as in every initializer; None takes one key of the process's sequence for all, when all else is found
            to be right, and none where nothing is random.
        seed_names: path -> name, as a mapping or a function (None keeps the path): the old name of what was renamed,
            or the name that another framework has for the same weight. A tuple is folded part by part.
        frozen: "draw" to draw frozen parameters as their rules say, "keep" to leave them as they are, whatever the
            rules say; None to have an error where a rule would draw one.
        dry_run: take no key: those of the plan are what the next one will have.

    Raises:
        PlanError: parameters that no rule matches, that their initializer can't draw (an integer dtype, a shape
            without fans, a scale that the dtype can't hold), that are frozen, where nothing says what to do with such,
            or that would share a path or a key. It lists all of them.
        TypeError, ValueError: rules, a seed or names that are none.

    Warns:
        UserWarning: rules that match nothing, and seed_names for paths that are not there.
    """
    return keyed(match(parameters, rules, seed_names, frozen), lambda take: root_of(seed, take), dry_run)


def root_of(seed: Any, take: bool) -> Key:
    """The key of a whole model; the one that the next draw will take, where none is to be taken."""
    return resolve(seed) if take else peek(seed)


def keyed(matches: Iterable[Match], root: Callable[[bool], Key], dry_run: bool = False) -> Plan:
    """A plan of matches: `root` gives the key of the whole, and is told whether it is to be taken."""
    every = list(matches)
    whole = root(not dry_run and any(each.is_random for each in every))
    return Plan(
        tuple(
            Planned(p, rule, initializer, name, whole if initializer is None else resolve(whole, name))
            for p, rule, initializer, name, _ in every
        )
    )


def match(
    parameters: Iterable[Parameter], rules: Any, seed_names: SeedNames | None = None, frozen: Frozen = None
) -> list[Match]:
    """Match rules with parameters: what :func:`plan` does and raises, without a key."""
    chosen = rules if isinstance(rules, Rules) else Rules(rules)
    if not (seed_names is None or isinstance(seed_names, Mapping) or callable(seed_names)):
        raise TypeError(f"`seed_names` must be a mapping of paths to names or a function; got {shown(seed_names)}")
    if frozen not in ("draw", "keep", None):
        raise ValueError(f"`frozen` must be 'draw', 'keep' or None; got {shown(frozen)}")
    entries, problems = matched(parameters, chosen, seed_names, frozen)
    if problems:
        raise PlanError(problems)
    _warn(chosen, entries, seed_names)
    return entries


def matched(
    parameters: Iterable[Parameter], rules: Rules, seed_names: SeedNames | None = None, frozen: Frozen = None
) -> tuple[list[Match], dict[str, str]]:
    """What parameters are drawn by, and the reasons why some can't be, by their paths."""
    whole = list(parameters)
    every = ruled(whole, rules)
    # A tied neighbour is found by each of its paths.
    shapes = {path: parameter for parameter in whole for path in (*parameter.tied, parameter.path)}
    count = Counter(parameter.path for parameter, _ in every)
    entries, problems, owner = [], dict[str, str](), dict[Any, str]()
    for parameter, rule in every:
        if count[parameter.path] > 1:
            problems[parameter.path] = f"{_shown(parameter)}: {count[parameter.path]} of the parameters have this path"
            continue
        initializer = law = None
        if parameter.frozen and frozen == "keep":
            if not (parameter.has_values or _is_kept(rule)):
                problems[parameter.path] = f"{_shown(parameter)}: {NOTHING_TO_KEEP.format(parameter.frozen)}"
        elif rule is None and not parameter.optional:
            problems[parameter.path] = f"{_shown(parameter)}: {_unmatched(parameter)}"
        elif rule is not None and rule.initializer is not None:
            try:
                if parameter.problem:
                    raise ValueError(parameter.problem)
                initializer = _resolved(rule, parameter, shapes)
                law = _law(initializer, parameter)
                if parameter.frozen and frozen is None:
                    raise ValueError(FROZEN.format(parameter.frozen, rule.text))
            except (TypeError, ValueError) as error:
                problems[parameter.path] = f"{_shown(parameter)}: {error}"
        name = _name(parameter.path, seed_names)
        if initializer is not None:
            resolve(_ANY, name)  # refuses what is no name
        # What makes a weight of others, as the vectors of spectral_norm, is drawn from its key, too.
        is_made = bool(parameter.through or parameter.marks)
        takes = law is not None and parameter.size > 0 and (is_random(law) or is_made)
        if takes:
            words = name if isinstance(name, tuple) else (name,)
            if words in owner:
                problems[parameter.path] = (
                    f"{_shown(parameter)}: has the seed name of {printable(owner[words])}, {name!r}"
                )
            owner[words] = parameter.path
        entries.append(Match(parameter, rule, initializer, name, takes))
    return entries, problems


_ANY = Key(0)


def tied_paths(arrays: Iterable[tuple[str, Hashable]]) -> dict[str, list[str]]:
    """The first path of each array -> its other ones, given (path, what paths of the same array share)."""
    first: dict[Hashable, str] = {}
    tied: dict[str, list[str]] = {}
    for path, array in arrays:
        start = first.setdefault(array, path)
        others = tied.setdefault(start, [])
        if path != start:
            others.append(path)
    return tied


def overlapping(others: Sequence[str]) -> str:
    """The problem of an array that shares a part of its memory with others."""
    return (
        f"shares a part of its memory with {', '.join(others)}, so that drawing one changes the other: give each "
        "memory of its own, or let both be the whole tensor"
    )


def ruled(parameters: Iterable[Parameter], rules: Rules) -> list[tuple[Parameter, Rule | None]]:
    """What is drawn, with the first rule that matches: each parameter, or its parts where rules name them.

    Rules name parts where one that has one of its marks matches a part, and comes before all that match the whole. Then
    only such rules are for the parts: one for all the rest would draw magnitudes as if they were weights.
    """
    result: list[tuple[Parameter, Rule | None]] = []
    for parameter in parameters:
        rule = rules.find(parameter.path, parameter.shape, parameter.kinds)
        found = [(part, _find_part(rules, part)) for part in parameter.parts]
        numbers = [_number(rules, own) for _, own in found]
        if min(numbers, default=len(rules)) < _number(rules, rule):
            result += found
        else:
            result.append((parameter, rule))
    return result


def _find_part(rules: Rules, part: Parameter) -> Rule | None:
    naming = (rule for rule in rules if any(mark in _written(rule) for mark in part.marks))
    return next((rule for rule in naming if rule.matches(part.path, part.shape, part.kinds)), None)


def _written(rule: Rule) -> str:
    """The text of a pattern; a predicate has none."""
    pattern = getattr(rule.pattern, "pattern", rule.pattern)
    return pattern if isinstance(pattern, str) else ""


def _number(rules: Rules, rule: Rule | None) -> int:
    """The place of a rule, or the number of rules for none."""
    return next((k for k, each in enumerate(rules) if each is rule), len(rules))


def _is_kept(rule: Rule | None) -> bool:
    return rule is not None and rule.initializer is None


def _unmatched(parameter: Parameter) -> str:
    if parameter.marks:
        return f"no rule names it; its pattern must have {' or '.join(map(repr, parameter.marks))} in it"
    return "a buffer without values, and no rule with a kind matches" if BUFFER in parameter.kinds else NO_RULE


def _resolved(rule: Rule, parameter: Parameter, shapes: Mapping[str, Parameter]) -> Spec:
    """The rule's initializer with the axes of the parameter, or with the numbers that a neighbour's fans give."""
    assert rule.initializer is not None
    found = _with_axes(rule.initializer, parameter)
    if rule.like is not None:
        parent = parameter.path.rpartition(".")[0]
        path = f"{parent}.{rule.like}" if parent else rule.like
        if path not in shapes:
            raise ValueError(f"`like` must name a neighbour; got {rule.like!r}, and there is no {printable(path)}")
        neighbour = shapes[path]
        law, _ = law_of(_with_axes(rule.initializer, neighbour), neighbour.shape, parameter.dtype)
        found = _plain(law, rule.initializer)
    return found


def _law(initializer: Spec, parameter: Parameter) -> Law:
    """The law of a parameter; TypeError or ValueError where it can't be drawn."""
    return law_of(initializer, parameter.shape, parameter.dtype)[0]


def _with_axes(initializer: Spec, parameter: Parameter) -> Spec:
    """The initializer, with what the framework knows of the axes where it doesn't say so itself."""
    if not parameter.axes:
        return initializer
    given = initializer.parameters
    own = any(name in given for name in AXES)
    axes = {name: value for name, value in parameter.axes.items() if not (own and name in AXES)}
    return spec(initializer.name, **axes | given)


def _plain(law: Law, initializer: Spec) -> Spec:
    """A law as an initializer that needs no fans."""
    match law:
        case Uniform(low, high):
            return spec("uniform", a=low, b=high)
        case Normal(mean, std):
            return spec("normal", mean=mean, std=std)
        case Truncated(mean, std, low, high):
            return spec("trunc_normal", mean=mean, std=std, a=low, b=high)
        case Constant(value, of_parts=True):
            return spec("normal", mean=value, std=0.0)
        case Constant(value):
            return spec("constant", val=value)
    raise ValueError(f"`like` goes with uniform, normal, truncated and constant laws; got {initializer!r}")


def _name(path: str, seed_names: SeedNames | None) -> Name:
    name = (
        None if seed_names is None
        else seed_names.get(path) if isinstance(seed_names, Mapping)
        else seed_names(path)
    )  # fmt: skip
    return path if name is None else name


def _warn(rules: Rules, entries: Sequence[Match], seed_names: SeedNames | None) -> None:
    used = {id(entry.rule) for entry in entries}
    idle = [rule.text for rule in rules if id(rule) not in used and not rule.optional]
    if idle:
        warn(f"rules that match no parameter (or only after earlier rules): {printable(', '.join(idle))}")
    if isinstance(seed_names, Mapping):
        lost = sorted(set(seed_names) - {entry.path for entry in entries}, key=str)
        if lost:
            warn(f"`seed_names` has paths that are not there: {printable(', '.join(map(str, lost)))}")


def _shown(parameter: Parameter) -> str:
    size = "x".join(map(str, parameter.shape)) or "scalar"
    return f"({size}, {parameter.dtype}{'' if is_floating(parameter.dtype) else ', not floating'})"


def _said(entry: Planned) -> str:
    words = told(entry.initializer)
    words += f", frozen ({entry.parameter.frozen})" if entry.parameter.frozen else ""
    words += f", through {entry.parameter.through}" if entry.initializer and entry.parameter.through else ""
    zero = entry.parameter.zero_row if entry.initializer else None
    words += "" if zero is None else f", row {zero} is 0"
    words += "" if entry.seed_name == entry.path else f", seed name {entry.seed_name!r}"
    return words + (f", also {printable(', '.join(entry.parameter.tied))}" if entry.parameter.tied else "")
