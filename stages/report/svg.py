"""figure -> SVG: a file of its own, or a part of the page in the page's colours.

In the page each colour of the house is a CSS variable, which page.css defines for light and for
dark. Text stays text, in another font where the one that was measured is missing, mostly narrower.
"""

import io
import re

import matplotlib as mpl
from matplotlib.figure import Figure

from stages.report.drawing import COLOUR_NAMES

NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
FONT = "'DejaVu Sans', system-ui, sans-serif"
CSS_PIXELS = 96 / 72  # in a point
TAG = re.compile(r"<[^>]*>")
PATH = re.compile(r' d="[^"]*"')
LONG = re.compile(r"-?\d+\.\d{3,}")
ID = re.compile(r' id="([^"]*)"')
REFERENCE = re.compile(r'(?:href="#|url\(#)([^")]*)')
COLOUR = re.compile(r"#[0-9a-f]{6}\b")


def to_svg(figure: Figure, *, name: str) -> str:
    """The picture as a file. The same figure gives the same bytes: no date, no random ids.

    `name` begins the ids, so that several pictures may be in one page.
    """
    content = io.StringIO()
    with mpl.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": name, "image.composite_image": False}
    ):
        figure.savefig(content, format="svg", metadata=NO_METADATA)
    svg = re.sub(r"<metadata>.*?</metadata>", "", content.getvalue(), flags=re.DOTALL)
    svg = PATH.sub(lambda found: LONG.sub(_rounded, found[0]), svg)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", FONT, svg)
    used = set(REFERENCE.findall(svg))
    svg = ID.sub(lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", svg)
    svg = REFERENCE.sub(lambda found: found[0].replace("#", f"#{name}-"), svg)
    return "\n".join(line.rstrip() for line in svg.splitlines() if line.strip()) + "\n"


def to_inline(svg: str, *, alt: str) -> str:
    """An element of the page, from `to_svg`'s file."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)
    head_end = body.index(">")
    box = re.findall(r'viewBox="([^"]*)"', body[:head_end])[0]
    width, height = (round(float(points) * CSS_PIXELS) for points in box.split()[2:])
    inner = TAG.sub(lambda found: COLOUR.sub(_variable, found[0]), body[head_end + 1 :])
    inner = inner.replace("xlink:href", "href")
    return (
        f'<svg viewBox="{box}" width="{width}" height="{height}" role="img" '
        f'aria-label="{_quoted(alt)}">{inner}'
    )


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}"


def _variable(colour: re.Match[str]) -> str:
    name = COLOUR_NAMES.get(colour[0])
    return f"var(--{name})" if name else colour[0]


def _quoted(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
