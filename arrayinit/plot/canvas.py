"""A figure of matplotlib that a notebook shows without magics, and without pyplot."""

import io
from typing import Any

import matplotlib.figure

__all__ = ["Figure"]

SHARP = 2  # pixels of the picture for each pixel of the page, as on most screens


class Figure(matplotlib.figure.Figure):
    """A figure that makes a picture of itself where a notebook asks for one."""

    def _repr_png_(self) -> tuple[bytes, dict[str, Any]]:
        """The picture as a PNG file, with the size in pixels at which a page shows it."""
        width, height = self.get_size_inches() * self.dpi
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=SHARP * self.dpi)
        return file.getvalue(), {"width": round(width), "height": round(height)}
