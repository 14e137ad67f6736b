"""audio files -> JSON lines, by an export that is as it was written. No torch is loaded."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from pipeline.errors import Changed
from pipeline.shelf.contents import refuse_changed_files
from pipeline.terminal.progress import TerminalProgress
from stages.acoustic.features.cmvn_file import read_moments
from stages.acoustic.sound.speech_table import SpeechRow
from stages.contract.progress import Progress, SilentProgress
from stages.deploy.folder import Deployment
from stages.deploy.speaker_sums import sums_for
from stages.deploy.transcribe import Failed, Transcriber
from storage.files.full_disk import naming
from storage.files.leftovers import unfinished


def open_transcriber(folder: Path, *, cmvn_stats: Path | None, threads: int) -> Transcriber:
    """The export in a folder, which may have any name, compared with its digests.

    Raises:
        Changed: if a file is not as it was written.
        BadInput, MissingPart: see `Deployment.open` and `sums_for`.
    """
    refuse_changed_files(folder)
    deployment = Deployment.open(folder, threads=threads)
    sums = sums_for(
        deployment.about.features,
        of_train=deployment.cmvn,
        given=None if cmvn_stats is None else read_moments(cmvn_stats),
        num_bins=deployment.sound.num_mel_bins,
    )
    return Transcriber(deployment=deployment, sums=sums)


def write_transcripts(
    transcriber: Transcriber, rows: Sequence[SpeechRow], output: Path | None
) -> int:
    """Write a JSON line for each utterance, notes for the others; returns how many failed.

    Without `output` the lines go to stdout as they are made; `output` appears when it is whole.
    """
    terminal = TerminalProgress()
    progress: Progress = SilentProgress() if output is None else terminal  # stdout is a bar enough
    num_failed, total = 0, len(rows) * transcriber.num_passes
    with (
        _lines(output) as file,
        progress.task("transcribe", total=total, unit="files") as task,
    ):
        for found in transcriber.transcribe(rows, task):
            if isinstance(found, Failed):
                num_failed += 1
                terminal.note(f"essence: {found.row.id}: left out: {found.reason}")
            else:
                print(found.model_dump_json(), file=file, flush=output is None)
    clock = transcriber.clock
    left_out = f"; {num_failed} of {len(rows)} left out" if num_failed else ""
    terminal.note(
        f"{clock.speech:.1f} s of speech in {clock.taken:.1f} s: real-time factor "
        f"{clock.real_time_factor:.4f}{left_out}"
    )
    return num_failed


def refuse_output(output: Path) -> None:
    """Make sure that nothing is replaced: the file is new, or a pipe or device to write into.

    Raises:
        Changed: if a file or folder is there, which may be one of those that are read.
    """
    if os.path.lexists(output) and not _is_stream(output):
        raise Changed(f"{output} exists already: name another file, or remove it")


def _is_stream(output: Path) -> bool:
    return output.exists() and not output.is_file() and not output.is_dir()


@contextmanager
def _lines(output: Path | None) -> Iterator[TextIO]:
    """stdout, a pipe or device, or a file that is renamed to `output` at the end."""
    if output is None:
        yield sys.stdout
        return
    if _is_stream(output):
        with output.open("w", encoding="utf-8") as file:
            yield file
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = unfinished(output)
    try:
        with naming(partial), partial.open("w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
