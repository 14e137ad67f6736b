"""KINDS: the table of all kinds of members, and the only place that tells them apart.

    settings   {name: tdnn, architecture: {...}}       kind -> make -> a directory
    directory  folds.json, model.json, member.json     kind -> open -> Member

The table knows how members are made and how they are opened, so that a kind is one row. The
trained kind needs stages/training to be made: that is why this room lies above training, and not
in stages/acoustic/, and why teacher and evaluation find it in a room that all stages share.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import BeforeValidator, Field

from stages.contract.errors import MissingPart
from stages.members.archived import ARCHIVED
from stages.members.kind import MemberKind, MemberSettings
from stages.members.member import Member
from stages.members.trained import TRAINED

KINDS: tuple[MemberKind[Any], ...] = (TRAINED, ARCHIVED)  # without a key, the first is meant
KIND_NAMES = tuple(kind.name for kind in KINDS)


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


def with_kind(value: Any) -> Any:
    """Settings of a member as written -> the same with their `kind`.

    Raises:
        ValueError: naming an unknown kind, or a setting that belongs to another kind.
    """
    if not isinstance(value, dict):
        return value
    implied = [kind.name for kind in KINDS if value.get(kind.key) is not None]
    name = value.get("kind", implied[-1] if implied else KIND_NAMES[0])
    if name not in KIND_NAMES:
        raise ValueError(f"kind {name!r}: expected {' or '.join(KIND_NAMES)}")
    own = next(kind for kind in KINDS if kind.name == name)
    known = own.settings.model_fields
    # `posteriors: null` says that a trained member has none.
    given = {key: each for key, each in value.items() if key in known or each is not None}
    for other in KINDS:
        strange = sorted(given.keys() & (other.settings.model_fields.keys() - known.keys()))
        if strange:
            chosen_by = "kind" if "kind" in given else own.key
            cure = f"remove {chosen_by}" if other.key in strange else f"give {other.key}"
            raise ValueError(
                f"member {given.get('name')} is of kind {name}, found settings of kind "
                f"{other.name}: remove {' and '.join(strange)}, or {cure}"
            )
    return {**given, "kind": name}


if TYPE_CHECKING:
    # To the type checker a member's settings are the class that all kinds share: code that needs
    # more of one kind belongs into that kind's file.
    AnyMemberSettings = MemberSettings
else:
    AnyMemberSettings = Annotated[
        Union[tuple(kind.settings for kind in KINDS)],  # noqa: UP007  made from the table
        Field(discriminator="kind"),
        BeforeValidator(with_kind),
    ]
