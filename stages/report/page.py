"""results, histories, store -> report: one page that opens anywhere, and its pictures beside it."""

import base64
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from stages.report.drawing import house_style, to_png
from stages.report.example import Example, read_example
from stages.report.headline import write_headline
from stages.report.histories import read_histories
from stages.report.inputs import ReportInputs
from stages.report.posteriorgram_figure import draw_posteriorgram
from stages.report.rank_figures import draw_bytes, draw_ranks
from stages.report.ranking import Role
from stages.report.settings import ReportSettings
from stages.report.statistics.comparisons import as_json as comparisons_as_json
from stages.report.statistics.comparisons import compare
from stages.report.statistics.groups import group_results
from stages.report.table import (
    DASH,
    as_csv,
    as_json,
    change,
    interval,
    make_rows,
    rates,
)
from stages.report.training_figure import draw_training
from storage.publish import publish_file

HERE = Path(__file__).parent
HEADINGS: dict[Role, str] = {
    "member": "Members",
    "ensemble": "Ensemble",
    "hard-label student": "Student on hard labels",
    "essence student": "Students on the essence",
}
PICTURES = ("word-errors.png", "bytes.png", "training.png", "posteriorgram.png")


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG as it stands in the page."""

    data_uri: str
    width: int  # pixels of the page: the PNG is finer


def write_report(settings: ReportSettings, inputs: ReportInputs, *, directory: Path) -> Path:
    """Write index.html, the pictures, results.* and comparisons.json; returns the page's path.

    The same inputs give the same bytes. The page needs no other file and asks for none.
    """
    example = read_example(inputs, settings)
    pictures = _draw(settings, inputs, example)
    rows = make_rows(inputs.results)
    for name in PICTURES:  # none of an earlier, interrupted run stays
        (directory / name).unlink(missing_ok=True)
    for name, (content, _) in pictures.items():
        publish_file(directory / name, content)
    publish_file(directory / "results.csv", as_csv(rows).encode())
    publish_file(directory / "results.json", as_json(rows).encode())
    comparisons = compare(
        group_results(inputs.results), samples=settings.bootstrap_samples, seed=settings.seed
    )
    publish_file(directory / "comparisons.json", comparisons_as_json(comparisons).encode())
    page = (
        _environment()
        .get_template("page.html")
        .render(
            title=settings.title,
            style=(HERE / "page.css").read_text(encoding="utf-8"),
            headline=write_headline(inputs.results),
            rows=rows,
            headings=HEADINGS,
            columns={
                "frame_error_dev": rates(rows, "frame_error_dev", scale=100, digits=2),
                "cross_entropy_dev": rates(rows, "cross_entropy_dev", scale=1, digits=3),
                "wer_dev": rates(rows, "wer_dev", scale=100, digits=2),
                "wer_test": rates(rows, "wer_test", scale=100, digits=2),
            },
            interval=interval,
            change=change,
            pictures={name: _inline(*drawn) for name, drawn in pictures.items()},
            example=example,
            corpus=inputs.corpus,
            teacher=inputs.teacher,
            made=inputs.made,
            dash=DASH,
        )
    )
    path = directory / "index.html"
    publish_file(path, page.encode())
    return path


def _draw(
    settings: ReportSettings, inputs: ReportInputs, example: Example | None
) -> dict[str, tuple[bytes, int]]:
    with house_style():
        drawn: dict[str, Figure | None] = {
            "word-errors.png": draw_ranks(inputs.results, inputs.teacher),
            "bytes.png": draw_bytes(inputs.teacher) if inputs.teacher else None,
            "training.png": draw_training(inputs.results, read_histories(inputs.histories)),
            "posteriorgram.png": draw_posteriorgram(example) if example else None,
        }
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
