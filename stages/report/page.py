"""results, histories, store -> report: one page that needs no other file, pictures, data files."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from stages.report.accounts import ACCOUNT_COLUMNS, accounts_of, labelled_share
from stages.report.column import Table, make_table
from stages.report.columns import columns_on
from stages.report.costs import count_teacher_passes
from stages.report.data_files import DATA_FILES
from stages.report.drawing import house_style, to_png
from stages.report.example import Example, read_example
from stages.report.figures.calibration_figure import draw_calibration
from stages.report.figures.curve_figure import draw_curves
from stages.report.figures.difference_figure import MOST_ROWS, draw_differences
from stages.report.figures.fidelity_figure import draw_fidelity, draw_gradients
from stages.report.figures.kept_mass_figure import draw_kept_mass
from stages.report.figures.pareto_figure import draw_pareto
from stages.report.figures.posteriorgram_figure import draw_posteriorgram
from stages.report.figures.rank_figures import MOST_FAMILIES, draw_bytes, draw_ranks, families_of
from stages.report.figures.training_figure import draw_training
from stages.report.formats import UNKNOWN
from stages.report.headline import write_headline
from stages.report.histories import History, read_histories
from stages.report.inputs import ReportInputs
from stages.report.latency_note import describe_latency
from stages.report.places import FRAMES, SEEDS, SYSTEMS
from stages.report.ranking import Role
from stages.report.rows import Row, group_rows, seed_rows
from stages.report.settings import ReportSettings
from stages.report.statistics.comparisons import Comparisons, compare
from stages.report.statistics.groups import group_results
from stages.report.summary_tables import STORE_COLUMNS, split_table
from stages.report.word_page import word_sections
from storage.files.publish import publish_file

HERE = Path(__file__).parent
HEADINGS: dict[Role, str] = {
    "member": "Members",
    "ensemble": "Ensemble",
    "fully transcribed student": "Students on hard labels of all speech",
    "hard-label student": "Students on hard labels",
    "soft-label student": "Students on soft labels",
}
PICTURES = (
    "differences.png",
    "word-errors.png",
    "pareto.png",
    "curves.png",
    "calibration.png",
    "fidelity.png",
    "gradients.png",
    "kept-mass.png",
    "bytes.png",
    "training.png",
    "posteriorgram.png",
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG as the page embeds it."""

    data_uri: str
    width: int  # CSS pixels: the PNG has more


def write_report(settings: ReportSettings, inputs: ReportInputs, *, directory: Path) -> Path:
    """Write index.html, the pictures, and the figures as CSV and JSON; returns the page's path.

    The same inputs give the same bytes. The page loads no other file.

    Raises:
        BadInput: if systems were not evaluated on the same utterances.
    """
    comparisons = compare(
        group_results(inputs.results),
        samples=settings.bootstrap_samples,
        seed=settings.seed,
        labelled_share=labelled_share(inputs.corpus),
    )
    chosen = comparisons.chosen
    example = read_example(inputs, settings, student=chosen.first if chosen else None)
    histories = read_histories(inputs.histories)
    pictures = _draw(settings, inputs, comparisons, histories=histories, example=example)
    for name in PICTURES:  # an interrupted run may have left some
        (directory / name).unlink(missing_ok=True)
    for name, (content, _) in pictures.items():
        publish_file(directory / name, content)
    for name, as_text in DATA_FILES.items():
        publish_file(directory / name, as_text(comparisons).encode())
    page = (
        _environment()
        .get_template("page.html")
        .render(
            title=settings.title,
            style=(HERE / "page.css").read_text(encoding="utf-8"),
            headline=write_headline(
                comparisons, train=inputs.corpus.train, margin=settings.margin_to_ensemble
            ),
            pictures={name: _inline(*drawn) for name, drawn in pictures.items()},
            example=example,
            corpus=inputs.corpus,
            teacher=inputs.teacher,
            accounts=make_table(
                ACCOUNT_COLUMNS, accounts_of(comparisons, histories, inputs.corpus)
            ),
            passes=count_teacher_passes(comparisons, histories),
            made=inputs.made,
            program=inputs.program,
            dash=UNKNOWN,
            data_files=sorted(DATA_FILES),
            **_tables(inputs, comparisons),
            **word_sections(comparisons),
        )
    )
    path = directory / "index.html"
    publish_file(path, page.encode())
    return path


def _tables(inputs: ReportInputs, comparisons: Comparisons) -> dict[str, Any]:
    rows = group_rows(comparisons)
    num_families = len(families_of(comparisons))
    return {
        "systems": _in_parts(make_table(columns_on(SYSTEMS), rows), rows),
        "seeds": make_table(columns_on(SEEDS), seed_rows(comparisons)),
        "frames": _in_parts(make_table(columns_on(FRAMES), rows), rows),
        "stores": make_table(STORE_COLUMNS, inputs.teacher.stores if inputs.teacher else ()),
        "splits": split_table(inputs.corpus),
        "comparisons": comparisons,
        "latency_note": describe_latency(comparisons),
        "num_grey": max(0, num_families - MOST_FAMILIES),
        "num_not_drawn": max(0, len(comparisons.to_hard) - MOST_ROWS),
    }


def _in_parts(table: Table[Row], rows: Sequence[Row]) -> Table[Row]:
    """The table with a heading above the rows of each role, and the chosen group marked."""
    roles: list[Role | None] = [None, *(row.group.role for row in rows)]
    marked = (
        replace(
            cells,
            heading=HEADINGS[row.group.role] if row.group.role != before else "",
            is_chosen=row.is_chosen,
        )
        for cells, row, before in zip(table.rows, rows, roles, strict=False)
    )
    return replace(table, rows=tuple(marked))


def _draw(
    settings: ReportSettings,
    inputs: ReportInputs,
    comparisons: Comparisons,
    *,
    histories: Mapping[str, History],
    example: Example | None,
) -> dict[str, tuple[bytes, int]]:
    audit = inputs.audit_of("dev")
    with house_style():
        drawn: dict[str, Figure | None] = {
            "differences.png": draw_differences(comparisons),
            "word-errors.png": draw_ranks(comparisons),
            "pareto.png": draw_pareto(comparisons, inputs.audit_of("train")),
            "curves.png": draw_curves(comparisons, labelled_share=labelled_share(inputs.corpus)),
            "calibration.png": draw_calibration(comparisons),
            "fidelity.png": draw_fidelity(comparisons),
            "gradients.png": draw_gradients(comparisons),
            "kept-mass.png": draw_kept_mass(audit) if audit and audit.is_complete else None,
            "bytes.png": draw_bytes(inputs.teacher) if inputs.teacher else None,
            "training.png": draw_training(comparisons, histories),
            "posteriorgram.png": draw_posteriorgram(example) if example else None,
        }
        assert tuple(drawn) == PICTURES
        return {
            name: (to_png(figure, dots_per_inch=settings.dots_per_inch), _page_width(figure))
            for name, figure in drawn.items()
            if figure is not None
        }


def _page_width(figure: Figure) -> int:
    return round(96 * figure.get_figwidth())  # a CSS inch


def _inline(content: bytes, width: int) -> Picture:
    return Picture(f"data:image/png;base64,{base64.b64encode(content).decode()}", width)


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
