"""DatasetAudio: the audio files that a dataset of Hugging Face's `datasets` contains.

The dataset is a folder that `save_to_disk` wrote: the bytes of each file are in its Arrow tables.
They are read as they are; no decoder of `datasets` runs.
"""

from pathlib import Path
from typing import Any

from stages.contract.errors import BadInput

INFO_FILE, STATE_FILE, PARTS_FILE = "dataset_info.json", "state.json", "dataset_dict.json"


def is_dataset(path: Path) -> bool:
    """Whether a folder is one dataset, as `save_to_disk` writes it."""
    return (path / INFO_FILE).is_file() and (path / STATE_FILE).is_file()


class DatasetAudio:
    """A dataset with one column of audio files.

    Raises:
        BadInput: if the folder cannot be read, or has no or several columns of audio.
    """

    def __init__(self, path: Path) -> None:
        from datasets import Audio, load_from_disk  # a second to import: only where one is read

        self.path = path
        try:
            table: Any = load_from_disk(str(path))
        except Exception as cause:  # of pyarrow, json or datasets: all are about this folder
            reason = " ".join(str(cause).split())
            raise BadInput(
                f"{path} cannot be read as a dataset ({reason}): save it again"
            ) from cause
        audio = [name for name, kind in table.features.items() if isinstance(kind, Audio)]
        if len(audio) != 1:
            raise BadInput(
                f"{path} has {len(audio)} columns of audio ({', '.join(audio) or 'none'}), wanted "
                "1: cast or remove columns, and save it again"
            )
        self._audio = table.select_columns(audio).cast_column(audio[0], Audio(decode=False))
        self._column = audio[0]
        self.others: Any = table.remove_columns(audio)  # a Dataset

    def __len__(self) -> int:
        return len(self._audio)

    def encoded(self, row: int) -> bytes:
        """The bytes of the audio file in a row.

        Raises:
            BadInput: if the row has a path only.
        """
        encoded = self._audio[row][self._column]["bytes"]
        if not encoded:
            raise BadInput(
                f"{self.path}, row {row}: the dataset does not contain the audio, only a path: "
                "save it again with save_to_disk, which adds the files"
            )
        return bytes(encoded)
