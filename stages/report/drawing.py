"""Drawing: colours, sizes and the way from a figure to the bytes of a PNG. No pyplot, no state."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import fill

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

# Okabe and Ito: distinct for all kinds of colour vision. Without yellow: too faint on white.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#666666"
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
GRID, PAPER, FAINT = "#e3e3e3", "#ffffff", "#cfcfcf"
# Names of the page's variables, which have another value in dark mode (page.css).
COLOUR_NAMES = {
    colour.lower(): name
    for name, colour in {
        "ink": BLACK,
        "orange": ORANGE,
        "sky": SKY,
        "green": GREEN,
        "blue": BLUE,
        "vermillion": VERMILLION,
        "purple": PURPLE,
        "grey": GREY,
        "grid": GRID,
        "paper": PAPER,
        "faint": FAINT,
    }.items()
}
DASHES = ("-", "--", ":", "-.", (0, (6, 1.5, 1, 1.5, 1, 1.5)), (0, (1, 3)))
WIDTH = 4.9  # inches: a picture that is read on a phone without magnifying
SHORT_LABEL, LONGEST_LINE = 22, 54  # characters: of a legend in two columns; of a line in it
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SHORT_AXIS = 100  # ratio of highest to lowest value, below which ticks are more than powers of ten

AXES = {
    "grid": True,
    "spines.right": False,
    "spines.top": False,
    "titlesize": 11,
    "titleweight": "bold",
    "titlelocation": "left",
    "axisbelow": True,
}


@contextmanager
def house_style() -> Iterator[None]:
    """The style of all figures, independent of the user's matplotlibrc."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rc("axes", **AXES)
        mpl.rc("font", family=["DejaVu Sans"], size=10)
        mpl.rc("grid", color=GRID)
        mpl.rc("legend", frameon=False, fontsize=9)
        mpl.rc("lines", linewidth=1.8)
        mpl.rc("text", parse_math=False)  # a $ in a name is a $
        # A name in a script that the font lacks is shown as boxes; the page has it as text.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        yield


def new_figure(*, width: float, height: float) -> Figure:
    """An empty figure; width and height in inches."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def legend_below(figure: Figure) -> None:
    """One legend of all axes under the picture, each label once; long labels have a line each."""
    found = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if not found:
        return
    labels = [fill(label, LONGEST_LINE) for label in found]
    ncols = 2 if max(map(len, labels)) <= SHORT_LABEL else 1
    figure.legend(list(found.values()), labels, loc="outside lower center", ncols=ncols)


def to_png(figure: Figure, *, dots_per_inch: int) -> bytes:
    """The picture. Without a date or a program version: the same figure gives the same bytes."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=dots_per_inch, metadata={"Software": None})
    return content.getvalue()


def ranks_along_x(axes: Axes, ks: list[int]) -> None:
    """A logarithmic axis with a tick at each k."""
    axes.set_xscale("log", base=2)
    axes.set_xlim(min(ks) / 1.5, max(ks) * 1.5)
    axes.set_xticks(ks, [str(k) for k in ks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("k (ranks kept per frame)")


def log_along_y(axes: Axes) -> None:
    """A logarithmic axis with plain numbers: 0.1, 1, 10; on a short one 0.2, 0.5 and so on too.

    Matplotlib's own labels are formulas, and formulas are off: a `$` in a name must stay a `$`.
    """

    def between(value: float, _: int) -> str:
        low, high = axes.get_ylim()
        is_short = high < SHORT_AXIS * low
        return f"{value:g}" if is_short and f"{value:e}"[0] in "25" else ""

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(between))
