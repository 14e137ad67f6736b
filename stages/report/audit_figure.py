"""audit of a store -> picture: what k ranks keep, leave out, tell and cost."""

from collections.abc import Callable

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
from storage.care.audit import LOW, RankAudit, StoreAudit

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
    _line(axes, audit, lambda rank: 100 * rank.kept_mass, BLUE, "o", "kept mass, mean")
    _line(
        axes,
        audit,
        lambda rank: 100 * rank.kept_mass_low,
        GREY,
        "v",
        f"kept mass, lowest {LOW:.0%} of frames",
    )
    if audit.agreement is not None:
        _line(
            axes,
            audit,
            lambda rank: 100 * (rank.hard_label_inside or 0.0),
            ORANGE,
            "s",
            "hard label is among the k",
        )
    axes.set_ylim(-2, 103)
    axes.set_ylabel("% of probability, of frames")
    axes.set_title("What k ranks keep")
    axes.legend(loc="best")


def _draw_tail(axes: Axes, audit: StoreAudit) -> None:
    _line(axes, audit, lambda rank: rank.tail, VERMILLION, "^", "tail")
    tails = [rank.tail for rank in audit.ranks]
    if max(tails) > DECADE * min(tails) > 0:
        log_along_y(axes)
        axes.set_ylabel("mean probability outside (log scale)")
    else:
        axes.set_ylim(bottom=0)
        axes.set_ylabel("mean probability outside")
    axes.set_title("The tail")


def _draw_entropy(axes: Axes, audit: StoreAudit) -> None:
    _line(axes, audit, lambda rank: rank.entropy, GREEN, "D", "entropy")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("nats a frame")
    axes.set_title("Entropy of k ranks and the tail")


def _draw_cost(axes: Axes, audit: StoreAudit) -> None:
    _line(axes, audit, lambda rank: rank.bytes_per_frame, BLUE, "o", "store")
    for rank in audit.ranks:
        axes.annotate(
            f"{rank.bytes_per_frame:.3g}",
            (rank.k, rank.bytes_per_frame),
            (0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )
    dense = audit.dense_bytes_per_frame
    axes.axhline(dense, color=GREY, linestyle="--")
    axes.annotate(
        f"dense float32: {dense:,}",
        (audit.ranks[0].k, dense),
        (0, -14),
        textcoords="offset points",
        color=GREY,
    )
    log_along_y(axes)
    low = min(rank.bytes_per_frame for rank in audit.ranks)
    axes.set_ylim(bottom=low / 2 if low else None, top=dense * 2)
    axes.set_ylabel("bytes a frame (log scale)")
    axes.set_title("What k ranks cost to read")


def _line(
    axes: Axes,
    audit: StoreAudit,
    height: Callable[[RankAudit], float],
    colour: str,
    marker: str,
    label: str,
) -> None:
    ks = [rank.k for rank in audit.ranks]
    heights = [height(rank) for rank in audit.ranks]
    axes.plot(ks, heights, color=colour, marker=marker, label=label)
    ranks_along_x(axes, ks)
