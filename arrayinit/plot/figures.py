"""The matplotlib figures: scales through depth, and histograms of weights. Without pyplot."""

import fnmatch
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from arrayinit.common.extras import missing_library
from arrayinit.common.integers import as_integer
from arrayinit.common.messages import shape_text, shown
from arrayinit.laws.densities import Density, density
from arrayinit.models.members import Member, members_of
from arrayinit.models.plans import Planned
from arrayinit.models.rules import Rules
from arrayinit.plot.measures import DepthScale
from arrayinit.plot.scales import depth_scales
from arrayinit.reports.build import drawable_plan
from arrayinit.reports.statistics import Statistics, measure, values_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["depth", "weights"]

# Okabe and Ito's colours, which are distinct in all kinds of colour vision. Darkest first, without yellow.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
STYLES = ("-", "--", "-.", ":")
GREY = "#666666"
BARS, LINE = "#9ecae1", "#D55E00"

WIDEST = 8.0  # decades of a logarithmic axis: the digits of float32
LEAST, FEW = 0.7, 2.5  # decades: the fewest to show; below FEW, more labels than powers of ten
POINTS = 512  # of a curve
NAMED, NAME = 14, 22  # layers whose paths are below an axis, and characters of a path
ACROSS = 36  # characters of all paths that fit beside each other
MAX_BARS = 1 << 16  # bars of a histogram, and panels in a row


def depth(
    model: Any,
    recipes: Mapping[str, Any] | None = None,
    inputs: Any = None,
    *,
    title: str | None = None,
    xlabel: str = "layer",
    **options: Any,
) -> "Figure":
    """The scale of activations and of gradients through the depth of a model, a line for each recipe.

    Layers are named below the axis, every second or third where they are many, and the legend names initializers. The
    left panel shows the standard deviation of each layer's output, the right panel that of the gradient of the loss
    with respect to it, both on a logarithmic axis. A line that ends in a mark is 0 or not finite in the next layer.

        >>> from arrayinit.plot import DepthScale, depth
        >>> figure = depth(DepthScale("xavier", layers=("fc1", "fc2"), forward=(0.9, 0.7), backward=(0.8, 1.0)))
        >>> [ax.get_title(loc="left") for ax in figure.axes]
        ['activations', 'gradients']

    From a model, and written to a file:

        figure = depth(make_mlp, {"xavier": xavier_rules, "kaiming": kaiming_rules}, torch.randn(256, 128))
        figure.savefig("depth.png")

    Args:
        model: a model as for :func:`depth_scales`; or the scales that it returned, without recipes and inputs.
        recipes, inputs, **options: those of :func:`depth_scales`.
        title: above the figure.
        xlabel: the label of the axis of layers.

    Raises:
        ImportError: no matplotlib. TypeError, ValueError: as :func:`depth_scales`.
    """
    if isinstance(model, DepthScale):
        model = (model,)
    if isinstance(model, Sequence) and model and all(isinstance(scale, DepthScale) for scale in model):
        if recipes is not None or inputs is not None or options:
            raise TypeError("`recipes`, `inputs` and options go with a model; got them with scales")
        scales = tuple(model)
    elif recipes is None or inputs is None:
        raise TypeError(f"`recipes` and `inputs` must be given with a model; got {recipes!r} and {inputs!r}")
    else:
        scales = depth_scales(model, recipes, inputs, **options)
    figure = _new_figure(8.0, 3.6)
    axes = figure.subplots(1, 2, sharex=True)
    panels = (("activations", "std of the output", "forward"), ("gradients", "std of the gradient", "backward"))
    for ax, (name, label, field) in zip(axes, panels, strict=True):
        _draw_scales(ax, scales, field)
        _name_layers(ax, scales)
        ax.set_title(name, fontsize=10, loc="left")
        ax.set_xlabel(xlabel)
        ax.set_ylabel(label)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(len(labels), 4), frameon=False, fontsize=9,
        handlelength=3,
    )  # fmt: skip
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def _draw_scales(ax: "Axes", scales: Sequence[DepthScale], field: str) -> None:
    ranges = []
    for number, scale in enumerate(scales):
        values = np.array(getattr(scale, field))
        is_good = np.isfinite(values) & (values > 0)
        visible = np.where(is_good, values, np.nan)
        ranges.append(visible[is_good])
        colour, style = COLOURS[number % len(COLOURS)], STYLES[number % len(STYLES)]
        places = np.arange(1, len(values) + 1)
        mark = "o" if len(values) < 3 else ""
        ax.plot(places, visible, color=colour, linestyle=style, marker=mark, linewidth=1.8, label=_legend(scale))
        _mark_ends(ax, places, visible, values, colour)
    ax.set_yscale("log")
    low, high = _limits(np.concatenate(ranges))
    ax.set_ylim(low, high)
    _label_decades(ax, math.log10(high / low))
    _remove_frame(ax)
    ax.grid(axis="y", which="both" if math.log10(high / low) < FEW else "major", color="#dddddd", linewidth=0.7)


def _legend(scale: DepthScale) -> str:
    """The name of a recipe, and what draws the weights unless the name has a word of it."""
    words = re.findall("[a-z][a-z0-9]+", scale.initializer)
    is_said = not words or any(word in scale.recipe.lower() for word in words)
    return scale.recipe if is_said else f"{scale.recipe} ({scale.initializer})".lstrip()


def _name_layers(ax: "Axes", scales: Sequence[DepthScale]) -> None:
    """The paths of layers below the axis, of as many as fit; numbers where models have other layers."""
    from matplotlib.ticker import MaxNLocator

    paths = max((scale.layers for scale in scales), key=len)
    if any(scale.layers != paths[: len(scale.layers)] for scale in scales):
        ax.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1))
        return
    step = -(-len(paths) // NAMED)
    shown = [_shortened(path, NAME) for path in paths[::step]]
    ax.set_xticks(range(1, len(paths) + 1, step), shown, fontsize=7.5)
    if sum(map(len, shown)) > ACROSS:
        for label in ax.get_xticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")


def _label_decades(ax: "Axes", decades: float) -> None:
    """Label a logarithmic axis of few decades with plain numbers, also between the powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    if decades < FEW:
        plain = FuncFormatter(lambda value, place: f"{value:g}")
        ax.yaxis.set_major_formatter(plain)
        ax.yaxis.set_minor_locator(LogLocator(subs=(2.0, 3.0, 5.0, 7.0) if decades < 1 else (2.0, 5.0)))
        ax.yaxis.set_minor_formatter(plain)
    else:
        ax.yaxis.set_minor_locator(NullLocator())


def _mark_ends(ax: "Axes", places: Any, visible: Any, values: Any, colour: str) -> None:
    """Mark each end of a line before the last layer: down where the next value is 0, up where it is not finite."""
    for k in range(len(values)):
        if np.isfinite(visible[k]):
            for j in (k - 1, k + 1):
                if 0 <= j < len(values) and not np.isfinite(visible[j]) and not math.isnan(values[j]):
                    ax.plot(places[k], visible[k], color=colour, marker="v" if values[j] == 0 else "^", markersize=6)


def _limits(values: Any) -> tuple[float, float]:
    """The range of a logarithmic axis: that of the values, or of those WIDEST decades of them that are nearest to 1."""
    if not len(values):
        return 0.1, 10.0
    low, high = math.log10(values.min()), math.log10(values.max())
    if high - low > WIDEST:
        low = min(max(low, -WIDEST / 2), high - WIDEST)
        high = low + WIDEST
    pad = max(0.05 * (high - low), (LEAST - high + low) / 2)
    return 10 ** (low - pad), 10 ** (high + pad)


def weights(
    model: Any,
    rules: Any = None,
    *,
    layers: str | Callable[[str, tuple[int, ...]], bool] | None = None,
    bins: int = 48,
    columns: int = 3,
    title: str | None = None,
) -> "Figure":
    """A histogram of each weight of a model, with the density of its rule drawn over it.

    Where a rule gives one value with positive probability (the zeros of `sparse`), a line marks that value, and the
    panel is scaled to the other values. Arrays are read piece by piece, as for :func:`arrayinit.report`; real and
    imaginary parts of complex ones are counted together.

        >>> from arrayinit.plot import weights
        >>> figure = weights({"fc.weight": ai.xavier_uniform((64, 32), seed=0)}, {"*": ai.spec("xavier_uniform")})
        >>> figure.axes[0].get_title(loc="left")
        'fc.weight'

    Args:
        model: as for :func:`arrayinit.report`.
        rules: the rules that the model was drawn by; None draws no densities.
        layers: a glob on paths, or a predicate of path and shape. By default all parameters of two axes or more.
        bins: the number of bars of each histogram.
        columns: the number of panels in a row.
        title: above the figure.

    Raises:
        ImportError: no matplotlib.
        TypeError: a model or layers of another kind.
        ValueError: bins or columns out of range, no parameters with finite values among the layers.
    """
    for name, value in (("bins", bins), ("columns", columns)):
        number = as_integer(value)
        if number is None or not 1 <= number <= MAX_BARS:
            raise ValueError(f"`{name}` must be an integer from 1 to {MAX_BARS}; got {shown(value)}")
    if layers is not None and not isinstance(layers, str) and not callable(layers):
        raise TypeError(f"`layers` must be a glob, or a predicate of path and shape; got {shown(layers)}")
    members = members_of(model)
    chosen = [
        (member.parameter, x, moments)
        for member in members
        if _is_shown(layers, member.parameter.path, member.parameter.shape)
        and (moments := measure(x := _values(member, rules), member.parameter.dtype)) is not None
        and math.isfinite(moments.std)
    ]
    if not chosen:
        raise ValueError(f"`layers` must choose parameters of `model` that have finite values; got {shown(layers)}")
    planned: dict[str, Planned] = {}
    if rules is not None:
        whole = rules if isinstance(rules, Rules) else Rules(rules)
        plan, _ = drawable_plan([member.parameter for member in members], whole)
        planned = {entry.path: entry for entry in plan}
    across = min(columns, len(chosen))
    down = -(-len(chosen) // across)
    figure = _new_figure(8.0 * max(across, 2) / 3, 1.75 * down + 0.5)
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for ax, (parameter, x, moments) in zip(axes, chosen, strict=False):
        _draw_weights(ax, x, parameter.dtype, moments, bins, planned.get(parameter.path))
        size = shape_text(parameter.shape)
        ax.set_title(_shortened(parameter.path, 30), fontsize=8.5, loc="left", pad=14)
        ax.text(
            0, 1.03, f"{size}, std {moments.std:.3g}", transform=ax.transAxes, fontsize=7.5, color=GREY, va="bottom"
        )
    for ax in axes[len(chosen) :]:
        ax.set_visible(False)
    if planned:
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        handles = [Patch(color=BARS, label="drawn"), Line2D([], [], color=LINE, label="expected")]
        figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def _values(member: Member, rules: Any) -> Any:
    """The values to count: where rules give densities, those that were drawn, even if a layer transforms them."""
    return member.read() if rules is None or member.drawn is None else member.drawn()


def _is_shown(layers: Any, path: str, shape: tuple[int, ...]) -> bool:
    if layers is None:
        return len(shape) >= 2
    return fnmatch.fnmatchcase(path, layers) if isinstance(layers, str) else bool(layers(path, shape))


def _draw_weights(ax: "Axes", x: Any, dtype: str, moments: Statistics, bins: int, entry: Planned | None) -> None:
    low, high = moments.low, moments.high
    pad = 0.04 * (high - low) or abs(low) / 2 or 0.5
    # An odd number of bars puts the value of a constant array into the middle of one.
    edges = np.linspace(low, high, bins + 1) if low < high else np.linspace(low - pad, high + pad, 2 * (bins // 2) + 2)
    points = np.linspace(low - pad, high + pad, POINTS)
    counts = np.zeros(len(edges) - 1)
    for _, piece in values_of(x, dtype):
        for part in (piece.real, piece.imag) if np.iscomplexobj(piece) else (piece,):
            counts += np.histogram(part[np.isfinite(part)], edges)[0]
    heights = counts / counts.sum() / np.diff(edges)
    ax.stairs(heights, edges, fill=True, color=BARS)
    expected = _expected(entry, dtype, points)
    top = float(heights.max())
    if expected is not None:
        curve, atoms = expected.curve, expected.atoms
        if curve.any():
            ax.plot(points, curve, color=LINE, linewidth=1.4)
            if atoms:  # the bar of a frequent value would leave the others too low to be seen
                top = min(top, 1.3 * float(curve.max()))
        _draw_atoms(ax, atoms, has_curve=bool(curve.any()))
    ax.set_ylim(0, 1.12 * top)
    ax.set_xlim(points[0], points[-1])
    ax.set_yticks([])
    ax.tick_params(labelsize=7.5)
    ax.locator_params(axis="x", nbins=5)
    _remove_frame(ax)
    ax.spines["left"].set_visible(False)


def _draw_atoms(ax: "Axes", atoms: Mapping[float, float], has_curve: bool) -> None:
    """Mark values of positive probability: a line as high as the panel, and their share."""
    for value, share in atoms.items():
        ax.axvline(value, color=LINE, linewidth=1.4, linestyle=":" if has_curve else "-")
        if has_curve or len(atoms) > 1:
            ax.annotate(
                f"{share:.3g} are {value:.3g}", (value, 0.97), xycoords=("data", "axes fraction"), fontsize=7,
                color=GREY, xytext=(8, 0), textcoords="offset points", va="top",
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
            )  # fmt: skip


def _expected(entry: Planned | None, dtype: str, x: Any) -> Density | None:
    if entry is None or entry.job is None:
        return None
    return density(entry.job.law, entry.job.geometry, dtype, x)


def _new_figure(width: float, height: float) -> "Figure":
    try:
        from arrayinit.plot.canvas import Figure
    except ImportError as error:
        raise missing_library("arrayinit.plot", "matplotlib", "plot", error) from error
    return Figure(figsize=(width, height), dpi=100, layout="constrained", facecolor="white")


def _remove_frame(ax: "Axes") -> None:
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.set_axisbelow(True)


def _shortened(path: str, limit: int) -> str:
    """A path, cut at its start where it is too long for its panel."""
    return path if len(path) <= limit else "\N{HORIZONTAL ELLIPSIS}" + path[1 - limit :]
