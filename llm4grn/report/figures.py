"""Figures of one look: size, colours, and how they are written."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
# Okabe and Ito's palette, told apart under every common colour blindness: green, blue, vermilion, then the rest.
COLOURS = ("#009e73", "#0072b2", "#d55e00", "#cc79a7", "#e69f00", "#56b4e9")
INK = "#333333"


def panels(n_rows: int, n_columns: int, width: float, height: float) -> tuple[Figure, np.ndarray[tuple, Axes]]:
    """A figure that belongs to no window and no global state, with its axes in an array (n_rows, n_columns)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class Shown(Figure):
        """A figure that a notebook shows by itself."""

        def _repr_png_(self) -> bytes:
            self.savefig(content := BytesIO(), dpi=DPI, format="png", facecolor="white")
            return content.getvalue()

    figure = Shown(figsize=(width * n_columns, height * n_rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(n_rows, n_columns, squeeze=False)


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG, the same bytes for the same figure; its folder is made if it does not exist."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, format="png", facecolor="white", metadata={"Software": None})
    return path
