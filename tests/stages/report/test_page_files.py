"""The files of a report: what the page links and holds, and what lies next to it."""

import csv
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

from stages.report.data_files import DATA_FILES
from stages.report.pictures import PICTURES
from tests.support.makers.page import only, parse, write
from tests.support.makers.report import (
    make_hard,
    make_inputs,
)
from tests.support.makers.store import tree_digest
from tests.support.paths import ROOT


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


def test_pictures_of_an_earlier_report_are_removed(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path)
    write(inputs, tmp_path / "report")
    page = write(only(inputs, make_hard()), tmp_path / "report")
    assert not (page.parent / "posteriorgram.svg").exists()
    assert not (page.parent / "training-loss.svg").exists()


def test_page_of_the_same_inputs_has_the_same_bytes(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path)
    one = write(inputs, tmp_path / "one").parent
    other = write(replace(inputs, results=inputs.results[::-1]), tmp_path / "other").parent
    assert tree_digest(one) == tree_digest(other)
