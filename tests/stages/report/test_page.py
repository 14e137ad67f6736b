"""The page: complete, self-contained, deterministic; missing figures are named."""

import csv
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from stages.contract.errors import BadInput, MissingPart
from stages.contract.results import FrameErrors, SystemResult
from stages.report.data_files import DATA_FILES
from stages.report.inputs import Made, ReportInputs
from stages.report.page import write_report
from stages.report.pictures import PICTURES
from stages.report.settings import ReportSettings
from storage.errors import StoreMismatch
from tests.support.makers.report import (
    make_dev_corpus,
    make_essence,
    make_hard,
    make_inputs,
    make_members,
    make_result,
    make_split,
    make_sweep,
)
from tests.support.makers.scores import with_splits
from tests.support.makers.store import tree_digest
from tests.support.paths import ROOT

VOID = {"meta", "img", "br", "hr", "link", "input"}
UNLABELLED = FrameErrors(num_frames=10, frame_error=None, cross_entropy=None)
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


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every section."""
    directory = tmp_path_factory.mktemp("whole")
    inputs = make_inputs(directory)
    return write(replace(inputs, results=on_one_trunk(inputs.results)), directory / "report")


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


def test_page_loads_no_other_file(whole: Path) -> None:
    tags = parse(whole)
    loaded = [
        value
        for tag, attributes in tags.tags
        for name, value in attributes.items()
        if name in {"src", "href", "srcset", "action", "data"} and value and tag != "a"
    ]
    assert loaded
    for address in loaded:  # markers of lines, and the pixels of posteriors
        assert address.startswith(("#", "data:image/png;base64,"))
    assert not {"script", "link", "iframe", "object", "img"} & {tag for tag, _ in tags.tags}
    text = whole.read_text(encoding="utf-8")
    assert "http://" not in text
    assert "https://" not in text
    assert "url(" not in text.replace("url(#", "")
    assert "default-src 'none'" in text


def linked_files(page: Path) -> set[str]:
    """The files that a page links; raises if an anchor has no target or a section no link."""
    tags = parse(page)
    ids = [attributes["id"] for _, attributes in tags.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] or "" for tag, attributes in tags.tags if tag == "a"]
    anchors = [link[1:] for link in links if link.startswith("#")]
    assert len(anchors) == len(set(anchors)) == sum(tag == "h2" for tag, _ in tags.tags)
    assert set(anchors) <= set(ids)
    used = re.findall(r'(?:href="|url\()#([^")]+)', page.read_text(encoding="utf-8"))
    assert set(used) <= set(ids)
    return {link for link in links if not link.startswith("#")}


def test_every_link_of_the_page_has_its_target(whole: Path) -> None:
    names = {path.name for path in whole.parent.iterdir()}
    assert linked_files(whole) == names - {"index.html"}


def test_example_report_of_the_repository_is_whole_and_small() -> None:
    folder = ROOT / "docs" / "example-report"
    names = {path.name for path in folder.iterdir()}
    own = {"index.html", "README.md", "settings.yaml"}
    assert linked_files(folder / "index.html") == names - own
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1_500_000


def test_page_directory_holds_pictures_and_data_files(whole: Path) -> None:
    names = {path.name for path in whole.parent.iterdir()}
    assert names == {"index.html", *DATA_FILES, *(f"{name}.svg" for name in PICTURES)}
    for name in PICTURES:
        root = ElementTree.parse(whole.parent / f"{name}.svg").getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"


def test_line_under_the_title_names_corpus_and_program_and_no_time(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path)
    made = (Made(name="corpus", fingerprint="cd" * 32, settings="{}"),)
    text = parse(write(replace(inputs, made=made), tmp_path / "report")).text
    line = "Corpus spoken cdcdcdcdcdcd: train 0.86 h, dev 0.19 h, test 0.24 h."
    assert f"{line} Written by essence 0.1.0, commit 123." in text


def test_markdown_has_the_rows_of_the_main_table(whole: Path) -> None:
    lines = (whole.parent / "systems.md").read_text(encoding="utf-8").splitlines()
    with (whole.parent / "groups.csv").open(encoding="utf-8", newline="") as file:
        groups = list(csv.DictReader(file))
    assert len(lines) == 2 + len(groups)
    assert len({len(re.split(r"(?<!\\)\|", line)) for line in lines}) == 1
    for line, group in zip(lines[2:], groups, strict=True):
        assert line.startswith(f"| {group['group']} ")
        assert f" | {int(group['parameters']):,} | " in line
        if group["k"]:
            assert f" | {float(group['bytes_per_frame']):.1f} | " in line


def test_page_of_the_same_inputs_has_the_same_bytes(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path)
    one = write(inputs, tmp_path / "one").parent
    other = write(replace(inputs, results=inputs.results[::-1]), tmp_path / "other").parent
    assert tree_digest(one) == tree_digest(other)


def test_page_shows_all_inputs(whole: Path) -> None:
    text = parse(whole).text
    for wanted in (
        "k=16 tail=bucket",
        "hard labels",
        "gru 5x256",
        "3,280,000",
        "(chosen on dev)",
        "No difference between",
        "essence 0.1.0, commit 123",
        "MAPSSWE",
        "speaker 7",
        "EIGHTY",
        "were saved",
        "no alignment",
        "utt-12",
        "student k=8",
        "62.4",
    ):
        assert wanted in text


def test_html_in_names_is_escaped(tmp_path: Path) -> None:
    evil = '<script>alert("k")</script>&amp; $\\frac_$'
    inputs = make_inputs(tmp_path, [*make_members(), make_hard(evil), make_essence(4, errors=230)])
    corpus = inputs.corpus.model_copy(update={"source": evil})
    made = (Made(name=evil, fingerprint="ab" * 32, settings=f'"{evil}"'),)
    page = write(replace(inputs, corpus=corpus, made=made), tmp_path / "report", title=evil)
    tags = parse(page)
    assert "script" not in {tag for tag, _ in tags.tags}
    assert tags.text.count(evil) >= 6
    assert "please call <b>seven & nine</b>" in tags.text


def test_names_with_missing_glyphs_are_shown(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path, [make_hard("硬标签"), make_essence(4, errors=230)])
    assert "硬标签" in parse(write(inputs, tmp_path / "report")).text


@pytest.mark.parametrize(
    "results",
    [
        (),
        tuple(make_members()),
        (make_hard(),),
        (make_essence(8, errors=200),),
        (make_hard(), make_essence(8, errors=200)),
        (make_hard(), make_hard("more labels"), make_essence(8, errors=200)),
        (make_essence(8, errors=200), make_essence(8, errors=210, tail="bucket")),
    ],
)
def test_page_of_few_systems_is_written(tmp_path: Path, results: tuple[SystemResult, ...]) -> None:
    inputs = only(make_inputs(tmp_path), *results)
    page = write(replace(inputs, teacher=None), tmp_path / "report")
    parse(page)
    kinds = {r.system.facts.hard_weight for r in results}
    assert (page.parent / "word-errors.svg").exists() == (kinds >= {0.2, 1.0})
    assert not (page.parent / "posteriorgram.svg").exists()


def test_unknown_figures_are_dashes(tmp_path: Path) -> None:
    nothing = {"reference_words": 0, "insertions": 0, "deletions": 0, "substitutions": 0}
    blank = make_split("dev", 10, frames=UNLABELLED, utterances=())
    empty = blank.model_copy(update={"words": blank.words.model_copy(update=nothing)})
    results = [
        replace(with_splits(r, dev=empty, test=empty), frames=None)
        for r in (make_hard(), make_essence(2, errors=10))
    ]
    page = write(only(make_inputs(tmp_path), *results), tmp_path / "report")
    body = page.read_text(encoding="utf-8").split("<tbody>")[1].split("</tbody>")[0]
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", body)
    # dev, test, interval, both differences with their p; k and bytes of the hard-label student
    assert cells.count("–") == 2 * 7 + 2
    assert "best" not in body
    assert "word error rates are unknown" in parse(page).text


def test_pictures_of_an_earlier_report_are_removed(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path)
    write(inputs, tmp_path / "report")
    page = write(only(inputs, make_hard()), tmp_path / "report")
    assert not (page.parent / "posteriorgram.svg").exists()
    assert not (page.parent / "training-loss.svg").exists()


def test_missing_or_malformed_history_is_named(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path, [make_hard()])
    with pytest.raises(MissingPart, match=r"gone\.jsonl is not there"):
        write(replace(inputs, histories={"hard labels": tmp_path / "gone.jsonl"}), tmp_path / "r")
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"epoch": 1}\n', encoding="utf-8")
    with pytest.raises(BadInput, match=r"broken\.jsonl:1: .*wanted one epoch"):
        write(replace(inputs, histories={"hard labels": broken}), tmp_path / "r")


def test_utterance_of_the_settings_is_shown(tmp_path: Path, whole: Path) -> None:
    assert "Utterance dev-1 of dev" in parse(whole).text
    inputs = only_read(make_inputs(tmp_path), make_essence(8, errors=200))
    page = write(inputs, tmp_path / "b", utterance="dev-3")
    assert "Utterance dev-3 of dev" in parse(page).text
    for wrong in ("dev-9", "dev-2"):  # not there; without frames
        with pytest.raises(BadInput, match=rf"report\.utterance is '{wrong}'"):
            write(inputs, tmp_path / "c", utterance=wrong)


def test_store_of_another_corpus_is_refused(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path)
    make_dev_corpus(tmp_path, seconds=1.7).close()
    with pytest.raises(StoreMismatch, match="corpus_fingerprint"):
        write(inputs, tmp_path / "report")


def test_example_without_a_student_shows_the_teacher_only(tmp_path: Path) -> None:
    page = write(make_inputs(tmp_path, make_members()), tmp_path / "report")
    assert (page.parent / "posteriorgram.svg").exists()
    assert "or student" not in parse(page).text


def test_page_of_a_sweep_has_a_row_for_each_group(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path, make_sweep(num_settings=30, num_seeds=5))
    page = write(inputs, tmp_path / "report")
    text = page.read_text(encoding="utf-8").split("</tbody>")[0]
    assert text.count("<tr") == 1 + 4 + 30 + 1 + 5  # head, headings, essence, hard, others
    assert "5 seeds" in parse(page).text
    assert page.stat().st_size < 3_000_000


def test_systems_evaluated_on_other_utterances_are_refused(tmp_path: Path) -> None:
    hard, essence = make_hard(), make_essence(8, errors=200)
    fewer = essence.test.model_copy(update={"utterances": essence.test.utterances[1:]})
    inputs = make_inputs(tmp_path, [hard, with_splits(essence, test=fewer)])
    with pytest.raises(BadInput, match="not evaluated on the same utterances"):
        write(inputs, tmp_path / "report")


def test_training_curves_of_many_models_are_drawn(tmp_path: Path) -> None:
    results = [make_result(f"member {number}", kind="member") for number in range(17)]
    assert (
        write(make_inputs(tmp_path, results), tmp_path / "r").parent / "training-loss.svg"
    ).exists()
