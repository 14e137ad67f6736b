"""results, store figures -> pictures over k: word errors, kept mass, bytes."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
from stages.report.ranking import (
    best_on_dev,
    describe,
    differing_facts,
    kept_of,
    of_role,
    word_error_rate,
)
from stages.speech.results import SplitResult, StoreSummary, SystemResult, TeacherSummary

SPREAD = 0.05  # doublings of k between two students of the same k


def draw_ranks(results: Sequence[SystemResult], teacher: TeacherSummary | None) -> Figure | None:
    """Test WER against k, and beside it the mass that k ranks keep; None without such students."""
    students = [
        r
        for r in of_role(results, "essence student")
        if kept_of(r) is not None and word_error_rate(r.test) is not None
    ]
    if not students:
        return None
    stores = teacher.stores if teacher else ()
    figure = new_figure(width=10 if stores else 6.5, height=4.2)
    panels = figure.subplots(1, 2 if stores else 1, squeeze=False)[0]
    _draw_word_errors(panels[0], students, results)
    if stores:
        _draw_kept_mass(panels[1], stores)
    return figure


def draw_bytes(teacher: TeacherSummary) -> Figure | None:
    """Bytes a frame that a reader of k ranks opens, beside dense float32."""
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
    axes.set_ylabel("bytes a frame (log scale)")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    return figure


def _draw_word_errors(
    axes: Axes, students: list[SystemResult], results: Sequence[SystemResult]
) -> None:
    ensemble = best_on_dev(of_role(results, "ensemble"))
    hard = best_on_dev(of_role(results, "hard-label student"))
    for rival, name, colour, dash in (
        (hard, "hard-label student", BLACK, "--"),
        (ensemble, "ensemble", ORANGE, "-."),
    ):
        if rival is not None and word_error_rate(rival.test) is not None:
            axes.axhline(
                100 * rival.test.words.rate, color=colour, linestyle=dash, label=name, zorder=1
            )
            axes.axhspan(*_interval(rival.test), color=colour, alpha=0.08, linewidth=0, zorder=0)
    facts = [fact for fact in differing_facts(students) if fact != "seed"]
    groups: dict[str, list[SystemResult]] = {}
    for student in students:
        groups.setdefault(describe(student, facts), []).append(student)
    for number, (name, group) in enumerate(groups.items()):
        _draw_students(axes, group, name, number - (len(groups) - 1) / 2, number)
    ranks_along_x(axes, sorted({k for r in students if (k := kept_of(r)) is not None}))
    axes.set_ylabel("test word error rate (%)")
    axes.set_title("Word errors, with 95 % intervals")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)


def _draw_students(
    axes: Axes, group: list[SystemResult], name: str, offset: float, number: int
) -> None:
    colour, marker = SERIES[number % len(SERIES)], MARKERS[number % len(MARKERS)]
    by_k: dict[int, list[SystemResult]] = {}
    for student in group:
        by_k.setdefault(kept_of(student) or 1, []).append(student)
    means = {k: sum(100 * r.test.words.rate for r in same) / len(same) for k, same in by_k.items()}
    axes.plot([k * 2 ** (SPREAD * offset * 2) for k in means], list(means.values()), color=colour)
    for k, same in by_k.items():
        for place, student in enumerate(same):
            shift = offset * 2 + (place - (len(same) - 1) / 2)
            height = 100 * student.test.words.rate
            low, high = _interval(student.test)
            axes.errorbar(
                k * 2 ** (SPREAD * shift),
                height,
                yerr=[[max(0.0, height - low)], [max(0.0, high - height)]],
                color=colour,
                marker=marker,
                capsize=3,
                elinewidth=1.2,
            )
    axes.plot(
        [], [], color=colour, marker=marker, label=f"essence, {name}" if name else "essence student"
    )


def _draw_kept_mass(axes: Axes, stores: Sequence[StoreSummary]) -> None:
    for store, colour, marker in zip(stores, SERIES, MARKERS, strict=False):
        ks = sorted(store.kept_mass)
        heights = [100 * store.kept_mass[k] for k in ks]
        axes.plot(ks, heights, color=colour, marker=marker, label=store.split)
    ranks_along_x(axes, sorted({k for store in stores for k in store.kept_mass} or {1}))
    axes.set_ylim(top=100.5)
    axes.set_ylabel("mean probability kept (%)")
    axes.set_title("Teacher's mass in the first k ranks")
    axes.legend(loc="lower right")


def _interval(split: SplitResult) -> tuple[float, float]:
    return 100 * split.rate_low, 100 * split.rate_high
