"""How a report is made: what the rules plan, what the arrays hold, and what is to be said of it."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from arrayinit.common.arguments import flag
from arrayinit.common.progress import progress_bar
from arrayinit.laws import Law
from arrayinit.laws.geometry import Geometry, geometry
from arrayinit.models.plans import Parameter, Plan, Planned, keyed, matched, root_of, ruled
from arrayinit.models.rules import Rule, Rules, told
from arrayinit.reports.findings import expected_mean, judge
from arrayinit.reports.members import Held, members
from arrayinit.reports.results import Finding, Report, Row
from arrayinit.reports.statistics import measure
from arrayinit.specs import Description, describe, law_of
from arrayinit.stream.formats import is_floating

__all__ = ["build", "plan_what_can_be"]


def build(model: Any, rules: Any, values: bool, progress: bool | None) -> Report:
    """The report on a model, as :func:`arrayinit.report` describes it."""
    flag(values, "values")
    found = members(model)
    parameters = [held.parameter for held in found]
    chosen = None if rules is None else rules if isinstance(rules, Rules) else Rules(rules)
    planned: dict[str, Planned] = {}
    problems: Mapping[str, str] = {}
    matching: dict[str, Rule | None] = {}
    if chosen is not None:
        made, problems = plan_what_can_be(parameters, chosen)
        planned = {entry.path: entry for entry in made}
        matching = {parameter.path: rule for parameter, rule in ruled(parameters, chosen)}
    # A weight whose parts are drawn is shown above them.
    shown = [each for held in found for each in (held, *held.parts) if each is held or each.parameter.path in matching]
    total = sum(_bytes(held.parameter) for held in shown)
    rows = []
    with progress_bar("parameters", total, progress if values else False) as advance:
        for held in shown:
            path = held.parameter.path
            rows.append(_row(held, values, planned.get(path), matching.get(path), problems, chosen is not None))
            advance(_bytes(held.parameter))
    return Report(tuple(rows), tuple(_idle(matching.values(), chosen or Rules())), chosen is not None)


def plan_what_can_be(parameters: Iterable[Parameter], rules: Rules) -> tuple[Plan, Mapping[str, str]]:
    """The plan of all parameters that can be drawn, and the reasons why others can't."""
    entries, problems = matched(parameters, rules, frozen="draw")
    return keyed((entry for entry in entries if entry.path not in problems), lambda take: root_of(0, take)), problems


def _idle(matching: Iterable[Rule | None], rules: Rules) -> Iterable[Finding]:
    used = set(map(id, matching))
    for rule in rules:
        if id(rule) not in used and not rule.optional:
            yield Finding(rule.text, "idle rule", "matches no parameter, or only after earlier rules")


def _row(
    held: Held, values: bool, entry: Planned | None, rule: Rule | None, problems: Mapping[str, str], has_rules: bool
) -> Row:
    """The row of one parameter."""
    parameter = held.parameter
    where = _geometry(parameter)
    initializer = None if entry is None else entry.initializer
    expected: Description | None = None
    law: Law | None = None
    if initializer is not None:
        law, where = law_of(initializer, parameter.shape, parameter.dtype)
        expected = describe(initializer, parameter.shape, dtype=parameter.dtype)
    fan_in, fan_out = _fans(where) if expected is None else (expected.fan_in, expected.fan_out)
    roles = where.roles or ("oi" + "s" * len(parameter.shape))[: len(parameter.shape)]
    roles = roles if len(roles) >= 2 else ""
    moments = measure(held.read(), parameter.dtype, roles) if values else None
    drawn = moments if held.drawn is None or not values else measure(held.drawn(), parameter.dtype, roles)
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
    return told(rule.initializer) + (f", fans of {rule.like}" if rule.like else "")


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
