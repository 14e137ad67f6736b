"""reliability bins -> picture: accuracy against confidence, and ECE of each group."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.contract.results import ReliabilityBin
from stages.report.drawing import GREY, new_figure
from stages.report.figures.looks import look_of, named_groups
from stages.report.frame_means import expected_error, mean_bins
from stages.report.statistics.comparisons import Comparisons

FEWEST = 0.001  # share of frames; bins with fewer are not drawn


def draw_calibration(comparisons: Comparisons) -> Figure | None:
    """Left: reliability of the named groups. Right: calibration error against dev WER."""
    curves = [
        (named, bins) for named in named_groups(comparisons) if (bins := mean_bins(named.group))
    ]
    if not curves:
        return None
    figure = new_figure(width=10, height=4.6)
    left, right = figure.subplots(1, 2)
    left.plot([0, 100], [0, 100], color=GREY, linewidth=1)
    for named, bins in curves:
        known = _enough(bins)
        left.plot(
            [100 * part.confidence for part in known],
            [100 * part.accuracy for part in known],
            color=named.look.colour,
            linestyle=named.dash,
            marker=named.look.marker,
            markersize=5,
            label=f"{named.label}: ECE {100 * (expected_error(named.group) or 0):.1f} %",
        )
    left.set_xlabel("confidence: highest posterior (%)")
    left.set_ylabel("accuracy: frames that are right (%)")
    left.set_title("Reliability on dev: the line is perfect calibration")
    left.legend(loc="upper left")
    _draw_errors(right, comparisons)
    return figure


def _enough(bins: Sequence[ReliabilityBin]) -> list[ReliabilityBin]:
    total = sum(part.num_frames for part in bins)
    return [part for part in bins if part.num_frames > FEWEST * total]


def _draw_errors(axes: Axes, comparisons: Comparisons) -> None:
    seen = set()
    for group in comparisons.groups:
        error, rate = expected_error(group), group.word_error_rate("dev")
        if error is None or rate is None:
            continue
        look = look_of(group, comparisons)
        axes.plot(
            100 * error,
            100 * rate,
            look.marker,
            color=look.colour,
            markeredgecolor="white",
            markersize=7,
            label=None if look.plural in seen else look.plural,
        )
        seen.add(look.plural)
    axes.set_xlim(left=0)
    axes.set_xlabel("expected calibration error (%)")
    axes.set_ylabel("dev word error rate (%)")
    axes.set_title("Calibration and word errors")
    axes.legend(loc="best")
