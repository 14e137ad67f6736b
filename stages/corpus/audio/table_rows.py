"""Table, or folder of tables -> rows: PATH.tsv, or PATH/{train,dev,test}.tsv or .jsonl."""

from pathlib import Path

from stages.acoustic.sound.speech_table import SpeechRow, is_table, read_table_of_speech
from stages.corpus.audio.settings import AudioSettings

SUFFIXES = (".tsv", ".jsonl")


def table_files(path: Path, settings: AudioSettings) -> dict[Path, str | None]:
    """The tables at `path`, and the name of the split that each holds; None: a column states it."""
    if path.is_file():
        return {path: None} if is_table(path) else {}
    candidates = {path / f"{n}{suffix}": n for n in settings.names for suffix in SUFFIXES}
    return {file: name for file, name in candidates.items() if file.is_file()}


def read_table_rows(path: Path, settings: AudioSettings) -> list[SpeechRow]:
    """The utterances of the tables at `path`.

    Raises:
        BadInput: naming file and line.
    """
    rows: list[SpeechRow] = []
    for file, split in table_files(path, settings).items():
        folder = file.parent / (settings.folder or ".")
        found = read_table_of_speech(file, settings.columns, folder=folder)
        stated = {} if split is None else {"split": split}  # the name of the file counts
        rows += [row.model_copy(update=stated) for row in found]
    return rows
