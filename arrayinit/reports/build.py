"""Make a report: plan the rules, measure the arrays, judge the results."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from arrayinit.common.arguments import flag
from arrayinit.common.progress import progress_bar
from arrayinit.laws import Law
from arrayinit.laws.geometry import Geometry, geometry
from arrayinit.models.layouts import says_axes
from arrayinit.models.matching import keeps, keyed, matches_and_problems, root_of, ruled
from arrayinit.models.members import Member, members_of
from arrayinit.models.norms import gains_of
from arrayinit.models.parameters import Parameter
from arrayinit.models.plans import Plan, Planned
from arrayinit.models.rules import Rule, Rules
from arrayinit.reports.findings import expected_mean, judge
from arrayinit.reports.results import Finding, Report, Row
from arrayinit.reports.statistics import measure
from arrayinit.specs import Description, describe
from arrayinit.stream.formats import is_floating

__all__ = ["build", "drawable_plan"]


def build(model: Any, rules: Any, values: bool, progress: bool | None) -> Report:
    """The report on a model; see :func:`arrayinit.report`."""
    flag(values, "values")
    members = members_of(model)
    parameters = [member.parameter for member in members]
    rules = rules if rules is None or isinstance(rules, Rules) else Rules(rules)
    planned: dict[str, Planned] = {}
    problems: Mapping[str, str] = {}
    matching: dict[str, Rule | None] = {}
    if rules is not None:
        plan, problems = drawable_plan(parameters, rules)
        planned = {entry.path: entry for entry in plan}
        matching = {parameter.path: rule for parameter, rule in ruled(parameters, rules)}
    gains = gains_of(parameters)
    shown: list[Member] = []
    for member in members:
        shown.append(member)
        shown += [original for original in member.originals if original.parameter.path in matching]
    total = sum(_bytes(member.parameter) for member in shown)
    rows = []
    with progress_bar("parameters", total, progress if values else False) as advance:
        for member in shown:
            path = member.parameter.path
            rows.append(_row(member, values, planned.get(path), matching.get(path), problems, path in gains))
            advance(_bytes(member.parameter))
    return Report(tuple(rows), tuple(_idle(matching.values(), rules or Rules())), has_rules=rules is not None)


def drawable_plan(parameters: Iterable[Parameter], rules: Rules) -> tuple[Plan, Mapping[str, str]]:
    """The plan of the parameters that can be drawn, and path -> reason for the others.

    Frozen parameters are planned as if they were not, except those that their rule keeps.
    """
    matches, problems = matches_and_problems(parameters, rules, frozen="draw")
    kept = {match.path for match in matches if keeps(match.parameter, match.rule)}
    problems = {path: reason for path, reason in problems.items() if path not in kept}
    matches = [replace(match, initializer=None, job=None) if match.path in kept else match for match in matches]
    return keyed([match for match in matches if match.path not in problems], root_of(0)), problems


def _idle(matching: Iterable[Rule | None], rules: Rules) -> Iterable[Finding]:
    """A finding for each rule that matches nothing."""
    used = set(map(id, matching))
    for rule in rules:
        if id(rule) not in used and not rule.optional:
            yield Finding(rule.text, "idle rule", "matches no parameter, or only after earlier rules")


def _row(
    member: Member, values: bool, entry: Planned | None, rule: Rule | None, problems: Mapping[str, str], is_gain: bool
) -> Row:
    parameter = _settled(member.parameter, rule)
    axes = _geometry(parameter)
    expected: Description | None = None
    law: Law | None = None
    if entry is not None and entry.initializer is not None and entry.job is not None:
        law, axes = entry.job.law, entry.job.geometry
        expected = describe(entry.initializer, parameter.shape, dtype=parameter.dtype)
    fan_in, fan_out = _fans(axes) if expected is None else (expected.fan_in, expected.fan_out)
    if parameter.readings:
        fan_in, fan_out = _agreed(parameter)
    roles = axes.roles or ("oi" + "s" * len(parameter.shape))[: len(parameter.shape)]
    roles = roles if len(roles) >= 2 and not parameter.cut else ""  # of a part only the elements are known
    moments = measure(member.read(), parameter.dtype, roles) if values else None
    drawn = moments if member.drawn is None or not values else measure(member.drawn(), parameter.dtype, roles)
    findings = judge(parameter, fan_in, moments, drawn, expected, law, is_gain)
    reasons = [*_problems(parameter, rule, problems), *findings]
    return Row(
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
    )


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
