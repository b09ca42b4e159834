"""The style of all figures: colours, an empty canvas, ticks, titles. Its import needs neither torch nor matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pytest_interp.errors import UsageError
from pytest_interp.table import name_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, BLUE, RED, GREY = "#222222", "#2a6f97", "#b23a48", "#b8b8b8"


class MatplotlibMissing(UsageError, ImportError):
    """matplotlib is not installed; also an ImportError, since the import of ``figures`` raises it."""


def require_matplotlib() -> None:
    """Checks, without importing it, that matplotlib is installed.

    Raises:
        MatplotlibMissing: matplotlib is not installed; the message says how to install it.
    """
    if find_spec("matplotlib") is None:
        raise MatplotlibMissing("figures need matplotlib: pip install 'pytest-interp[figures]'")


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure of this size in inches, and its axes without a frame.

    Args:
        width: in inches.
        height: in inches.
    """
    figure, (axes,) = grid(width, height, 1, 1)
    return figure, axes


def grid(width: float, height: float, rows: int, columns: int) -> tuple[Figure, list[Axes]]:
    """An empty figure with several axes without frames, row by row.

    Args:
        width: of the figure in inches.
        height: of the figure in inches.
        rows: number of rows of axes.
        columns: number of axes in a row.
    """
    from matplotlib.figure import Figure as MatplotlibFigure

    figure = MatplotlibFigure(figsize=(width, height), layout="constrained", dpi=110)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels:
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return figure, panels


def ticks(axes: Axes, axis: str, labels: Sequence[Any], name: str, *, all_labels: bool = False) -> None:
    """Ticks with labels; of many labels only every second, third and so on is shown, unless ``all_labels``.

    Args:
        axes: that get them.
        axis: ``x`` or ``y``.
        labels: of the places 0, 1, 2 and so on.
        name: of the axis.
        all_labels: whether every label is shown.
    """
    step = 1 if all_labels or len(labels) <= 16 or (axis == "y" and len(labels) <= 40) else -(-len(labels) // 12)
    places = list(range(0, len(labels), step))
    texts = [name_of(label) for label in labels]
    steep = axis == "x" and max(map(len, texts)) * len(places) > 60
    getattr(axes, f"set_{axis}ticks")(places, [texts[i] for i in places], fontsize=8, rotation=45 if steep else 0)
    getattr(axes, f"set_{axis}label")(name)


def titled(figure: Figure, axes: Axes, title: str) -> Figure:
    """The figure, with a title above the axes.

    Args:
        figure: to which the axes belong.
        axes: that get the title.
        title: may be empty.
    """
    axes.set_title(title, fontsize=9, loc="left")
    return figure


def words(quantity: str) -> str:
    """The name of a quantity with spaces.

    Args:
        quantity: such as ``logit_diff``.
    """
    return quantity.replace("_", " ")
