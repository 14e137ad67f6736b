"""Model files: a foreign model, copied into the artefact of its member. Does not load torch.

    work/member-3f9c0a71b2d4/foreign/model.onnx

The artefact holds the model, so that the teacher can run on another machine, and later. Each file
is compared with the digest in the member's description before a library reads it.
"""

from collections.abc import Mapping
from pathlib import Path

from stages.contract.errors import BadInput, MissingPart
from storage.files.fingerprint import SHORT, file_digest
from storage.files.publish import make_directories, publish_copy

FOLDER = "foreign"  # of the artefact


def digests_of(files: Mapping[str, Path]) -> dict[str, str]:
    """SHA-256 of each file, by its name in the artefact.

    Raises:
        BadInput: naming the file that cannot be read.
    """
    try:
        return {name: file_digest(path) for name, path in files.items()}
    except OSError as cause:
        raise BadInput(
            f"{cause.filename}: the model cannot be read ({cause.strerror}): let the member's "
            "settings name its file"
        ) from cause


def copy_files(files: Mapping[str, Path], directory: Path) -> dict[str, str]:
    """Copy files into the artefact in `directory`; returns the SHA-256 of each copy.

    Raises:
        BadInput: naming the file that cannot be read.
    """
    digests = digests_of(files)
    for name, path in files.items():
        target = directory / FOLDER / name
        make_directories(target.parent)
        if publish_copy(path, target) != digests[name]:
            raise BadInput(f"{path} changed while it was copied: run the same command again")
    return digests


def refuse_changed_copies(directory: Path, digests: Mapping[str, str]) -> None:
    """Compare the copies in an artefact with the digests of its description.

    Raises:
        MissingPart: if one is missing.
        BadInput: if one is not what was copied.
    """
    for name, wanted in digests.items():
        path = directory / FOLDER / name
        if not path.is_file():
            raise MissingPart(f"{path} is missing: remove {directory} and run 'essence ensemble'")
        found = file_digest(path)
        if found != wanted:
            raise BadInput(
                f"{path}: found {found[:SHORT]}, the member's description names {wanted[:SHORT]}: "
                f"the file was changed: remove {directory} and run 'essence ensemble'"
            )
