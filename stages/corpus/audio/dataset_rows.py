"""Folder of a Hugging Face dataset -> rows: one that `save_to_disk` wrote, or one with its splits.

The audio is in the dataset; its columns have the texts. Without a column of ids an utterance is
called SPLIT-ROW.
"""

from pathlib import Path

from pydantic import ValidationError

from stages.acoustic.sound.dataset_audio import PARTS_FILE, DatasetAudio, is_dataset
from stages.acoustic.sound.speech_table import Columns, SpeechRow, first_error
from stages.contract.errors import BadInput
from stages.corpus.audio.settings import AudioSettings

TAKEN = tuple(name for name in Columns.model_fields if name != "path")


def dataset_folders(path: Path, settings: AudioSettings) -> dict[Path, str | None]:
    """The folders of datasets, and the name of the split that each holds."""
    if (path / PARTS_FILE).is_file():
        return {path / name: name for name in settings.names if is_dataset(path / name)}
    return {path: None} if is_dataset(path) else {}


def read_dataset_rows(path: Path, settings: AudioSettings) -> list[SpeechRow]:
    """The utterances of the datasets at `path`, in the order of their rows.

    Raises:
        BadInput: naming folder and row.
    """
    folders = dataset_folders(path, settings)
    return [row for item in folders.items() for row in _read_one(*item, settings.columns)]


def _read_one(folder: Path, split: str | None, columns: Columns) -> list[SpeechRow]:
    table = DatasetAudio(folder).others
    names = {ours: getattr(columns, ours) for ours in TAKEN}
    held = {ours: table[theirs][:] for ours, theirs in names.items() if theirs in table.features}
    rows = []
    for row in range(len(table)):
        id = f"{split or folder.name}-{row}"
        values = {"id": id, "speaker": id, "split": split}
        values |= {ours: column[row] for ours, column in held.items() if column[row] is not None}
        try:
            rows.append(SpeechRow.model_validate({**values, "path": folder, "row": row}))
        except ValidationError as cause:
            raise BadInput(f"{folder}, row {row}: {first_error(cause)}") from cause
    return rows
