"""comparisons, store figures -> pictures over k: word errors, bytes."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.contract.results import TeacherSummary
from stages.report.drawing import (
    BLACK,
    GREY,
    MARKERS,
    ORANGE,
    SERIES,
    log_along_y,
    new_figure,
    ranks_along_x,
)
from stages.report.ranking import word_error_rate
from stages.report.statistics.comparisons import Comparisons
from stages.report.statistics.groups import SystemGroup, of_role

SPREAD = 0.09  # doublings of k between two families at the same k
MOST_FAMILIES = 6  # drawn with colour and name; the others are grey
COLOURS = [
    colour for colour in SERIES if colour not in (BLACK, ORANGE)
]  # colours of hard labels and ensemble
Family = dict[int, SystemGroup]  # by k


def draw_ranks(comparisons: Comparisons) -> Figure | None:
    """Test WER against k, a line for each family of students; None if there are none.

    All are of one architecture: next to hard labels of another one, a curve over k would mislead.
    """
    families = families_of(comparisons)
    if not families:
        return None
    figure = new_figure(width=8.5, height=5)
    axes = figure.subplots()
    _draw_rivals(axes, comparisons, architecture_of(families))
    names = list(families)
    for name in names[MOST_FAMILIES:]:
        family = families[name]
        heights = [100 * (family[k].word_error_rate("test") or 0.0) for k in family]
        axes.plot(list(family), heights, color="#cfcfcf", linewidth=1, zorder=0.5)
    for number, name in enumerate(names[:MOST_FAMILIES]):
        offset = number - (min(len(names), MOST_FAMILIES) - 1) / 2
        _draw_family(axes, families[name], comparisons, name=name, offset=offset, number=number)
    ranks_along_x(axes, sorted({k for family in families.values() for k in family}))
    axes.set_ylabel("test word error rate (%)")
    axes.set_title(f"Word errors of {architecture_of(families)} against k, with 95 % intervals")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
    return figure


def families_of(comparisons: Comparisons) -> dict[str, Family]:
    """Groups on soft labels by the settings in their name except k; the best on dev first.

    Only the architecture with most values of k, preferably that of the chosen group. Of two groups
    with the same k and name, the one that is better on dev is drawn.
    """
    found = [
        group
        for group in sorted(of_role(comparisons.groups, "soft-label student"), key=_dev_rate)
        if group.k is not None and group.word_error_rate("test") is not None
    ]
    tried: dict[str, set[int | None]] = {}
    for group in found:
        tried.setdefault(group.architecture, set()).add(group.k)
    chosen = comparisons.chosen.architecture if comparisons.chosen else ""
    most = max(tried, key=lambda name: (len(tried[name]), name == chosen), default="")
    families: dict[str, Family] = {}
    for group in found:
        if group.k is not None and group.architecture == most:
            families.setdefault(family_name(group), {}).setdefault(group.k, group)
    return {name: dict(sorted(family.items())) for name, family in families.items()}


def architecture_of(families: Mapping[str, Family]) -> str:
    """The architecture of all families."""
    return next(group.architecture for family in families.values() for group in family.values())


def family_name(group: SystemGroup) -> str:
    """The group's name without its k and seed: `hard=0.2 tail=bucket`."""
    words = (word for word in group.name.split() if word != f"k={group.k}")
    return " ".join(word for word in words if not word.startswith("seed="))


def _dev_rate(group: SystemGroup) -> float:
    rate = group.word_error_rate("dev")
    return float("inf") if rate is None else rate


def _draw_rivals(axes: Axes, comparisons: Comparisons, architecture: str) -> None:
    hard = [
        found.rival
        for found in comparisons.to_hard.values()
        if found.group.architecture == architecture and found.group.k is not None
    ]
    for rival, name, colour, dash in (
        (next(iter(hard), None), "hard labels", BLACK, "--"),
        (comparisons.ensemble, "ensemble", ORANGE, "-."),
    ):
        rate = rival.word_error_rate("test") if rival else None
        if rival is None or rate is None:
            continue
        axes.axhline(100 * rate, color=colour, linestyle=dash, label=name, zorder=1)
        if interval := comparisons.intervals.get(rival.key):
            low, high = 100 * interval.low, 100 * interval.high
            axes.axhspan(low, high, color=colour, alpha=0.08, linewidth=0, zorder=0)


def _draw_family(
    axes: Axes, family: Family, comparisons: Comparisons, *, name: str, offset: float, number: int
) -> None:
    colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    places = [k * 2 ** (SPREAD * offset) for k in family]
    heights = [100 * (group.word_error_rate("test") or 0.0) for group in family.values()]
    axes.plot(
        places,
        heights,
        color=colour,
        marker=marker,
        label=f"soft labels, {name}" if name else "soft labels",
    )
    for place, height, group in zip(places, heights, family.values(), strict=True):
        if interval := comparisons.intervals.get(group.key):
            spread = (
                [max(0.0, height - 100 * interval.low)],
                [max(0.0, 100 * interval.high - height)],
            )
            axes.errorbar(
                place, height, yerr=spread, color=colour, capsize=3, elinewidth=1.1, linestyle=""
            )
        if len(group.results) > 1:
            seeds = [100 * (word_error_rate(split) or 0.0) for split in group.splits("test")]
            axes.plot([place] * len(seeds), seeds, ".", color=colour, alpha=0.35, markersize=5)


def draw_bytes(teacher: TeacherSummary) -> Figure | None:
    """Bytes per frame that a reader of k ranks opens, next to dense float32."""
    stores = [store for store in teacher.stores if store.bytes_per_frame]
    if not stores:
        return None
    figure = new_figure(width=6.5, height=4)
    axes = figure.subplots()
    ks = sorted({k for store in stores for k in store.bytes_per_frame})
    for store, colour, marker in zip(stores, SERIES, MARKERS, strict=False):
        own = sorted(store.bytes_per_frame)
        heights = [store.bytes_per_frame[k] for k in own]
        axes.plot(own, heights, color=colour, marker=marker, label=f"store, {store.split}")
    num_classes = stores[0].num_classes
    dense = 4 * num_classes
    axes.axhline(dense, color=GREY, linestyle="--", label=f"dense float32 ({num_classes} classes)")
    for k, height in stores[0].bytes_per_frame.items():
        below = (0, -16)
        axes.annotate(f"{height:.3g}", (k, height), below, textcoords="offset points", ha="center")
    ranks_along_x(axes, ks)
    log_along_y(axes)
    axes.set_ylim(bottom=min(stores[0].bytes_per_frame.values()) / 2.5, top=dense * 2)
    axes.set_ylabel("bytes per frame (log scale)")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    return figure
