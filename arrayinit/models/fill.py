"""The one loop that draws the parameters of a model, whatever the framework."""

from collections.abc import Callable, Sequence

from arrayinit.common.progress import progress_bar
from arrayinit.models.matching import Root, keyed
from arrayinit.models.plans import Match, Plan, Planned

__all__ = ["fill"]


def fill(
    matches: Sequence[Match],
    root: Root,
    draw: Callable[[Planned], None],
    *,
    progress: bool | None,
    allocate: Callable[[], None] = lambda: None,
) -> Plan:
    """Draw each parameter that has an initializer, in order; returns the plan with the keys that were taken.

    The key is taken last, when all memory is there: what fails before takes none.

    Args:
        root: gives the key of the whole model, as :func:`arrayinit.models.matching.root_of` makes it.
        draw: draws one parameter to where its framework keeps it.
        progress: as in `init_params_`.
        allocate: makes what is to be drawn into.
    """
    total = sum(each.parameter.size for each in matches if each.is_drawn)
    with progress_bar("parameters", total, progress, "elements") as advance:
        allocate()
        plan = keyed(matches, root)
        for entry in plan:
            if entry.is_drawn:
                draw(entry)
                advance(entry.parameter.size)
    return plan
