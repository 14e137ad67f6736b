"""SVG: deterministic, colours by name in the page, ids that do not meet."""

import re
from xml.etree import ElementTree

import numpy as np
from matplotlib.figure import Figure

from stages.report.drawing import BLUE, COLOUR_NAMES, house_style, legend_below, new_figure
from stages.report.svg import to_inline, to_svg

NAME = "<b>$k$ & 硬标签 #0072b2</b>"


def draw(label: str = NAME) -> Figure:
    figure = new_figure(width=4, height=3)
    axes = figure.add_subplot()
    axes.plot([1, 2, 3], [0.123456789, 2, 1], color=BLUE, marker="o", label=label)
    axes.imshow(np.eye(3), interpolation="none", extent=(1, 2, 0, 1))
    legend_below(figure)
    return figure


def svg_of(name: str, label: str = NAME) -> str:
    with house_style():
        return to_svg(draw(label), name=name)


def test_same_figure_has_the_same_bytes_and_no_date() -> None:
    assert svg_of("one") == svg_of("one")
    assert "<metadata" not in svg_of("one")
    assert not re.search(r"20\d\d-\d\d", svg_of("one"))


def test_text_stays_text_and_is_escaped() -> None:
    root = ElementTree.fromstring(svg_of("one"))
    assert NAME in [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    inline = to_inline(svg_of("one"), alt='a "b" <c>')
    assert "#0072b2" in inline  # in the text alone, which is no colour
    assert ElementTree.fromstring(inline).get("aria-label") == 'a "b" <c>'


def test_colours_of_the_page_are_variables() -> None:
    inline = to_inline(svg_of("one", "a label"), alt="")
    assert "var(--blue)" in inline
    assert not [colour for colour in COLOUR_NAMES if colour in inline]
    assert "var(" not in svg_of("one")  # programs that draw have none


def test_ids_of_two_pictures_in_a_page_do_not_meet() -> None:
    one, two = svg_of("one"), svg_of("two")
    ids = [set(re.findall(r' id="([^"]*)"', svg)) for svg in (one, two)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for svg, known in zip((one, two), ids, strict=True):
        assert set(re.findall(r'(?:href="|url\()#([^")]+)', svg)) == known


def test_size_on_the_page_is_that_of_the_figure() -> None:
    root = ElementTree.fromstring(to_inline(svg_of("one"), alt=""))
    assert (root.get("width"), root.get("height")) == (str(4 * 96), str(3 * 96))
