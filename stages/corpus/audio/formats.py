"""Formats of audio corpora: what `corpus.path` is, and its rows.

To add one: a row of FORMATS, with the files that make it what it is and the reader of its rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.acoustic.sound.speech_table import SpeechRow
from stages.contract.errors import BadInput
from stages.corpus.audio.dataset_rows import dataset_folders, read_dataset_rows
from stages.corpus.audio.kaldi_rows import TABLES, kaldi_folders, read_kaldi_rows, resolve
from stages.corpus.audio.lhotse_files import audio_of, find_manifests
from stages.corpus.audio.lhotse_rows import read_lhotse_rows
from stages.corpus.audio.settings import AudioSettings
from stages.corpus.audio.table_rows import read_table_rows, table_files

WANTED = (
    "wanted a table (.tsv, .jsonl) or a folder with train.tsv, a Kaldi directory with wav.scp, a "
    "Lhotse manifest (cuts.jsonl.gz), or a dataset that save_to_disk wrote (docs/audio.md); other "
    "names of train, dev and test: corpus.audio.splits"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFormat:
    """`tables` lists the files that describe the audio. It is empty if the path has another format.

    `audio` gives the audio files that they name, without the packages that reading them takes.
    """

    tables: Callable[[Path, AudioSettings], Sequence[Path]]
    audio: Callable[[Path, AudioSettings], Sequence[Path]]
    rows: Callable[[Path, AudioSettings], list[SpeechRow]]


def _kaldi_tables(path: Path, settings: AudioSettings) -> list[Path]:
    folders = kaldi_folders(path, settings)
    return [folder / name for folder in folders for name in TABLES if (folder / name).is_file()]


def _dataset_tables(path: Path, settings: AudioSettings) -> list[Path]:
    folders = dataset_folders(path, settings)
    return [file for folder in folders for file in sorted(folder.glob("*.json"))]


def _dataset_audio(path: Path, settings: AudioSettings) -> list[Path]:
    folders = dataset_folders(path, settings)
    return [file for folder in folders for file in sorted(folder.glob("*.arrow"))]


def _lhotse_tables(path: Path, settings: AudioSettings) -> list[Path]:
    return [file for manifest in find_manifests(path, settings) for file in manifest.files]


def _lhotse_audio(path: Path, settings: AudioSettings) -> list[Path]:
    files = _lhotse_tables(path, settings)
    return list(dict.fromkeys(resolve(name, f.parent) for f in files for name in audio_of(f)))


def _of_rows(
    read: Callable[[Path, AudioSettings], list[SpeechRow]],
) -> Callable[[Path, AudioSettings], list[Path]]:
    return lambda path, settings: list(dict.fromkeys(row.path for row in read(path, settings)))


FORMATS = {
    "Kaldi": AudioFormat(
        tables=_kaldi_tables, audio=_of_rows(read_kaldi_rows), rows=read_kaldi_rows
    ),
    "dataset": AudioFormat(tables=_dataset_tables, audio=_dataset_audio, rows=read_dataset_rows),
    "Lhotse": AudioFormat(tables=_lhotse_tables, audio=_lhotse_audio, rows=read_lhotse_rows),
    "table": AudioFormat(
        tables=lambda path, settings: list(table_files(path, settings)),
        audio=_of_rows(read_table_rows),
        rows=read_table_rows,
    ),
}


def find_format(path: Path, settings: AudioSettings) -> AudioFormat:
    """The format of `path`.

    Raises:
        BadInput: if it is missing, no format or several fit, or it has files of a split that is
            taken from train.
    """
    if not path.exists():
        raise BadInput(f"{path} is missing: {WANTED}")
    found = {name: kind for name, kind in FORMATS.items() if kind.tables(path, settings)}
    if len(found) > 1 and path.is_dir():
        raise BadInput(
            f"{path} holds files of {' and '.join(found)} formats: let corpus.path be the one to "
            "read, or move the others away"
        )
    if not found:
        raise BadInput(f"{path} is no corpus of audio: {WANTED}")
    kind = next(iter(found.values()))  # cuts.jsonl is a manifest, though a table may end so too
    _refuse_files_of_shares(kind, path, settings)
    return kind


def _refuse_files_of_shares(kind: AudioFormat, path: Path, settings: AudioSettings) -> None:
    """A split that is taken from train must not be there as well: its files would not be read."""
    read = set(kind.tables(path, settings))
    for split in settings.shares:
        without_share = settings.model_copy(update={f"{split}_share": 0.0})
        for file in kind.tables(path, without_share):
            if file not in read:
                raise BadInput(
                    f"{file} is there, and corpus.audio.{split}_share takes {split} from train: "
                    f"set the share to 0, or another name in corpus.audio.splits.{split}"
                )
