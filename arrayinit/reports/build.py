"""Make a report: plan the rules, measure the arrays, judge the results."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arrayinit.backends import backend_of
from arrayinit.common.arguments import flag
from arrayinit.common.messages import shown
from arrayinit.common.progress import progress_bar
from arrayinit.digests import fingerprint
from arrayinit.laws import Law
from arrayinit.laws.geometry import Geometry, geometry
from arrayinit.models.layouts import says_axes
from arrayinit.models.matching import SeedNames, keeps, keyed, matches_and_problems, root_of, ruled
from arrayinit.models.members import Member, members_of
from arrayinit.models.norms import gains_of
from arrayinit.models.parameters import Parameter
from arrayinit.models.plans import Plan, Planned
from arrayinit.models.rules import BUFFER, Rule, Rules
from arrayinit.reports.casts import fingerprints_of_casts
from arrayinit.reports.drawn import loading_findings, rows_as_drawn
from arrayinit.reports.findings import expected_mean, is_bias, judge
from arrayinit.reports.pairs import Measured, pair_findings
from arrayinit.reports.results import Finding, Report, Row
from arrayinit.reports.statistics import measure
from arrayinit.specs import Description, describe
from arrayinit.stream.formats import is_floating

__all__ = ["build", "drawable_plan"]


def build(
    model: Any, rules: Any = None, seed: Any = None, seed_names: SeedNames | None = None, shards: Any = None,
    values: bool = True, casts: bool = False, fold: bool = True, progress: bool | None = None,
) -> Report:  # fmt: skip
    """The report on a model; see :func:`arrayinit.report`."""
    flag(values, "values")
    flag(casts, "casts")
    flag(fold, "fold")
    for name, given in (("seed", seed), ("seed_names", seed_names)):
        if given is not None and rules is None:
            raise ValueError(f"`{name}` needs rules, to compare the model with their draw; got {shown(given)}")
        if given is not None and (rules is None or not values or seed is None):
            raise ValueError(f"`{name}` goes with rules, a seed and values=True, to be compared; got {shown(given)}")
    members = members_of(model, shards)
    parameters = [member.parameter for member in members]
    rules = rules if rules is None or isinstance(rules, Rules) else Rules(rules)
    planned: dict[str, Planned] = {}
    problems: Mapping[str, str] = {}
    matching: dict[str, Rule | None] = {}
    if rules is not None:
        plan, problems = drawable_plan(parameters, rules, 0 if seed is None else seed, seed_names)
        planned = {entry.path: entry for entry in plan}
        matching = {parameter.path: rule for parameter, rule in ruled(parameters, rules)}
    gains = gains_of(parameters)
    members_shown: list[Member] = []
    for member in members:
        members_shown.append(member)
        members_shown += [original for original in member.originals if original.parameter.path in matching]
    total = sum(_bytes(member.parameter) for member in members_shown)
    rows: list[Row] = []
    measured: list[Measured] = []
    as_drawn: dict[str, NDArray[np.bool_]] = {}
    with progress_bar("parameters", total, progress if values else False) as advance:
        for member in members_shown:
            path, entry = member.parameter.path, planned.get(member.parameter.path)
            row, found = _row(member, values, casts, entry, matching.get(path), problems, path in gains)
            if seed is not None and entry is not None:
                equal = rows_as_drawn(entry, member.read() if member.drawn is None else member.drawn())
                if equal is not None:
                    as_drawn[path] = equal
            rows.append(row)
            measured.append(found)
            advance(_bytes(member.parameter))
    more: dict[str, list[Finding]] = {}
    pairs = pair_findings(measured, planned) if values else ()
    for path, (kind, reason) in (*pairs, *loading_findings(as_drawn)):
        more.setdefault(path, []).append(Finding(path, kind, reason))
    shares = {path: float(equal.mean()) for path, equal in as_drawn.items()}
    rows = [
        replace(row, findings=(*row.findings, *more.get(row.path, ())), as_drawn=shares.get(row.path)) for row in rows
    ]
    idle = tuple(_idle(matching.values(), rules or Rules()))
    return Report(tuple(rows), idle, has_rules=rules is not None, fold=fold, seed=_seed_text(seed))


def _seed_text(seed: Any) -> str | None:
    if seed is None:
        return None
    return f"seed {seed}" if isinstance(seed, int | np.integer) else "the seed"


def drawable_plan(
    parameters: Iterable[Parameter], rules: Rules, seed: Any = 0, seed_names: SeedNames | None = None
) -> tuple[Plan, Mapping[str, str]]:
    """The plan of the parameters that can be drawn, and path -> reason for the others.

    Frozen parameters are planned as if they were not, except those that their rule keeps.
    """
    matches, problems = matches_and_problems(parameters, rules, seed_names, frozen="draw")
    kept = {match.path for match in matches if keeps(match.parameter, match.rule)}
    problems = {path: reason for path, reason in problems.items() if path not in kept}
    matches = [replace(match, initializer=None, job=None) if match.path in kept else match for match in matches]
    return keyed([match for match in matches if match.path not in problems], root_of(seed), dry_run=True), problems


def _idle(matching: Iterable[Rule | None], rules: Rules) -> Iterable[Finding]:
    """A finding for each rule that matches nothing."""
    used = set(map(id, matching))
    for rule in rules:
        if id(rule) not in used and not rule.optional:
            yield Finding(rule.text, "idle rule", "matches no parameter, or only after earlier rules")


def _row(
    member: Member,
    values: bool,
    casts: bool,
    entry: Planned | None,
    rule: Rule | None,
    problems: Mapping[str, str],
    is_gain: bool,
) -> tuple[Row, Measured]:
    parameter = _settled(member.parameter, rule)
    axes = _geometry(parameter)
    expected: Description | None = None
    law: Law | None = None
    if entry is not None and entry.initializer is not None and entry.job is not None:
        law, axes = entry.job.law, entry.job.geometry
        expected = describe(entry.initializer, parameter.shape, dtype=parameter.dtype)
    fan_in, fan_out = _fans(axes) if expected is None else (expected.fan_in, expected.fan_out)
    if is_bias(parameter) and (expected is None or expected.std == 0):
        fan_in, fan_out = None, None
    elif parameter.readings:
        fan_in, fan_out = _agreed(parameter)
    roles = axes.roles or ("oi" + "s" * len(parameter.shape))[: len(parameter.shape)]
    roles = roles if len(roles) >= 2 and not parameter.cut else ""  # of a part only the elements are known
    x = member.read()
    moments = measure(x, parameter.dtype, roles) if values else None
    mark = None if moments is None else _mark(x)
    drawn = moments if member.drawn is None or not values else measure(member.drawn(), parameter.dtype, roles)
    findings = judge(parameter, fan_in, moments, drawn, expected, law, is_gain)
    reasons = [*_problems(parameter, rule, problems), *findings]
    row = Row(
        path=parameter.path,
        shape=parameter.shape,
        dtype=parameter.dtype,
        tied=parameter.tied,
        bytes=_bytes(parameter),
        rule=None if rule is None else rule.text,
        initializer=None if rule is None or parameter.path in problems else _initializer_text(rule),
        fan_in=fan_in,
        fan_out=fan_out,
        expected_mean=None if expected is None else expected_mean(parameter.dtype, expected),
        expected_std=None if expected is None else expected.std,
        mean=None if moments is None else moments.mean,
        std=None if moments is None else moments.std,
        low=None if moments is None else moments.low,
        high=None if moments is None else moments.high,
        size=parameter.size,
        findings=tuple(Finding(parameter.path, kind, reason) for kind, reason in reasons),
        is_buffer=BUFFER in parameter.kinds,
        fingerprint=mark,
        casts=fingerprints_of_casts(x, parameter.dtype) if casts and mark is not None else None,
    )
    return row, Measured(parameter, None if parameter.through else x, moments, mark)


def _mark(x: Any) -> str | None:
    """The fingerprint of what this process holds of an array; None where its dtype has none."""
    backend = backend_of(x)
    try:
        if not backend.is_shared(x):
            return fingerprint(x)
        return fingerprint({str(place): block for place, block in backend.blocks(x)})
    except (TypeError, ValueError):
        return None


def _initializer_text(rule: Rule) -> str:
    """A rule's initializer as it was written, without the axes that the framework adds."""
    return replace(rule, lr_scale=1.0, eps_scale=1.0).words


def _problems(parameter: Parameter, rule: Rule | None, problems: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """(kind, text) of the reasons why a parameter can't be drawn."""
    if not is_floating(parameter.dtype) and not parameter.optional and (rule is None or parameter.path in problems):
        yield "integer", f"random values can't be drawn in {parameter.dtype}"
    if parameter.path in problems:
        if rule is None:
            yield "unmatched", "no rule matches"
        elif is_floating(parameter.dtype):
            yield "undrawable", problems[parameter.path].partition(": ")[2]


def _geometry(parameter: Parameter) -> Geometry:
    return geometry(parameter.shape, **parameter.axes)


def _fans(axes: Geometry) -> tuple[int | None, int | None]:
    return axes.fans if axes.has_fans else (None, None)


def _agreed(parameter: Parameter) -> tuple[int | None, int | None]:
    """The fans in which all readings of a parameter agree."""
    fans = {each.fans(parameter.shape) for each in parameter.readings}
    fan_in, fan_out = ({pair[k] for pair in fans} for k in (0, 1))
    return fan_in.pop() if len(fan_in) == 1 else None, fan_out.pop() if len(fan_out) == 1 else None


def _settled(parameter: Parameter, rule: Rule | None) -> Parameter:
    """The parameter; without readings where its rule says what the axes mean."""
    initializer = None if rule is None else rule.initializer
    return replace(parameter, readings=()) if initializer is not None and says_axes(initializer) else parameter


def _bytes(parameter: Parameter) -> int:
    digits = re.search(r"\d+$", parameter.dtype)  # bits, as in float32; bool has none
    return parameter.size * (int(digits[0]) // 8 if digits else 1)
