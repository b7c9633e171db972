"""How a report is made: what the rules plan, what the arrays hold, and what is to be said of it."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from arrayinit.common.progress import progress_bar
from arrayinit.laws import Law
from arrayinit.laws.arguments import flag
from arrayinit.laws.geometry import Geometry, geometry
from arrayinit.models.matching import keyed, matches_and_problems, root_of, ruled
from arrayinit.models.members import Member, members_of
from arrayinit.models.parameters import Parameter
from arrayinit.models.plans import Plan, Planned
from arrayinit.models.rules import Rule, Rules, in_words
from arrayinit.reports.findings import expected_mean, judge
from arrayinit.reports.moments import measure
from arrayinit.reports.results import Finding, Report, Row
from arrayinit.specs import Description, describe
from arrayinit.stream.formats import is_floating

__all__ = ["build", "plan_what_can_be"]


def build(model: Any, rules: Any, values: bool, progress: bool | None) -> Report:
    """The report on a model, as :func:`arrayinit.report` describes it."""
    flag(values, "values")
    members = members_of(model)
    parameters = [member.parameter for member in members]
    chosen = None if rules is None else rules if isinstance(rules, Rules) else Rules(rules)
    planned: dict[str, Planned] = {}
    problems: Mapping[str, str] = {}
    matching: dict[str, Rule | None] = {}
    if chosen is not None:
        made, problems = plan_what_can_be(parameters, chosen)
        planned = {entry.path: entry for entry in made}
        matching = {parameter.path: rule for parameter, rule in ruled(parameters, chosen)}
    # A weight whose originals are drawn is shown above them.
    shown = [
        each
        for member in members
        for each in (member, *member.originals)
        if each is member or each.parameter.path in matching
    ]
    total = sum(_bytes(member.parameter) for member in shown)
    rows = []
    with progress_bar("parameters", total, progress if values else False) as advance:
        for member in shown:
            path = member.parameter.path
            rows.append(_row(member, values, planned.get(path), matching.get(path), problems, chosen is not None))
            advance(_bytes(member.parameter))
    return Report(tuple(rows), tuple(_idle(matching.values(), chosen or Rules())), chosen is not None)


def plan_what_can_be(parameters: Iterable[Parameter], rules: Rules) -> tuple[Plan, Mapping[str, str]]:
    """The plan of all parameters that can be drawn, and the reasons why others can't."""
    matches, problems = matches_and_problems(parameters, rules, frozen="draw")
    return keyed([each for each in matches if each.path not in problems], root_of(0)), problems


def _idle(matching: Iterable[Rule | None], rules: Rules) -> Iterable[Finding]:
    used = set(map(id, matching))
    for rule in rules:
        if id(rule) not in used and not rule.optional:
            yield Finding(rule.text, "idle rule", "matches no parameter, or only after earlier rules")


def _row(
    member: Member, values: bool, entry: Planned | None, rule: Rule | None, problems: Mapping[str, str], has_rules: bool
) -> Row:
    """The row of one parameter."""
    parameter = member.parameter
    where = _geometry(parameter)
    expected: Description | None = None
    law: Law | None = None
    if entry is not None and entry.initializer is not None and entry.job is not None:
        law, where = entry.job.law, entry.job.geometry
        expected = describe(entry.initializer, parameter.shape, dtype=parameter.dtype)
    fan_in, fan_out = _fans(where) if expected is None else (expected.fan_in, expected.fan_out)
    roles = where.roles or ("oi" + "s" * len(parameter.shape))[: len(parameter.shape)]
    roles = roles if len(roles) >= 2 else ""
    moments = measure(member.read(), parameter.dtype, roles) if values else None
    drawn = moments if member.drawn is None or not values else measure(member.drawn(), parameter.dtype, roles)
    found = list(_problems(parameter, rule, problems, has_rules))
    found += judge(parameter, fan_in, moments, drawn, expected, law)
    return Row(
        parameter.path, parameter.shape, parameter.dtype, parameter.tied, _bytes(parameter),
        None if rule is None else rule.text,
        None if rule is None or parameter.path in problems else _said(rule),
        fan_in, fan_out,
        None if expected is None else expected_mean(parameter.dtype, expected),
        None if expected is None else expected.std,
        None if moments is None else moments.mean, None if moments is None else moments.std,
        None if moments is None else moments.low, None if moments is None else moments.high,
        parameter.size, tuple(Finding(parameter.path, kind, said) for kind, said in found),
    )  # fmt: skip


def _said(rule: Rule) -> str:
    """A rule's initializer as it was written, without the axes that the framework adds."""
    return in_words(rule.initializer) + (f", fans of {rule.like}" if rule.like else "")


def _problems(
    parameter: Parameter, rule: Rule | None, problems: Mapping[str, str], has_rules: bool
) -> Iterable[tuple[str, str]]:
    """Why a parameter can't be drawn."""
    if not is_floating(parameter.dtype) and not parameter.optional and (rule is None or parameter.path in problems):
        yield "integer", f"{parameter.dtype} is no type that random values can be drawn in"
    if parameter.path in problems:
        if rule is None:
            yield "unmatched", "no rule matches"
        elif is_floating(parameter.dtype):
            yield "undrawable", problems[parameter.path].partition(": ")[2]


def _geometry(parameter: Parameter) -> Geometry:
    return geometry(parameter.shape, **parameter.axes)


def _fans(where: Geometry) -> tuple[int | None, int | None]:
    return where.fans if where.roles is not None or len(where.shape) >= 2 else (None, None)


def _bytes(parameter: Parameter) -> int:
    digits = re.search(r"\d+$", parameter.dtype)  # of the name that the standard has: float32
    return parameter.size * (int(digits[0]) // 8 if digits else 1)
