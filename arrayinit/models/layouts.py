"""What the axes of a parameter mean to a rule: what the rule says, else what the framework knows, else an error."""

from arrayinit.laws import SAMPLED, Constant, Law, Point
from arrayinit.laws.geometry import Geometry, axis_numbers, geometry
from arrayinit.models.axes import Reading
from arrayinit.models.parameters import Parameter
from arrayinit.specs import Spec, job_of, spec

__all__ = ["laid_out", "says_axes", "settled"]

AXIS_KEYWORDS = ("layout", "in_axis", "out_axis", "batch_axis")  # one of them replaces all that a framework says
SHOWN = 6  # readings in an error


def says_axes(initializer: Spec) -> bool:
    """Whether an initializer itself says what the axes mean."""
    return any(name in initializer.parameters for name in AXIS_KEYWORDS)


def laid_out(initializer: Spec, parameter: Parameter) -> Spec:
    """The initializer, with what the framework knows of the axes where it doesn't say so itself."""
    return _laid_out(initializer, parameter)[0]


def settled(initializer: Spec, parameter: Parameter, dtype: str) -> Spec:
    """The initializer with the axes of a parameter; ValueError where it is open what they mean, and the law needs that.

    Readings that the initializer can't draw are none. A law that all others have in common needs nothing.
    """
    specs = _laid_out(initializer, parameter)
    if len(specs) == 1:
        return specs[0]
    laws: dict[tuple[Law, str | None], tuple[Spec, Geometry]] = {}
    for each in specs:
        try:
            job = job_of(each, parameter.shape, dtype)
        except ValueError:
            continue
        # Elements that are drawn one by one have a law without axes; matrices and formulas lie along them.
        is_plain = isinstance(job.law, (*SAMPLED, Constant, Point))
        laws.setdefault((job.law, None if is_plain else job.geometry.roles), (each, job.geometry))
    if len(laws) < 2:
        return next(iter(laws.values()), (specs[0], None))[0]
    raise ValueError(_open(initializer, parameter, [where for _, where in laws.values()]))


def _laid_out(initializer: Spec, parameter: Parameter) -> list[Spec]:
    """The initializer with each reading of the axes that is left, the likeliest first."""
    given = initializer.parameters
    if any(name in given for name in AXIS_KEYWORDS[:3]):
        axes = [{name: value for name, value in parameter.axes.items() if name not in AXIS_KEYWORDS}]
    elif "batch_axis" in given and parameter.shape:
        axes = [each.keywords for each in _with_batch(parameter, given["batch_axis"])]
        given = {name: value for name, value in given.items() if name != "batch_axis"}
    else:
        axes = [dict(parameter.axes), *(each.keywords for each in parameter.readings[1:])]
    if axes == [{}]:
        return [initializer]
    return [spec(initializer.name, **each | given) for each in axes]


def _with_batch(parameter: Parameter, batch_axis: object) -> list[Reading]:
    """The readings in which these axes, and no others, number layers.

    Where none is known, or several are, the other axes lie as in the framework: (out, in, *spatial), or (*spatial, in,
    out).
    """
    where = geometry(parameter.shape, batch_axis=batch_axis)  # type: ignore[arg-type] # refuses what are no axes
    rank = len(parameter.shape)
    batch = {axis % rank for axis in axis_numbers(batch_axis, "batch_axis")}
    known = geometry(parameter.shape, **parameter.axes)
    groups, transposed = known.groups, known.transposed
    readings = parameter.readings or (Reading(known.roles or "", groups, transposed),)
    fitting = [each for each in readings if batch == {k for k, role in enumerate(each.roles) if role == "b"}]
    if len(fitting) == 1 or (fitting and not batch):
        return fitting
    roles = where.roles or "oi" + "s" * (rank - 2)
    if parameter.order == "io":
        rest = rank - len(batch)
        others = iter("s" * (rest - 2) + "io" if rest > 1 else "s" * rest)
        roles = "".join("b" if axis in batch else next(others) for axis in range(rank))
    ordinary = [each for each in fitting if each.roles == roles]
    return ordinary or fitting or [Reading(roles, groups, transposed)]


def _open(initializer: Spec, parameter: Parameter, geometries: list[Geometry]) -> str:
    """The text of an error about axes of which it is open what they mean."""
    shape = parameter.shape
    readings = [
        Reading(each.roles or "oi" + "s" * (len(shape) - 2), each.groups, each.transposed) for each in geometries
    ]
    texts = [f"{each.words}, fans {each.fans(shape)} ({each.text})" for each in readings[:SHOWN]]
    more = f"; or one of {len(readings) - SHOWN} more" if len(readings) > SHOWN else ""
    stack = next((each.roles for each in readings if "b" in each.roles), "")
    is_said = not stack or "batch_axis" in initializer.parameters
    batch = "" if is_said else f", or with batch_axis={stack.index('b')} for stacked layers"
    return (
        f"its axes may mean several things, and the draw depends on which: {'; or '.join(texts)}{more}. Say which in a "
        f"rule: ({parameter.path!r}, spec({initializer.name!r}, layout=...)) with the layout that is right{batch}"
    )
