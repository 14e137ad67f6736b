"""Plain values: odd YAML is refused in one line that names the key, before it costs memory."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import SettingsError
from pipeline.settings.plain_values import MAX_DEPTH, MAX_VALUES, oddities
from pipeline.settings.read import read_settings

OWN = "student: {architecture: {kind: 'a.b:c', %s}}"
DIGITS = "9" * 400
ODD = {
    "list as key": ("student: {? [a, b] : 1}", "a list or mapping as a key"),
    "mapping as key": ("? {a: b}\n: 1", "a list or mapping as a key"),
    "number as key": ("student: {1: 2}", "student: found the key 1, wanted text"),
    "null as key": (OWN % "null: 2", "student.architecture: found the key None"),
    "surrogate": (OWN % 'x: "\\ud800"', r"student.architecture.x: .* not text"),
    "surrogate path": ('work_dir: "\\ud800"', "work_dir: .* not text"),
    "NUL": ('student: {store: "a\\0b"}', "student.store: .* not text"),
    "escape code": ('student: {name: "\\x1b[31mred"}', r"student.name: .*\\x1b.* not text"),
    "400 digits": (f"student: {{k: {DIGITS}}}", "student.k: wanted an integer of 64 bits"),
    "hex digits": (OWN % f"x: 0x{'f' * 5000}", "architecture.x: wanted an integer of 64 bits"),
    "date": (OWN % "x: 2001-01-01", "architecture.x: found date"),
    "bytes": (OWN % "x: !!binary aGVsbG8=", "architecture.x: found bytes"),
    "not a number": (OWN % "x: .nan", "architecture.x: wanted a finite number, found nan"),
    "recursive list": ("compare: &a [*a]", "deeper than 32 levels"),
    "recursive option": (
        "student: {architecture: &a {kind: 'a.b:c', x: *a}}",
        r"settings.yaml: student.architecture.x.x: nested deeper",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_value_is_refused_by_key(tmp_path: Path, name: str) -> None:
    text, message = ODD[name]
    path = tmp_path / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=message):
        read_settings(path)


def test_surrogate_of_a_command_line_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^--set work_dir: .* special characters"):
        read_settings(None, ["work_dir=\udcff"])


def test_plain_tree_has_no_oddity_up_to_the_limits() -> None:
    nested: object = "text\twith\nlines"
    for _ in range(MAX_DEPTH - 1):
        nested = [nested]
    assert not list(oddities({"a": nested, "b": [1, 2.5, True, None, "ü", -(2**62)]}))
    assert not list(oddities([0] * (MAX_VALUES - 1)))
    assert [wrong for _, wrong in oddities([0] * MAX_VALUES)] == [
        "more than 10,000 values: are aliases repeated?"
    ]


ALIASES = """\
import resource, sys
from pathlib import Path
from pipeline.errors import SettingsError
from pipeline.settings.read import read_settings
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_settings(Path(sys.argv[1]))
except SettingsError as error:
    assert "more than 10,000 values" in str(error), error
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_aliases_of_aliases_cost_no_memory(tmp_path: Path) -> None:
    """RELIABILITY 23, 24: 388 bytes of YAML once stood for ten million values."""
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 8)]
    path = tmp_path / "settings.yaml"
    path.write_text(OWN % ", ".join(levels), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", ALIASES, str(path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 20_000  # kilobytes
