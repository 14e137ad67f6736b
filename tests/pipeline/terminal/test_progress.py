"""Progress in a log: few lines, with share, rate and the last figures."""

import io

import pytest
from rich.console import Console

from pipeline.terminal import bars, work
from pipeline.terminal.progress import TerminalProgress


def take_steps(monkeypatch: pytest.MonkeyPatch, *, seconds_a_step: float) -> None:
    """Run five steps of a task on a fake clock."""
    clock = iter(i * seconds_a_step / 4 for i in range(1000))
    monkeypatch.setattr(work.time, "monotonic", lambda: next(clock))
    with TerminalProgress().task("member wide", total=50, unit="frames") as task:
        for step in range(5):
            task.advance(10, frame_error=0.5 - step / 10)


def test_long_task_leaves_a_line_with_its_last_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    take_steps(monkeypatch, seconds_a_step=5.0)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("member wide: 100%  ")
    assert lines[-1].endswith(" frames/s  frame error 0.1")


def test_short_task_leaves_no_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    take_steps(monkeypatch, seconds_a_step=0.1)
    assert not capsys.readouterr().err


def test_very_long_task_prints_its_progress_in_steps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    take_steps(monkeypatch, seconds_a_step=150.0)
    shares = [line.split()[2] for line in capsys.readouterr().err.splitlines()]
    assert shares[0] == "20%"
    assert len(shares) >= 5


def test_failed_task_prints_no_final_line(capsys: pytest.CaptureFixture[str]) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        TerminalProgress().task("member wide", total=50, unit="frames"),
    ):
        raise KeyboardInterrupt
    assert not capsys.readouterr().err


@pytest.mark.parametrize("width", [60, 80, 200])
def test_narrow_terminal_cuts_no_name_and_no_figure(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=width, force_terminal=True, color_system=None)
    monkeypatch.setattr(bars, "Console", lambda **_: console)
    facts = {"loss": 1.25, "hard": 1.5, "soft": 1.0, "frame_error": 0.3125, "dev_loss": 2.5}
    title = "student k=32 hard=0.2 tail=bucket: epoch 3/30"
    with TerminalProgress().task(title, total=1000, unit="frames") as task:
        task.advance(300, **facts, shards="1/2")
        task._bars.refresh()  # type: ignore[attr-defined]
        shown = " ".join(screen.getvalue().split())
    for words in ("loss 1.25", "frame error 0.3125", "dev loss 2.5", "shards 1/2", " 30%"):
        assert words in shown
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown
    assert "frames/s" in shown
