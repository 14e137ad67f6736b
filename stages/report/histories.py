"""metrics.jsonl -> training curves."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from stages.contract.errors import BadInput, MissingPart
from stages.contract.results import EpochMetrics

History = tuple[EpochMetrics, ...]


def read_histories(paths: Mapping[str, Path]) -> dict[str, History]:
    """The epochs of each system, in the order of `paths`; systems without an epoch are left out.

    Raises:
        MissingPart: if a file is missing.
        BadInput: naming file and line.
    """
    read = {name: _read(path) for name, path in paths.items()}
    return {name: history for name, history in read.items() if history}


def _read(path: Path) -> History:
    if not path.is_file():
        raise MissingPart(f"{path} is not there: train this model again")
    epochs = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            epochs.append(EpochMetrics.model_validate_json(line))
        except ValidationError as cause:
            raise BadInput(
                f"{path}:{number}: {cause.errors()[0]['msg']}: wanted one epoch per line"
            ) from cause
    return tuple(epochs)
