"""audit of a store -> picture: kept mass, tail, entropy and cost against k."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.report.drawing import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    VERMILLION,
    log_along_y,
    new_figure,
    ranks_along_x,
)
from storage.care.store_audit import PERCENTILES, StoreAudit

DECADE = 10


def draw_audit(audit: StoreAudit) -> Figure:
    """Four panels over k."""
    figure = new_figure(width=10.5, height=7.2)
    (mass, tail), (entropy, cost) = figure.subplots(2, 2)
    figure.suptitle(
        f"{audit.split}: {audit.num_frames:,} frames, K = {audit.kept} of {audit.num_classes} "
        f"classes, store {audit.digest[:12]}",
        x=0.01,
        ha="left",
    )
    _draw_mass(mass, audit)
    _draw_tail(tail, audit)
    _draw_entropy(entropy, audit)
    _draw_cost(cost, audit)
    return figure


def _draw_mass(axes: Axes, audit: StoreAudit) -> None:
    _line(axes, _percent(audit.kept_mass), BLUE, "o", "kept mass, mean")
    lowest = {k: spread[0] for k, spread in audit.kept_mass_percentiles.items()}
    label = f"kept mass, lowest {PERCENTILES[0]} % of frames"
    _line(axes, _percent(lowest), GREY, "v", label)
    if audit.hard_label_inside:
        _line(axes, _percent(audit.hard_label_inside), ORANGE, "s", "hard label is among the k")
    axes.set_ylim(-2, 103)
    axes.set_ylabel("% of probability, of frames")
    axes.set_title("What k ranks keep")
    axes.legend(loc="best")


def _draw_tail(axes: Axes, audit: StoreAudit) -> None:
    tails = {k: audit.tail(k) for k in audit.kept_mass}
    _line(axes, tails, VERMILLION, "^", "tail")
    if max(tails.values()) > DECADE * min(tails.values()) > 0:
        log_along_y(axes)
        axes.set_ylabel("mean probability outside (log scale)")
    else:
        axes.set_ylim(bottom=0)
        axes.set_ylabel("mean probability outside")
    axes.set_title("The tail")


def _draw_entropy(axes: Axes, audit: StoreAudit) -> None:
    _line(axes, audit.entropy, GREEN, "D", "entropy")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("nats per frame")
    axes.set_title("Entropy of k ranks and the tail")


def _draw_cost(axes: Axes, audit: StoreAudit) -> None:
    _line(axes, audit.bytes_per_frame, BLUE, "o", "store")
    for k, size in audit.bytes_per_frame.items():
        axes.annotate(
            f"{size:.3g}", (k, size), (0, 8), textcoords="offset points", ha="center", fontsize=9
        )
    dense = audit.dense_bytes_per_frame
    axes.axhline(dense, color=GREY, linestyle="--")
    axes.annotate(
        f"dense float32: {dense:,}",
        (1, dense),
        (0, -14),
        textcoords="offset points",
        color=GREY,
    )
    log_along_y(axes)
    low = min(audit.bytes_per_frame.values())
    axes.set_ylim(bottom=low / 2 if low else None, top=dense * 2)
    axes.set_ylabel("bytes per frame (log scale)")
    axes.set_title("What k ranks cost to read")


def _percent(shares: Mapping[int, float]) -> dict[int, float]:
    return {k: 100 * share for k, share in shares.items()}


def _line(axes: Axes, heights: Mapping[int, float], colour: str, marker: str, label: str) -> None:
    axes.plot(list(heights), list(heights.values()), color=colour, marker=marker, label=label)
    ranks_along_x(axes, list(heights))
