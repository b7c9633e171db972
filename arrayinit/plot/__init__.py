"""Figures of models before training: histograms of weights, and scales of activations and gradients through depth.

Figures need matplotlib. They are `matplotlib.figure.Figure`, without pyplot: no display, no window, no global state.
`figure.savefig("depth.png")` writes it. A notebook shows a figure that ends a cell; no magic is needed.
"""

from arrayinit.plot.figures import depth, weights
from arrayinit.plot.measures import DepthScale
from arrayinit.plot.scales import depth_scales

__all__ = ["DepthScale", "depth", "depth_scales", "weights"]


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
