"""comparisons, store figures -> pictures over k: differences in word errors, bytes."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.contract.results import TeacherSummary
from stages.report.drawing import (
    DASHES,
    FAINT,
    GREY,
    MARKERS,
    WIDTH,
    legend_below,
    log_along_y,
    new_figure,
    ranks_along_x,
)
from stages.report.figures.looks import CHOSEN, LOOKS, Look, look_of
from stages.report.ranking import word_error_rate
from stages.report.statistics.comparison import Comparison
from stages.report.statistics.comparisons import Comparisons
from stages.report.statistics.groups import SystemGroup, of_role

SPREAD = 0.09  # doublings of k between two families at the same k
MOST_FAMILIES = 6  # drawn with colour and name; the others are grey
Family = dict[int, SystemGroup]  # by k


def draw_ranks(comparisons: Comparisons) -> Figure | None:
    """Difference of test WER against k, a line for each family of students.

    The rival are hard labels, or the ensemble if there are none; None without both. Differences are
    those of the tables, with the intervals of paired draws: intervals of the rates themselves would
    overlap where the difference is clear. All students are of one architecture: next to hard labels
    of another one, a curve over k would mislead.
    """
    families = families_of(comparisons)
    shown = [group for family in families.values() for group in family.values()]
    rivals = ("hard labels", comparisons.to_hard), ("the ensemble", comparisons.to_ensemble)
    rival, found = next(
        (each for each in rivals if any(group.key in each[1] for group in shown)), ("", {})
    )
    if not found:
        return None
    figure = new_figure(width=WIDTH, height=4.4)
    axes = figure.subplots()
    colour = LOOKS["hard-label student" if rival == "hard labels" else "ensemble"].colour
    axes.axhline(0, color=colour, linestyle="--", label=rival, zorder=1)
    if rival == "hard labels":
        _draw_ensemble(axes, comparisons, shown[0])
    names = list(families)
    for name in names[MOST_FAMILIES:]:
        line = [found[group.key] for group in families[name].values() if group.key in found]
        deltas = [100 * comparison.difference.delta for comparison in line]
        axes.plot([c.group.k or 1 for c in line], deltas, color=FAINT, linewidth=1, zorder=0.5)
    for number, name in enumerate(names[:MOST_FAMILIES]):
        line = [found[group.key] for group in families[name].values() if group.key in found]
        offset = number - (min(len(names), MOST_FAMILIES) - 1) / 2
        look = _look_of_family(families[name], comparisons)
        _draw_family(axes, line, look, name=name, offset=offset, number=number)
    ranks_along_x(axes, sorted({k for family in families.values() for k in family}))
    axes.set_ylabel(f"test WER, points vs. {rival}")
    axes.set_title(f"{architecture_of(families)}: below the line is better")
    legend_below(figure)
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


def _draw_ensemble(axes: Axes, comparisons: Comparisons, student: SystemGroup) -> None:
    """The ensemble's difference, if it is to the same hard labels as the student's."""
    ensemble = comparisons.ensemble
    found = comparisons.to_hard.get(ensemble.key) if ensemble else None
    own = comparisons.to_hard.get(student.key)
    if found is None or own is None or found.rival.key != own.rival.key:
        return
    delta, interval = found.difference.delta, found.difference.interval
    colour = LOOKS["ensemble"].colour
    axes.axhline(100 * delta, color=colour, linestyle="-.", label="ensemble", zorder=1)
    low, high = 100 * interval.low, 100 * interval.high
    axes.axhspan(low, high, color=colour, alpha=0.1, linewidth=0, zorder=0)


def _look_of_family(family: Family, comparisons: Comparisons) -> Look:
    looks = [look_of(group, comparisons) for group in family.values()]
    return CHOSEN if CHOSEN in looks else looks[0]


def _draw_family(
    axes: Axes, line: list[Comparison], look: Look, *, name: str, offset: float, number: int
) -> None:
    places = [(found.group.k or 1) * 2 ** (SPREAD * offset) for found in line]
    axes.plot(
        places,
        [100 * found.difference.delta for found in line],
        color=look.colour,
        linestyle=DASHES[number % len(DASHES)],
        marker=MARKERS[number % len(MARKERS)],
        label=f"soft labels, {name}" if name else "soft labels",
    )
    for place, found in zip(places, line, strict=True):
        low, high = 100 * found.difference.interval.low, 100 * found.difference.interval.high
        axes.plot([place] * 2, [low, high], color=look.colour, linewidth=1.1)
        seeds = seed_differences(found)
        if len(seeds) > 1:
            axes.plot([place] * len(seeds), seeds, ".", color=look.colour, alpha=0.35, markersize=5)


def seed_differences(found: Comparison) -> list[float]:
    """In points, of each seed: to the rival of the same seed if paired, otherwise to its mean."""
    rates = [word_error_rate(split) or 0.0 for split in found.group.splits("test")]
    rivals = [word_error_rate(split) or 0.0 for split in found.rival.splits("test")]
    if not found.paired or len(rivals) != len(rates):
        rivals = [sum(rivals) / len(rivals)] * len(rates)
    return [100 * (rate - rival) for rate, rival in zip(rates, rivals, strict=True)]


def draw_bytes(teacher: TeacherSummary) -> Figure | None:
    """Bytes per frame that a reader of k ranks opens, next to dense float32."""
    stores = [store for store in teacher.stores if store.bytes_per_frame]
    if not stores:
        return None
    figure = new_figure(width=WIDTH, height=4)
    axes = figure.subplots()
    ks = sorted({k for store in stores for k in store.bytes_per_frame})
    for store, dash, marker in zip(stores, DASHES, MARKERS, strict=False):
        own = sorted(store.bytes_per_frame)
        heights = [store.bytes_per_frame[k] for k in own]
        label = f"store, {store.split}"
        axes.plot(own, heights, color=GREY, linestyle=dash, marker=marker, label=label)
    num_classes = stores[0].num_classes
    dense = 4 * num_classes
    axes.axhline(dense, color=GREY, linestyle=":", label=f"dense float32 ({num_classes} classes)")
    for k, height in stores[0].bytes_per_frame.items():
        below = (0, -16)
        axes.annotate(f"{height:.3g}", (k, height), below, textcoords="offset points", ha="center")
    ranks_along_x(axes, ks)
    log_along_y(axes)
    axes.set_ylim(bottom=min(stores[0].bytes_per_frame.values()) / 2.5, top=dense * 2)
    axes.set_ylabel("bytes per frame (log scale)")
    axes.set_title("Bytes to read")
    legend_below(figure)
    return figure
