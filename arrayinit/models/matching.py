"""Rules and the parameters of a model -> a plan. Draws nothing."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

from arrayinit.backends import Backend
from arrayinit.common.escapes import printable
from arrayinit.common.messages import counted, shown, warn
from arrayinit.job import Job
from arrayinit.key import Key
from arrayinit.laws import Constant, Factor, Law, Normal, Packed, Truncated, Uniform, is_joint
from arrayinit.models.layouts import laid_out, settled
from arrayinit.models.parameters import Parameter
from arrayinit.models.plans import IDLE, NO_RULE, NO_VALUES, Match, Plan, PlanError, Planned, some
from arrayinit.models.recorded import Program, RecordedRule, RecordedRules
from arrayinit.models.rules import BUFFER, NOT, Rule, Rules, is_path, matches as is_match
from arrayinit.models.selection import Only, Selection, select
from arrayinit.seeds import Name, peek, resolve, resolve_for
from arrayinit.specs import Spec, job_of, spec, with_path

__all__ = ["Frozen", "SeedNames", "keeps", "keyed", "match", "matches_and_problems", "plan", "root_of", "ruled"]

SeedNames: TypeAlias = Mapping[str, Name] | Callable[[str], Name | None]
Frozen: TypeAlias = Literal["draw", "keep"] | None
Root: TypeAlias = Callable[[bool], Key]

_ANY = Key(0)

FROZEN = (
    "frozen ({}), and the rule {} would draw it: say frozen='draw' or frozen='keep', or put a rule of None before it, "
    "which keeps this one"
)
NOTHING_TO_KEEP = "frozen ({}), and without values to keep; a rule of None leaves it as it is, frozen='draw' draws it"
NAMED = 3  # paths that a warning names


def plan(
    parameters: Iterable[Parameter],
    rules: Any,
    *,
    seed: Any = None,
    seed_names: SeedNames | None = None,
    frozen: Frozen = None,
    only: Only = None,
    dry_run: bool = False,
) -> Plan:
    """Match rules with parameters, check that each can be drawn, and give each its key.

    The key of a parameter is fold(seed, name), where the name is its path or what `seed_names` has for it. So its
    values depend on nothing else: not on other parameters, their order or their number.

    Args:
        rules: a :class:`Rules`, or anything `Rules()` accepts. The first match wins.
        seed: as in every initializer. None takes one key of the process's sequence for the whole model, once nothing
            can be refused any more, and none where nothing is random.
        seed_names: path -> name, as a mapping or a function (None keeps the path): the old name of a renamed parameter,
            or the name that another framework has for the same weight. A tuple is folded one after another.
        frozen: "draw" to draw frozen parameters as their rules say, "keep" to leave them as they are, whatever the
            rules say; None leaves alone what a library says that it has loaded, keeps with a warning what a rule with
            `keeps_frozen` matches, and is an error where another rule would draw a frozen one.
        only: what is drawn, of all that rules match: see :mod:`arrayinit.models.selection`.
        dry_run: take no key: the plan has the keys that the next draw will have.

    Raises:
        PlanError: parameters that no rule matches, that their initializer can't draw (an integer dtype, a shape
            without fans, a scale that the dtype can't hold), that are frozen while `frozen` is None, or that would
            share a path or a key. It lists all of them.
        TypeError, ValueError: malformed rules, seed, names or selection.

    Warns:
        UserWarning: a rule applies to no parameter, `seed_names` has a path that the model lacks, or all that rules
            would draw is loaded.
    """
    return keyed(match(parameters, rules, seed_names, frozen, only), root_of(seed), dry_run)


def root_of(seed: Any, array: tuple[Backend, Any] | None = None) -> Root:
    """The key of a whole model, as a function: with True it is taken, with False it is the one to be taken next.

    Args:
        array: the backend and the array (or None for a new one) that `seed` is checked for, where None would give each
            process another key, or would bake one into a trace.
    """
    if array is None:
        return lambda take: resolve(seed) if take else peek(seed)
    return lambda take: resolve_for(*array, seed, None, take)


def keyed(matches: Sequence[Match], root: Root, dry_run: bool = False) -> Plan:
    """The plan of these matches. With `dry_run` its keys are those of the next draw, and none is taken."""
    whole = root(not dry_run and any(each.is_random for each in matches))
    names = {each.path: each.seed_name for each in matches}

    def key_of(path: str) -> Key:
        return resolve(whole, names.get(path, path))

    return Plan(
        tuple(
            Planned(
                parameter=each.parameter,
                rule=each.rule,
                initializer=each.initializer,
                job=each.job,
                seed_name=each.seed_name,
                program=each.program,
                rows=each.rows,
                is_selected=each.is_selected,
                key=resolve(whole, each.seed_name) if each.is_drawn else whole,
                key_of=None if each.program is None else key_of,
            )
            for each in matches
        )
    )


def match(
    parameters: Iterable[Parameter],
    rules: Any,
    seed_names: SeedNames | None = None,
    frozen: Frozen = None,
    only: Only = None,
    known: Iterable[str] | None = None,
    runs_programs: bool = False,
) -> list[Match]:
    """Match rules with parameters: as :func:`plan`, without keys.

    Args:
        known: paths of other tensors, for which `only` may ask; None where it can't ask for rows.
        runs_programs: whether the caller draws by programs of records, and zeroes rows.
    """
    rules = rules if isinstance(rules, Rules) else Rules(rules)
    if not (seed_names is None or isinstance(seed_names, Mapping) or callable(seed_names)):
        raise TypeError(f"`seed_names` must be a mapping of paths to names or a function; got {shown(seed_names)}")
    if frozen not in ("draw", "keep", None):
        raise ValueError(f"`frozen` must be 'draw', 'keep' or None; got {shown(frozen)}")
    if isinstance(rules, RecordedRules) and not rules.rules:
        raise ValueError("`rules` is a record that is empty until its block ends: draw by it afterwards")
    parameters = list(parameters)
    selection = select(parameters, only, known or ())
    if known is None and selection is not None and any(selection.rows.values()):
        raise TypeError("`only` must not select rows here; rows can be drawn alone in torch modules")
    matches, problems = matches_and_problems(parameters, rules, seed_names, frozen, selection)
    idle = idle_rules(rules, matches)
    without_kinds = _without_kinds(rules, parameters, any(NO_RULE in why for why in problems.values()))
    hint = without_kinds or _of_patterns(rules, parameters) if idle else without_kinds
    problems = _of_another_model(rules, matches) or problems | _lost(rules, matches, problems)
    if not runs_programs:
        problems |= {
            each.path: f"is recorded as more than a law: {each.rule.words}; the function that draws models of the "
            f"record's framework does that"
            for each in matches
            if isinstance(each.rule, RecordedRule) and each.is_drawn and not each.rule.is_law
        }
    if problems:
        raise PlanError(problems, idle, hint)
    if idle:
        warn(f"{IDLE}: {some(idle)}" + (f"; {hint}" if hint else ""))
    empty = [each.path for each in matches if not (each.is_selected or each.parameter.has_values)]
    if empty:
        warn(
            f"{counted(len(empty), 'tensor')} that `only` leaves alone have no values, {printable(empty[0])} and so "
            f"on: load them with load_state_dict(..., assign=True)"
        )
    if frozen is None:
        _warn_of_frozen(matches)
        if not any(each.is_drawn for each in matches):
            _warn_of_loaded(matches)
            _warn_of_nothing(rules, matches, idle)
    if isinstance(seed_names, Mapping):
        unknown = sorted(set(seed_names) - {each.path for each in matches}, key=str)
        if unknown:
            warn(f"`seed_names` has paths that the model lacks: {printable(', '.join(map(str, unknown)))}")
    return matches


def _warn_of_frozen(matches: Iterable[Match]) -> None:
    """Warn of frozen parameters that rules would draw, and that stay since the rules keep frozen ones."""
    kept = [
        each.path
        for each in matches
        if keeps(each.parameter, each.rule) and each.is_selected and not (each.parameter.is_loaded or each.is_drawn)
    ]
    if kept:
        rest = " and so on" if len(kept) > NAMED else ""
        warn(
            f"{counted(len(kept), 'frozen parameter')} not drawn: {printable(', '.join(kept[:NAMED]))}{rest}; "
            f"say frozen='keep' if that is meant, or frozen='draw'"
        )


def keeps(parameter: Parameter, rule: Rule | None) -> bool:
    """Whether a rule that would draw a parameter leaves it as it is, since it is frozen."""
    return rule is not None and rule.keeps_frozen and rule.initializer is not None and bool(parameter.frozen)


def _warn_of_loaded(matches: Iterable[Match]) -> None:
    """Warn where nothing is drawn since all that rules would draw is loaded."""
    loaded = [each.path for each in matches if each.parameter.is_loaded and each.is_selected and _draws(each.rule)]
    if loaded:
        warn(
            f"nothing is drawn: {counted(len(loaded), 'parameter')} stay as transformers has loaded them, "
            f"{printable(loaded[0])} and so on; frozen='draw' draws them"
        )


def _warn_of_nothing(rules: Rules, matches: Iterable[Match], idle: Sequence[str]) -> None:
    """Warn where the only rules that match keep what they match, as a recipe for layers that the model lacks."""
    kept = [each for each in matches if each.is_selected and each.rule is not None and each.rule.initializer is None]
    could = not isinstance(rules, RecordedRules) and any(map(_draws, rules))
    if kept and could and not idle and not any(_draws(each.rule) for each in matches):
        warn("nothing is drawn: no rule that draws matches any path of this model; print the rules to see which do")


def _draws(rule: Rule | None) -> bool:
    return rule is not None and (rule.initializer is not None or isinstance(rule, RecordedRule))


def matches_and_problems(
    parameters: Iterable[Parameter],
    rules: Rules,
    seed_names: SeedNames | None = None,
    frozen: Frozen = None,
    selection: Selection | None = None,
) -> tuple[list[Match], dict[str, str]]:
    """All parameters with their rules, and path -> reason for those that can't be drawn."""
    parameters = list(parameters)
    pairs = ruled(parameters, rules)
    count = Counter(parameter.path for parameter, _ in pairs)
    # A neighbour that is tied is found under each of its paths.
    neighbours = {path: parameter for parameter in parameters for path in (*parameter.tied, parameter.path)}
    matches, problems, owners = [], dict[str, str](), dict[tuple[Any, ...], str]()
    for parameter, rule in pairs:
        path = parameter.path
        if count[path] > 1:
            problems[path] = f"{parameter}: {count[path]} of the parameters have this path"
            continue
        shares = _shares(parameter, rule, neighbours)
        name = _seed_name(shares or path, seed_names)
        if selection is not None and path not in selection.rows:
            matches.append(
                Match(parameter=parameter, rule=rule, initializer=None, job=None, seed_name=name, is_selected=False)
            )
            continue
        rows = None if selection is None else selection.rows[path]
        initializer = job = program = None
        if rows is not None and parameter.is_loaded:  # asked for by number
            parameter = replace(parameter, is_loaded=False, frozen="")
        is_kept = parameter.is_loaded or (rows is None and keeps(parameter, rule))
        choice = frozen or ("keep" if is_kept else None)
        try:
            if isinstance(rule, RecordedRule):
                parameter, program = _recorded(parameter, rule, choice, rows)
            if program is None:
                initializer, job = _decided(parameter, rule, neighbours, choice)
            if job is not None and rule is not None and rule.seed_of is not None:
                _check_shared(parameter, rule, job, neighbours, rules)
            if rows is not None and job is not None and is_joint(job.law):
                raise ValueError(f"rows can't be drawn alone by a rule of whole matrices, {initializer}")
            if selection is not None and path in selection.problems:
                raise ValueError(selection.problems[path])
        except (TypeError, ValueError) as error:
            problems[path] = f"{parameter}: {error}"
        if job is not None and rule is not None and parameter.frozen and choice is None:
            problems[path] = f"{parameter}: {FROZEN.format(parameter.frozen, rule.text)}"
        if not (rule is None or rule.initializer is None or (parameter.frozen and choice == "keep")):
            resolve(_ANY, name)  # an error where it is no name
        each = Match(
            parameter=parameter, rule=rule, initializer=initializer, job=job, seed_name=name, program=program, rows=rows
        )
        if each.is_random and shares is None:
            owner = owners.setdefault(name if isinstance(name, tuple) else (name,), path)
            if owner != path:
                problems[path] = (
                    f"{parameter}: would get the same random numbers as {printable(owner)}: both have the seed name "
                    f"{name!r}; give one of them another name in `seed_names`"
                )
        matches.append(each)
    return matches, problems | _untied(matches)


def _of_another_model(rules: Rules, matches: Sequence[Match]) -> dict[str, str]:
    """A path and the reason, where a record knows none of the parameters."""
    recorded = {path for rule in rules if isinstance(rule, RecordedRule) for path in (rule.path, *rule.tied)}
    there = [path for each in matches for path in (each.path, *each.parameter.tied)]
    if not (recorded and there) or not recorded.isdisjoint(there):
        return {}
    mine = there[0]
    path = next((path for path in recorded if mine.endswith(f".{path}") or path.endswith(f".{mine}")), min(recorded))
    return {
        mine: f"is in another model than the record is of, which has {printable(path)}, and no parameter of this one"
    }


def _untied(matches: Sequence[Match]) -> dict[str, str]:
    """Path -> reason for what was recorded as one tensor with another that stays, and would be drawn apart from it."""
    kept = {each.path for each in matches if not each.is_drawn}
    return {
        each.path: f"was one tensor with {printable(rule.path)}, which stays as it is: tie them again before"
        for each in matches
        if each.is_drawn and isinstance(rule := each.rule, RecordedRule) and each.path != rule.path in kept
    }


def _lost(rules: Rules, matches: Iterable[Match], problems: Mapping[str, str]) -> dict[str, str]:
    """Path -> reason for what was recorded and is not in the model.

    A record may be about several models: the one with the fewest losses is meant.
    """
    there = {path for each in matches for path in (each.path, *each.parameter.tied)} | set(problems)
    lost: dict[str, list[str]] = {}
    for rule in (each for each in rules if isinstance(each, RecordedRule)):
        for model in rule.models:
            paths = lost.setdefault(model, [])
            if rule.path not in there:
                paths.append(rule.path)
    fewest = min(lost.values(), key=len, default=[])
    return dict.fromkeys(fewest, "is in the record, and not in this model")


def idle_rules(rules: Rules, matches: Iterable[Match]) -> list[str]:
    """The patterns of rules that decide on no parameter, though they are not optional."""
    used = {id(each.rule) for each in matches}
    needed = (rule for rule in rules if not rule.optional and not isinstance(rule, RecordedRule))
    return [rule.text for rule in needed if id(rule) not in used]


def _of_patterns(rules: Rules, parameters: Sequence[Parameter]) -> str:
    """What to write for a glob that matches nothing, and is the end of a path or a regular expression; else ""."""
    paths = [each.path for each in parameters]
    for pattern in (rule.pattern for rule in rules if isinstance(rule.pattern, str) and not rule.optional):
        if any(is_match(pattern, path, ()) for path in paths):
            continue
        end = pattern.lstrip(".*")
        words = [f'"*{end}"'] if is_path(end) and any(path.endswith(end) for path in paths) else []
        if re.search(r"\.\*|[\\^$|]", pattern) and _finds(pattern, paths):
            words.append(f"re.compile({pattern!r}), a regular expression")
        if words:
            return printable(f'"{pattern}" is a glob for the whole path: write {" or ".join(words)}')
    return ""


def _finds(expression: str, paths: Iterable[str]) -> bool:
    """Whether a text is a regular expression that is found in a path."""
    try:
        found = re.compile(expression)
    except re.error:
        return False
    return any(found.search(path) for path in paths)


def _without_kinds(rules: Rules, parameters: Iterable[Parameter], lacks_rules: bool) -> str:
    """That rules with kinds match nothing here, where that may be why one is idle, or a parameter has no rule."""
    if any(each.kinds for each in parameters):
        return ""
    of_kinds = [rule for rule in rules if any(not kind.startswith(NOT) and kind != BUFFER for kind in rule.kinds)]
    count = len(of_kinds) if lacks_rules or not all(rule.optional for rule in of_kinds) else 0
    return f"arrays without layers have no kinds: {counted(count, 'rule')} with a kind can't match" if count else ""


def ruled(parameters: Iterable[Parameter], rules: Rules) -> list[tuple[Parameter, Rule | None]]:
    """Each parameter with the first rule that matches, or its originals instead where rules name them.

    Rules name originals where one with a mark of theirs in its pattern matches one, and comes before all that match
    the weight. Then only such rules are for the originals: a rule for everything else would draw magnitudes as if they
    were weights.
    """
    places = {id(rule): k for k, rule in enumerate(rules)}

    def place(rule: Rule | None) -> int:
        return len(rules) if rule is None else places[id(rule)]

    pairs: list[tuple[Parameter, Rule | None]] = []
    for parameter in parameters:
        rule = rules.find(parameter.path, parameter.shape, parameter.kinds, parameter.layer_ndim)
        originals = [(original, _naming(rules, original)) for original in parameter.originals]
        if any(place(naming) < place(rule) for _, naming in originals):
            pairs += originals
        else:
            pairs.append((parameter, rule))
    return pairs


def _naming(rules: Rules, original: Parameter) -> Rule | None:
    """The first rule that names an original and matches it."""
    naming = (rule for rule in rules if any(mark in _pattern_text(rule) for mark in original.marks))
    return next((rule for rule in naming if rule.matches(original.path, original.shape, original.kinds)), None)


def _pattern_text(rule: Rule) -> str:
    """The text of a glob or a regular expression; a predicate has none."""
    pattern = getattr(rule.pattern, "pattern", rule.pattern)
    return pattern if isinstance(pattern, str) else ""


def _decided(
    parameter: Parameter, rule: Rule | None, neighbours: Mapping[str, Parameter], frozen: Frozen
) -> tuple[Spec | None, Job | None]:
    """How a parameter is drawn; (None, None) where it stays as it is. TypeError or ValueError where it can't be."""
    is_kept = rule is not None and rule.initializer is None
    if parameter.frozen and frozen == "keep":
        if not parameter.has_values and not is_kept:
            raise ValueError(NOTHING_TO_KEEP.format(parameter.frozen))
        return None, None
    if rule is None and not parameter.optional:
        raise ValueError(_unmatched(parameter))
    if rule is None or is_kept:
        return None, None
    if parameter.problem:
        raise ValueError(parameter.problem)
    try:
        if isinstance(rule, RecordedRule):
            initializer = _as_recorded(rule, parameter)
        else:
            assert rule.initializer is not None
            given = with_path(rule.initializer, parameter.path)
            named = rule if given is rule.initializer else replace(rule, initializer=given)
            initializer = _completed(named, parameter, neighbours)
        job = job_of(initializer, parameter.shape, parameter.dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{error} (rule {rule.text})") from None
    return initializer, job


def _recorded(
    parameter: Parameter, rule: RecordedRule, frozen: Frozen, rows: range | None
) -> tuple[Parameter, Program | None]:
    """A parameter as it was recorded, and its program where it has one. ValueError where it is another parameter.

    A constructor that freezes a parameter fills it all the same, so that one says nothing here.
    """
    rule.check(parameter, has_new_rows=rows is not None)
    stays = frozen == "keep" or not rule.is_frozen
    parameter = replace(parameter, zero_row=rule.zero_row, frozen=parameter.frozen if stays else "")
    if parameter.frozen and frozen is None:
        raise ValueError(FROZEN.format(parameter.frozen, "of the record"))
    if rule.program is None or parameter.frozen:
        return parameter, None
    if parameter.problem:
        raise ValueError(parameter.problem)
    return parameter, rule.program


def _unmatched(parameter: Parameter) -> str:
    if parameter.marks:
        return f"no rule names it; its pattern must have {' or '.join(map(repr, parameter.marks))} in it"
    return NO_VALUES if BUFFER in parameter.kinds else NO_RULE


def _completed(rule: Rule, parameter: Parameter, neighbours: Mapping[str, Parameter]) -> Spec:
    """The rule's initializer with the axes of the parameter, or with the numbers that a neighbour's fans give."""
    assert rule.initializer is not None
    if rule.like is None:
        return settled(rule.initializer, parameter, parameter.dtype)
    path = _beside(parameter.path, rule.like)
    if path not in neighbours:
        raise ValueError(f"`like` must name a neighbour; got {rule.like!r}, but there is no {printable(path)}")
    neighbour = neighbours[path]
    try:
        whole = settled(rule.initializer, neighbour, parameter.dtype)
    except ValueError as error:
        raise ValueError(f"of {printable(path)}, {error}") from None
    job = job_of(whole, neighbour.shape, parameter.dtype)
    return _without_fans(job.law, rule.initializer)


def _beside(path: str, word: str) -> str:
    """The path of a neighbour, as :class:`Rule` describes it for `seed_of`."""
    words = word.lstrip(".").split(".")
    own = path.split(".")
    parents = own[: max(0, len(own) - 1 - (len(word) - len(word.lstrip("."))))]
    kept = own[-len(words) :]
    return ".".join([*parents, *(kept[k] if each == "*" and k < len(kept) else each for k, each in enumerate(words))])


def _shares(parameter: Parameter, rule: Rule | None, neighbours: Mapping[str, Parameter]) -> str | None:
    """The path of another parameter, whose seed name this one has; None where it has its own."""
    if isinstance(rule, RecordedRule):
        return rule.drawn_as(parameter.path)
    if rule is None or rule.seed_of is None:
        return None
    path = _beside(parameter.path, rule.seed_of)
    return neighbours[path].path if path in neighbours else path


def _check_shared(
    parameter: Parameter, rule: Rule, job: Job, neighbours: Mapping[str, Parameter], rules: Rules
) -> None:
    """Refuse a neighbour that is not there, has no seed name of its own, or can't be of one draw. ValueError."""
    assert rule.seed_of is not None
    path = _beside(parameter.path, rule.seed_of)
    if path not in neighbours:
        raise ValueError(f"`seed_of` must name a neighbour; got {rule.seed_of!r}, but there is no {printable(path)}")
    other = neighbours[path]
    if other.path == parameter.path:
        raise ValueError(f"`seed_of` must name another parameter; got {rule.seed_of!r} for itself")
    of_other = rules.find(other.path, other.shape, other.kinds, other.layer_ndim)
    if isinstance(job.law, Factor):
        _check_pair(job.law, rule, other, of_other, neighbours)
    elif other.shape != parameter.shape and _canonical(other, of_other, neighbours) != job.geometry.canonical:
        raise ValueError(
            f"`seed_of` must name a neighbour of the same shape, {parameter.shape}; got {rule.seed_of!r}, which has "
            f"{other.shape}"
        )
    if of_other is not None and of_other.seed_of is not None:
        raise ValueError(
            f"`seed_of` must name a neighbour with a seed name of its own; got {rule.seed_of!r}, whose rule has "
            f"seed_of={of_other.seed_of!r}"
        )


def _canonical(other: Parameter, of_other: Rule | None, neighbours: Mapping[str, Parameter]) -> tuple[int, ...]:
    """The shape of a neighbour in the order in which its elements are numbered."""
    _, job = _decided(other, of_other, neighbours, "draw")
    return other.shape if job is None else job.geometry.canonical


def _check_pair(
    law: Factor, rule: Rule, other: Parameter, of_other: Rule | None, neighbours: Mapping[str, Parameter]
) -> None:
    """Refuse a neighbour that holds no other matrix of this pair. ValueError."""
    _, job = _decided(other, of_other, neighbours, "draw")
    laws = [] if job is None else [each.law for each in job.law.pieces] if isinstance(job.law, Packed) else [job.law]
    pairs = [each.pair for each in laws if isinstance(each, Factor)]
    if law.pair not in pairs:
        raise ValueError(
            f"`seed_of` must name the other matrix of the pair {law.pair}; got {rule.seed_of!r}, which has "
            f"{' and '.join(map(str, pairs)) or 'none'}"
        )


def _as_recorded(rule: RecordedRule, parameter: Parameter) -> Spec:
    """A recorded initializer for a parameter whose framework says what its axes mean.

    The constructor knew nothing of that: torch takes the fans of a transposed convolution from the wrong axes. So fans
    become numbers first; then the axes decide only in which order the elements are numbered.
    """
    initializer = rule.initializer
    assert initializer is not None
    if not parameter.axes:
        return initializer
    try:
        return laid_out(
            _without_fans(job_of(initializer, parameter.shape, parameter.dtype).law, initializer), parameter
        )
    except ValueError:  # orthogonal and sparse matrices, whose axes are those of the constructor
        return initializer


def _without_fans(law: Law, initializer: Spec) -> Spec:
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
    raise ValueError(f"`like` needs a uniform, normal, truncated or constant law; got {initializer!r}")


def _seed_name(path: str, seed_names: SeedNames | None) -> Name:
    if seed_names is None:
        return path
    name = seed_names.get(path) if isinstance(seed_names, Mapping) else seed_names(path)
    return path if name is None else name
