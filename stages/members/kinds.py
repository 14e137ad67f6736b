"""KINDS: the table of how members of all kinds are made and opened.

    settings   TrainedMemberSettings, ...              kind -> make -> a directory
    directory  folds.json, model.json, ...             kind -> open -> Member

Nothing outside this table and that of the settings (any_settings.py) tells kinds apart. The
trained kind needs stages/training to be made: that is why this room lies above training, and not
in stages/acoustic/, and why teacher and evaluation find it in a room that all stages share.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.acoustic.models.onnx_model import ONNX_ABOUT_FILE, read_onnx_about
from stages.contract.errors import MissingPart
from stages.members.archived import ARCHIVED
from stages.members.foreign.exported_runner import EXPORTED
from stages.members.foreign.huggingface_runner import HUGGINGFACE
from stages.members.foreign.onnx_runner import ONNX
from stages.members.foreign.python_runner import PYTHON
from stages.members.foreign.torchscript_runner import TORCHSCRIPT
from stages.members.kind import MemberKind
from stages.members.member import Member
from stages.members.onnx_member import OnnxMember
from stages.members.settings import MemberSettings
from stages.members.trained import TRAINED

KINDS: tuple[MemberKind[Any], ...] = (
    TRAINED,
    ARCHIVED,
    ONNX,
    TORCHSCRIPT,
    EXPORTED,
    HUGGINGFACE,
    PYTHON,
)


def kind_of(settings: MemberSettings) -> MemberKind[Any]:
    """The row of a member's settings."""
    return next(kind for kind in KINDS if kind.name == settings.kind)


def kind_in(directory: Path) -> MemberKind[Any] | None:
    """The row of the member that `directory` holds; None if it holds no description of one."""
    for kind in KINDS:
        if any((directory / name).is_file() for name in kind.descriptions):
            return kind
    return None


def open_member(directory: Path, *, device: str) -> Member:
    """The member in `directory`; no weights are read.

    Raises:
        MissingPart: if no member is there, or files that it reads are missing.
        BadInput: if its description, or a file that it reads, is not what was written.
    """
    if (directory / ONNX_ABOUT_FILE).is_file():  # an export: evaluated, but of no settings' kind
        return OnnxMember(directory, read_onnx_about(directory))
    kind = kind_in(directory)
    if kind is None:
        files = ", ".join(name for each in KINDS for name in each.descriptions)
        raise MissingPart(f"{directory} holds no member: expected one of {files}: make it first")
    return kind.open(directory, device)


def why_not(directory: Path, splits: Sequence[str]) -> str | None:
    """Why the member in `directory` cannot give posteriors of these splits here, or None."""
    if not directory.is_dir():
        return "its models are not here"
    kind = kind_in(directory)
    return kind.why_not(directory, splits) if kind else f"{directory} holds no member"
