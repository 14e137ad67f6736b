"""Makers of faults: a build under strace, whose Nth call of a kind is killed, refused, or lied to.

strace counts the calls of each thread and each kind by themselves. One driver imports everything,
lets strace attach to it, and forks a child for each point (kind, N); the child makes LAST - N calls
of that kind for nothing, then builds, so that its own Nth call is call LAST, the one that strace
spoils. No kind comes LAST times in a build. A point takes 50 ms, not a second.

A kind such as "rename/thread" is a call of another thread than the main one: that thread makes the
calls for nothing when it starts.
"""

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

from storage.errors import EssenceError
from tests.support.faults.store_commands import Command
from tests.support.paths import ROOT

NAMED, RAW = 3, 4  # exit codes of a child: an error of ours, any other exception

NOTHING = "/nowhere/at/all"
BEGINS = "/the-build-begins"
THREAD_BEGINS = "/a-thread-begins"
FOR_NOTHING: dict[str, Callable[[int], object]] = {
    "write": lambda null: os.write(null, b"x"),
    "fsync": os.fsync,
    "rename": lambda _: os.rename(NOTHING, NOTHING),
    "linkat": lambda _: os.link(NOTHING, NOTHING, follow_symlinks=False),
    "link": lambda _: os.link(NOTHING, NOTHING),
    "unlink": lambda _: Path(NOTHING).unlink(),
    "unlinkat": lambda null: os.unlink("x", dir_fd=null),
    "mkdir": lambda _: Path("/").mkdir(),
    "rmdir": lambda _: Path(NOTHING).rmdir(),
    "pwrite64": lambda null: os.pwrite(null, b"x", 0),
    "openat": lambda _: os.open(NOTHING, os.O_RDONLY),
}
CALLS = (*FOR_NOTHING,)
LAST = 512
PR_SET_PTRACER, ANYBODY = 0x59616D61, (1 << 64) - 1  # of linux/prctl.h
THREAD = "/thread"
Point = tuple[str, int]  # a call, and which one of a build's


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a spoiled build ended. `status` as from Popen: -9 is killed."""

    point: Point
    path: Path
    status: int
    message: str


def why_no_faults() -> str:
    """The reason for skipping; empty where faults can be made."""
    if not shutil.which("strace"):
        return "strace is not installed (apt-get install strace)"
    probe = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False)
    return "" if probe.returncode == 0 else "strace may not trace here"


def count_calls(folder: Path, *, what: str = "label") -> Counter[str]:
    """How often an undisturbed build makes each call, in the main thread and in others."""
    log = folder / "calls"
    kinds = ",".join(f"?{call}" for call in CALLS)
    _drive(folder, ["-o", str(log), "-e", f"trace={kinds}"], [("openat", LAST)], what)
    text = log.read_text(encoding="utf-8")
    (main,) = re.findall(rf"^(\d+) .*{BEGINS}", text, flags=re.MULTILINE)
    others = re.findall(rf"^(\d+) .*{THREAD_BEGINS}", text, flags=re.MULTILINE)
    build_text = text[text.index(BEGINS) :]
    counts = Counter[str]()
    for thread in (main, *others):
        found = Counter(re.findall(rf"^{thread} +(\w+)\(", build_text, flags=re.MULTILINE))
        for call, number in found.items():
            kind = call if thread == main else call + THREAD
            counts[kind] = max(counts[kind], number)
    assert max(counts.values()) < LAST
    return counts


def every(counts: Counter[str], calls: Sequence[str], *, step: int) -> list[Point]:
    """Each `step`th call of these kinds in a build."""
    return [(call, n) for call in calls for n in range(1, counts[call] + 1, step)]


def spoil(
    folder: Path, fault: str, points: Sequence[Point], *, what: str = "label"
) -> list[Outcome]:
    """A build for each point, which meets `fault` there, written as strace does.

    A `+` at its end: there and at every later call of that kind.
    """
    kinds = ",".join(sorted({call.removesuffix(THREAD) for call, _ in points}))
    when = f"{LAST}+" if fault.endswith("+") else f"{LAST}"
    inject = f"inject={kinds}:{fault.rstrip('+')}:when={when}"
    words = ["-o", os.devnull, "-e", f"trace={kinds}", "-e", inject]
    return [
        Outcome(point=point, path=_place(folder, *point), status=status, message=message)
        for point, (status, message) in zip(
            points, _drive(folder, words, points, what), strict=True
        )
    ]


def _drive(
    folder: Path, words: list[str], points: Sequence[Point], what: str
) -> list[tuple[int, str]]:
    given = json.dumps([str(folder), words, points, what])
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            "from tests.support.faults import system_calls; system_calls.drive()",
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input=given,
        capture_output=True,
        text=True,
        timeout=7200,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    outcomes: list[tuple[int, str]] = json.loads(ran.stdout)
    return outcomes


def _place(folder: Path, call: str, number: int) -> Path:
    return folder / f"{call.replace('/', '-')}-{number}.zarr"


def find_command(what: str) -> Command:
    """The command of a name, from the first file that has it. Stages take seconds to import."""
    for module in ("store_commands", "stage_commands"):
        found = import_module(f"tests.support.faults.{module}").COMMANDS
        if what in found:
            command: Command = found[what]
            return command
    raise KeyError(what)


def drive() -> None:
    """The driver: a child for each point; prints their statuses and messages."""
    folder, words, points, what = json.load(sys.stdin)
    command = find_command(what)
    with TemporaryDirectory() as warm:  # what is imported late is imported now
        command.prepare(Path(warm))
        command.run(Path(warm) / "0.zarr")
    command.prepare(Path(folder))
    outcomes = []
    with _traced(words):
        for call, number in points:
            receiver, sender = os.pipe()
            pid = os.fork()
            if not pid:
                path = _place(Path(folder), call, number)
                os._exit(_child(path, call, LAST - number, sender, command))
            os.close(sender)
            with os.fdopen(receiver, encoding="utf-8") as pipe:
                message = pipe.read()
            outcomes.append((os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), message))
    print(json.dumps(outcomes))


@contextmanager
def _traced(words: list[str]) -> Iterator[None]:
    """strace watches this process and its children."""
    pid = str(os.getpid())
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_ulong(ANYBODY))
    with subprocess.Popen(["strace", "-f", "-qq", *words, "-p", pid]) as strace:
        status = os.open("/proc/self/status", os.O_RDONLY)
        while b"TracerPid:\t0\n" in os.pread(status, 4096, 0):
            assert strace.poll() is None, "strace cannot attach"
        yield
        strace.terminate()


def _child(path: Path, call: str, num_for_nothing: int, sender: int, command: Command) -> int:
    call, is_thread = call.removesuffix(THREAD), call.endswith(THREAD)
    null = os.open(os.devnull, os.O_RDWR)

    def begin(mark: str, *, is_meant: bool) -> None:
        for _ in range(num_for_nothing if is_meant else 0):
            with suppress(OSError):
                FOR_NOTHING[call](null)
        if not num_for_nothing:
            with suppress(OSError):
                os.open(mark, os.O_RDONLY)

    run_thread = Thread.run

    def run(thread: Thread) -> None:
        begin(THREAD_BEGINS, is_meant=is_thread)
        run_thread(thread)

    Thread.run = run  # type: ignore[method-assign]
    begin(BEGINS, is_meant=not is_thread)
    try:
        command.run(path)
    except Exception as error:  # noqa: BLE001 the driver is told of all
        with suppress(OSError):  # not write(): that may be what is spoiled
            os.writev(sender, [f"{type(error).__name__}: {error}".encode()])
        return NAMED if isinstance(error, EssenceError) else RAW
    return 0
