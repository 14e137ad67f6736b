"""Names from corpora and settings reach a terminal as text: no markup, no control characters."""

import io

import pytest
from rich.console import Console

from pipeline.terminal import bars
from pipeline.terminal.columns import aligned
from pipeline.terminal.exit import fail
from pipeline.terminal.plain_text import plain_text
from pipeline.terminal.progress import TerminalProgress

ODD = "[/red] \x1b[31mred\x1b]0;title\x07\x9b31m\ud800 [bold]ü"
SHOWN = r"[/red] \x1b[31mred\x1b]0;title\x07\x9b31m\ud800 [bold]ü"


def test_control_characters_are_shown_as_escapes() -> None:
    assert plain_text(ODD) == SHOWN
    assert plain_text("line 1\nline 2") == "line 1\nline 2"


def test_bar_takes_names_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """`[/red]` alone is a MarkupError of rich."""
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=400, color_system=None)
    monkeypatch.setattr(bars, "terminal", lambda: console)
    with TerminalProgress().task(ODD, total=2, unit="frames") as task:
        task.advance(1, speaker=ODD)
    assert shown.getvalue().count(SHOWN) >= 2


def test_notes_errors_and_tables_take_names_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    TerminalProgress().note(ODD)
    with pytest.raises(SystemExit):
        fail(ODD, code=1)
    assert capsys.readouterr().err == f"{SHOWN}\nessence: {SHOWN}\n"
    assert aligned([("name", "x"), (ODD, "1")]).splitlines()[1] == f"{SHOWN}  1"
