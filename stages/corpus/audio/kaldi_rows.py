"""Kaldi directory with audio -> rows: PATH, or PATH/{train,dev,test}.

wav.scp         recording, file        a file of its own each; no pipe, no archive
segments        utterance, recording, start, end, in seconds; without it recordings are utterances
text, utt2spk   of utterances; both may be missing
reco2dur        seconds of recordings, compared with the files, if it is there
"""

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from stages.acoustic.kaldi.tables import read_table
from stages.acoustic.sound.speech_table import SpeechRow, first_error
from stages.contract.errors import BadInput
from stages.corpus.audio.settings import AudioSettings

TABLES = ("wav.scp", "segments", "text", "utt2spk", "reco2dur")
_IN_ARCHIVE = re.compile(r".*\.ark:\d+")


def kaldi_folders(path: Path, settings: AudioSettings) -> dict[Path, str | None]:
    """The folders with a wav.scp, and the name of the split that each holds."""
    if (path / "wav.scp").is_file():
        return {path: None}
    return {path / n: n for n in settings.names if (path / n / "wav.scp").is_file()}


def read_kaldi_rows(path: Path, settings: AudioSettings) -> list[SpeechRow]:
    """The utterances of the folders at `path`.

    Raises:
        BadInput: naming table and utterance, for shell pipes, archives and missing recordings.
    """
    folders = kaldi_folders(path, settings)
    return [row for folder, split in folders.items() for row in _read_folder(folder, split)]


def _read_folder(folder: Path, split: str | None) -> Iterator[SpeechRow]:
    files = {id: _file(folder, id, rest) for id, rest in read_table(folder / "wav.scp").items()}
    texts, speakers, seconds = (_table(folder / n) for n in ("text", "utt2spk", "reco2dur"))
    has_segments = (folder / "segments").is_file()
    segments = _table(folder / "segments") if has_segments else {id: id for id in files}
    for id, rest in segments.items():
        where = f"{folder / ('segments' if has_segments else 'wav.scp')}, utterance {id!r}"
        recording, *times = rest.split()
        if recording not in files or len(times) not in (0, 2):
            raise BadInput(
                f"{where}: found {rest!r}, wanted a recording of wav.scp, its start and its end"
            )
        values = {
            "id": id,
            "path": files[recording],
            "duration": seconds.get(recording),
            "speaker": speakers.get(id) or recording,
            "split": split,
            "text": texts.get(id) or None,
        }
        if times:
            values |= {"start": times[0], "end": None if times[1].startswith("-") else times[1]}
        try:
            yield SpeechRow.model_validate(values)
        except ValidationError as cause:
            raise BadInput(f"{where}: {first_error(cause)}") from cause


def _table(path: Path) -> dict[str, str]:
    return read_table(path) if path.is_file() else {}


def _file(folder: Path, id: str, rest: str) -> Path:
    where = f"{folder / 'wav.scp'}, recording {id!r}"
    if rest.startswith("|") or rest.endswith("|"):
        raise BadInput(
            f"{where}: shell pipes are refused, since a corpus would run the commands that its "
            f"tables hold: found {rest[:60]!r}; run the command and list the file that it "
            "writes"
        )
    if not rest or _IN_ARCHIVE.fullmatch(rest):
        raise BadInput(
            f"{where}: found {rest or 'no file'!r}, wanted an audio file of its own: write each "
            "recording to a file (wav-copy)"
        )
    return resolve(rest, folder)


def resolve(name: str, folder: Path) -> Path:
    """A path of a table, relative to the table's folder or, if it is not there, to this one."""
    inside = folder / name
    return inside if inside.exists() or not Path(name).exists() else Path(name)
