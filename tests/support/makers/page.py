"""A report's page written from made inputs, and parsed."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from stages.contract.results import SystemResult
from stages.report.inputs import ReportInputs
from stages.report.page import write_report
from stages.report.settings import ReportSettings

VOID = {"meta", "img", "br", "hr", "link", "input"}
SETTINGS = ReportSettings(bootstrap_samples=200)


class Tags(HTMLParser):
    """Raises if tags do not nest; keeps the text and every tag with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parse(page: Path) -> Tags:
    tags = Tags()
    tags.feed(page.read_text(encoding="utf-8"))
    assert tags.open == []
    return tags


def write(inputs: ReportInputs, directory: Path, **settings: object) -> Path:
    directory.mkdir(exist_ok=True)
    changed = SETTINGS.model_copy(update=settings)
    return write_report(changed, inputs, directory=directory)


def only_read(inputs: ReportInputs, *results: SystemResult) -> ReportInputs:
    """Return the inputs with other systems."""
    return replace(inputs, results=with_models(inputs, results), histories={})


def with_models(
    inputs: ReportInputs, results: tuple[SystemResult, ...]
) -> tuple[SystemResult, ...]:
    """Return systems whose models are in the directory of the inputs."""
    places = inputs.results[0].system.model_directories
    return tuple(
        replace(result, system=replace(result.system, model_directories=places))
        for result in results
    )


def only(inputs: ReportInputs, *results: SystemResult) -> ReportInputs:
    """Return the inputs with other systems and without anything read from disk."""
    return replace(inputs, results=results, histories={}, store=None)


def on_one_trunk(results: tuple[SystemResult, ...]) -> tuple[SystemResult, ...]:
    """The same results, of two students as of two lengths of one trunk."""
    lengths = {"k=4": 3, "k=8": 6}
    systems = [
        replace(
            result.system,
            facts=replace(result.system.facts, epochs=lengths[result.system.name]),
            curve="trunk",
            curve_name="one trunk",
        )
        if result.system.name in lengths
        else result.system
        for result in results
    ]
    assert sum(bool(system.curve) for system in systems) == len(lengths)
    pairs = zip(results, systems, strict=True)
    return tuple(replace(result, system=system) for result, system in pairs)
