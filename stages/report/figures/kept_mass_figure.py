"""audit of a store -> picture: how kept mass spreads over the frames, against k."""

from matplotlib.figure import Figure

from stages.report.drawing import GREY, WIDTH, new_figure, ranks_along_x
from storage.care.store_audit import PERCENTILES, StoreAudit


def draw_kept_mass(audit: StoreAudit) -> Figure:
    """The median and two bands."""
    figure = new_figure(width=WIDTH, height=3.8)
    axes = figure.subplots()
    ks = list(audit.kept_mass_percentiles)
    low, lower, median, upper, high = (
        [100 * audit.kept_mass_percentiles[k][i] for k in ks] for i in range(len(PERCENTILES))
    )
    axes.fill_between(ks, low, high, color=GREY, alpha=0.15, linewidth=0, label="9 of 10 frames")
    axes.fill_between(ks, lower, upper, color=GREY, alpha=0.3, linewidth=0, label="half the frames")
    axes.plot(ks, median, color=GREY, marker="o", markersize=4, label="median frame")
    ranks_along_x(axes, ks)
    axes.set_ylim(top=101)
    axes.set_ylabel("probability in the first k ranks (%)")
    axes.set_title(f"Mass that k ranks keep, {audit.split}")
    axes.legend(loc="lower right")
    return figure
