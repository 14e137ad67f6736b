"""kept mass -> picture: its spread over the frames, against k."""

from matplotlib.figure import Figure

from stages.report.drawing import BLUE, new_figure, ranks_along_x
from stages.report.kept_mass import PERCENTILES, KeptMass

MOST_TICKS = 9


def draw_kept_mass(mass: KeptMass) -> Figure:
    """The median and two bands."""
    figure = new_figure(width=6.5, height=4)
    axes = figure.subplots()
    ks = sorted(mass.by_rank)
    curves = [[100 * mass.by_rank[k][i] for k in ks] for i in range(len(PERCENTILES))]
    axes.fill_between(
        ks, curves[0], curves[4], color=BLUE, alpha=0.15, linewidth=0, label="9 of 10 frames"
    )
    axes.fill_between(
        ks, curves[1], curves[3], color=BLUE, alpha=0.3, linewidth=0, label="half of the frames"
    )
    axes.plot(ks, curves[2], color=BLUE, marker="o", markersize=4, label="median frame")
    ranks_along_x(axes, ks)
    powers = [k for k in ks if k & (k - 1) == 0 or k == ks[-1]][:MOST_TICKS]
    axes.set_xticks(powers, [str(k) for k in powers])
    axes.set_ylim(top=101)
    axes.set_ylabel("probability in the first k ranks (%)")
    axes.set_title(f"Mass that k ranks keep, {mass.split}")
    axes.legend(loc="lower right")
    return figure
