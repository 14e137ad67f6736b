"""reliability bins -> pictures: accuracy against confidence, and ECE of each group."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from stages.contract.results import ReliabilityBin
from stages.report.drawing import GREY, PAPER, WIDTH, legend_below, new_figure
from stages.report.figures.looks import look_of, named_groups
from stages.report.frame_means import expected_error, mean_bins
from stages.report.statistics.comparisons import Comparisons

FEWEST = 0.001  # share of frames; bins with fewer are not drawn


def draw_reliability(comparisons: Comparisons) -> Figure | None:
    """Accuracy against confidence of the named groups; None if no bins are known."""
    curves = [
        (named, bins) for named in named_groups(comparisons) if (bins := mean_bins(named.group))
    ]
    if not curves:
        return None
    figure = new_figure(width=WIDTH, height=4.6)
    axes = figure.subplots()
    axes.plot([0, 100], [0, 100], color=GREY, linewidth=1)
    for named, bins in curves:
        known = _enough(bins)
        axes.plot(
            [100 * part.confidence for part in known],
            [100 * part.accuracy for part in known],
            color=named.look.colour,
            linestyle=named.dash,
            marker=named.look.marker,
            markersize=5,
            label=f"{named.label}: ECE {100 * (expected_error(named.group) or 0):.1f} %",
        )
    axes.set_xlabel("confidence: highest posterior (%)")
    axes.set_ylabel("accuracy: frames that are right (%)")
    axes.set_title("Reliability on dev: the line is perfect")
    legend_below(figure)
    return figure


def _enough(bins: Sequence[ReliabilityBin]) -> list[ReliabilityBin]:
    total = sum(part.num_frames for part in bins)
    return [part for part in bins if part.num_frames > FEWEST * total]


def draw_calibration(comparisons: Comparisons) -> Figure | None:
    """Calibration error against word error rate on dev, a dot for each group."""
    known = [
        (group, error, rate)
        for group in comparisons.groups
        if (error := expected_error(group)) is not None
        and (rate := group.word_error_rate("dev")) is not None
    ]
    if not known:
        return None
    figure = new_figure(width=WIDTH, height=4.6)
    axes = figure.subplots()
    for group, error, rate in known:
        look = look_of(group, comparisons)
        axes.plot(
            100 * error,
            100 * rate,
            look.marker,
            color=look.colour,
            markeredgecolor=PAPER,
            markersize=7,
            label=look.plural,
        )
    axes.set_xlim(left=0)
    axes.set_xlabel("expected calibration error (%)")
    axes.set_ylabel("dev word error rate (%)")
    axes.set_title("Calibration and word errors")
    legend_below(figure)
    return figure
