"""results, histories, store -> report: one page that needs no other file, SVG, data files."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.report.accounts import ACCOUNT_COLUMNS, accounts_of, labelled_share
from stages.report.column import Table, make_table
from stages.report.columns import columns_on
from stages.report.costs import count_teacher_passes
from stages.report.data_files import DATA_FILES, Found
from stages.report.deployment import deployment_table
from stages.report.example import read_example
from stages.report.figures.difference_figure import MOST_ROWS
from stages.report.figures.rank_figures import MOST_FAMILIES, families_of
from stages.report.formats import UNKNOWN
from stages.report.greedy_table import greedy_tables
from stages.report.headline import write_headline
from stages.report.histories import read_histories
from stages.report.inputs import ReportInputs
from stages.report.latency_note import describe_latency
from stages.report.pictures import PICTURES, Drawn, draw_pictures
from stages.report.places import FRAMES, SEEDS, SYSTEMS
from stages.report.planned_table import PLANNED_COLUMNS
from stages.report.ranking import Role
from stages.report.rows import Row, seed_rows
from stages.report.settings import ReportSettings
from stages.report.statistics.comparisons import Comparisons, compare
from stages.report.statistics.groups import group_results
from stages.report.summary_tables import STORE_COLUMNS, split_table
from stages.report.svg import to_inline
from stages.report.word_page import word_sections
from storage.files.fingerprint import SHORT
from storage.files.publish import publish_file

HERE = Path(__file__).parent
HEADINGS: dict[Role, str] = {
    "member": "Members",
    "ensemble": "Ensemble",
    "fully transcribed student": "Students on hard labels of all speech",
    "hard-label student": "Students on hard labels",
    "soft-label student": "Students on soft labels",
}


def write_report(settings: ReportSettings, inputs: ReportInputs, *, directory: Path) -> Path:
    """Write index.html, pictures as SVG, and figures as data files; returns the page's path.

    The same inputs give the same bytes. The page loads no other file.

    Raises:
        BadInput: if systems were not evaluated on the same utterances.
    """
    comparisons = compare(
        group_results(inputs.results),
        samples=settings.bootstrap_samples,
        seed=settings.seed,
        labelled_share=labelled_share(inputs.corpus),
        plan=settings.plan,
    )
    chosen = comparisons.chosen
    example = read_example(inputs, settings, student=chosen.first if chosen else None)
    histories = read_histories(inputs.histories)
    drawn = Drawn(inputs=inputs, comparisons=comparisons, histories=histories, example=example)
    pictures = draw_pictures(drawn)
    for name in PICTURES:  # an interrupted run may have left some
        (directory / f"{name}.svg").unlink(missing_ok=True)
    for name, svg in pictures.items():
        publish_file(directory / f"{name}.svg", svg.encode())
    found = Found(comparisons, inputs.audit_of("train"))
    for name, as_text in DATA_FILES.items():
        publish_file(directory / name, as_text(found).encode())
    page = (
        _environment()
        .get_template("page.html")
        .render(
            title=settings.title,
            style=(HERE / "page.css").read_text(encoding="utf-8"),
            headline=write_headline(
                comparisons,
                train=inputs.corpus.train,
                margin=settings.margin_to_ensemble,
                store=inputs.audit_of("train"),
            ),
            origin=_origin(inputs),
            pictures=pictures,
            example=example,
            corpus=inputs.corpus,
            teacher=inputs.teacher,
            accounts=make_table(
                ACCOUNT_COLUMNS, accounts_of(comparisons, histories, inputs.corpus)
            ),
            greedy=greedy_tables(
                inputs.results, settings, labelled_share=labelled_share(inputs.corpus)
            ),
            passes=count_teacher_passes(comparisons, histories),
            made=inputs.made,
            program=inputs.program,
            dash=UNKNOWN,
            data_files=sorted(DATA_FILES),
            **_tables(inputs, comparisons, found.groups),
            **word_sections(comparisons),
        )
    )
    path = directory / "index.html"
    publish_file(path, page.encode())
    return path


def _origin(inputs: ReportInputs) -> str:
    """Corpus and program, in a line; no clock, so that the same inputs give the same page."""
    corpus = inputs.corpus
    hours = ", ".join(f"{split.split} {split.hours:.2f} h" for split in corpus.splits)
    fingerprints = [made.fingerprint for made in inputs.made if made.name == "corpus"]
    named = "".join(f" {fingerprint[:SHORT]}" for fingerprint in fingerprints)
    return f"Corpus {corpus.source}{named}: {hours}. Written by {inputs.program}."


def _tables(inputs: ReportInputs, comparisons: Comparisons, rows: Sequence[Row]) -> dict[str, Any]:
    num_families = len(families_of(comparisons))
    return {
        "systems": _in_parts(make_table(columns_on(SYSTEMS), rows), rows),
        "seeds": make_table(columns_on(SEEDS), seed_rows(comparisons)),
        "frames": _in_parts(make_table(columns_on(FRAMES), rows), rows),
        "stores": make_table(STORE_COLUMNS, inputs.teacher.stores if inputs.teacher else ()),
        "splits": split_table(inputs.corpus),
        "planned": make_table(PLANNED_COLUMNS, comparisons.planned),
        "deployment": deployment_table(inputs.exported, comparisons),
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


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["inline"] = lambda svg, alt: Markup(to_inline(svg, alt=alt))
    return environment
