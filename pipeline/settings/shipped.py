"""Shipped settings: pipeline.yaml and the examples, from the repository or from the wheel.

Each file exists once: setup.cfg installs those at the root of the repository as data of
`pipeline.shipped`.
"""

from pathlib import Path

INSTALLED = Path(__file__).parents[1] / "shipped"
ROOT = INSTALLED if INSTALLED.is_dir() else Path(__file__).parents[2]
DEFAULTS = ROOT / "pipeline.yaml"


def examples() -> dict[str, Path]:
    """The shipped examples, by their names."""
    paths = (ROOT / "examples").glob("*.yaml")
    return dict(sorted((path.stem, path) for path in paths))
