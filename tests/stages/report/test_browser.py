"""The page in a real browser: phone, tablet and desktop, light and dark, and printed."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.browser import CHROMIUM, Browser, open_browser
from tests.support.makers.page import on_one_trunk, write
from tests.support.makers.report import make_inputs

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")

AXE = os.environ.get("ESSENCE_AXE")  # the path of axe-core's axe.min.js
WIDTHS = (390, 900, 1440)  # a phone, a tablet, a desktop
SMALLEST_TEXT = 8.0  # CSS pixels, of pictures on a phone
LEAST_CONTRAST = 4.5  # of text, as WCAG 2.1 asks

OPEN_ALL = "document.querySelectorAll('details').forEach(found => { found.open = true; })"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
TEXT_SIZES = """
[...document.querySelectorAll('.picture svg text')].map(text => {
  const size = parseFloat(getComputedStyle(text).fontSize);
  return size * Math.hypot(text.getScreenCTM().a, text.getScreenCTM().b);
})
"""
CONTRASTS = """
(() => {
  const parts = color => color.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255);
  const linear = part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const light = color => {
    const [red, green, blue] = parts(color).map(linear);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const paper = light(getComputedStyle(document.body).backgroundColor);
  const seen = element => {
    const style = getComputedStyle(element);
    return light(element instanceof SVGElement ? style.fill : style.color);
  };
  const found = document.querySelectorAll('p, a, td, th, small, figcaption, summary, svg text');
  return [...found].map(element => {
    const [low, high] = [seen(element), paper].sort((one, other) => one - other);
    return (high + 0.05) / (low + 0.05);
  });
})()
"""

FINDINGS = """
axe.run().then(found => found.violations.map(
  violation => `${violation.impact} ${violation.id} ${violation.nodes[0].html.slice(0, 120)}`
))
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every section, and names that are longer than a phone is wide."""
    directory = tmp_path_factory.mktemp("page")
    inputs = make_inputs(directory)
    long = "hard labels of a setting that has a very long name with=many words=in it=indeed"
    results = tuple(
        replace(found, system=replace(found.system, name=long, group_name=long))
        if found.system.name == "hard labels"
        else found
        for found in inputs.results
    )
    return write(replace(inputs, results=on_one_trunk(results)), directory / "report")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("is_dark", [False, True])
def test_page_fits_every_width_in_light_and_dark(
    browser: Browser, page: Path, width: int, is_dark: bool
) -> None:
    browser.open(page, width=width, is_dark=is_dark)
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate(OVERFLOW) == 0
    browser.evaluate(OPEN_ALL)
    assert browser.evaluate(OVERFLOW) == 0
    assert min(browser.evaluate(TEXT_SIZES)) >= SMALLEST_TEXT
    assert min(browser.evaluate(CONTRASTS)) >= LEAST_CONTRAST
    assert browser.problems == []


def test_link_to_a_folded_section_opens_it(browser: Browser, page: Path) -> None:
    browser.open(page, width=900)
    assert not browser.evaluate("document.querySelector('#calibration').closest('details').open")
    browser.open(page, width=900, anchor="#calibration")
    assert browser.evaluate("document.querySelector('#calibration').closest('details').open")
    assert browser.evaluate("document.querySelector('#calibration').getBoundingClientRect().y") < 60


def test_page_is_printed_in_light_colours_with_its_diagnostics(
    browser: Browser, page: Path
) -> None:
    browser.open(page, width=900, is_dark=True)
    assert browser.print_to_pdf().startswith(b"%PDF-")
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.call("Emulation.setEmulatedMedia", media="print", features=dark)
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(255, 255, 255)"
    )
    height = "document.querySelector('#calibration').getBoundingClientRect().height"
    assert browser.evaluate(height) > 100
    head = "getComputedStyle(document.querySelector('thead')).display"
    assert browser.evaluate(head) == "table-header-group"


@pytest.mark.skipif(not AXE, reason="needs axe-core: npm pack axe-core, ESSENCE_AXE=.../axe.min.js")
@pytest.mark.parametrize("is_dark", [False, True])
def test_axe_has_no_finding(browser: Browser, page: Path, is_dark: bool) -> None:
    browser.open(page, width=900, is_dark=is_dark)
    browser.evaluate(OPEN_ALL)
    browser.evaluate(Path(AXE or "").read_text(encoding="utf-8") + ";0")
    assert browser.evaluate(FINDINGS) == []
