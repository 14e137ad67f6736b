"""SETTINGS: the table of the settings of all kinds of members. Does not load torch.

    {name: tdnn, architecture: {...}} -> with_kind -> TrainedMemberSettings

kinds.py has the table of how members of these settings are made and opened.
"""

from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import BeforeValidator, Field

from stages.members.archived_settings import ArchivedMemberSettings
from stages.members.foreign.exported_settings import ExportedMemberSettings
from stages.members.foreign.huggingface_settings import HuggingfaceMemberSettings
from stages.members.foreign.onnx_settings import OnnxMemberSettings
from stages.members.foreign.python_settings import PythonMemberSettings
from stages.members.foreign.torchscript_settings import TorchscriptMemberSettings
from stages.members.settings import MemberSettings
from stages.members.trained_settings import TrainedMemberSettings

# Where neither `kind` nor a key is given, the first is meant.
SETTINGS: dict[str, type[MemberSettings]] = {
    "trained": TrainedMemberSettings,
    "archived": ArchivedMemberSettings,
    "onnx": OnnxMemberSettings,
    "torchscript": TorchscriptMemberSettings,
    "exported": ExportedMemberSettings,
    "huggingface": HuggingfaceMemberSettings,
    "python": PythonMemberSettings,
}


def with_kind(value: Any) -> Any:
    """Settings of a member as written -> the same with their `kind`.

    Raises:
        ValueError: naming an unknown kind, or a setting that belongs to another kind.
    """
    if not isinstance(value, dict):
        return value
    implied = [name for name, kind in SETTINGS.items() if value.get(kind.key) is not None]
    name = value.get("kind", implied[-1] if implied else next(iter(SETTINGS)))
    if name not in SETTINGS:
        raise ValueError(f"kind {name!r}: expected one of {', '.join(SETTINGS)}")
    own = SETTINGS[name]
    known = own.model_fields
    # `posteriors: null` says that a trained member has none.
    given = {key: each for key, each in value.items() if key in known or each is not None}
    for other_name, other in SETTINGS.items():
        strange = sorted(given.keys() & (other.model_fields.keys() - known.keys()))
        if strange:
            chosen_by = "kind" if "kind" in given else own.key
            cure = f"remove {chosen_by}" if other.key in strange else f"give {other.key}"
            raise ValueError(
                f"member {given.get('name')} is of kind {name}, found settings of kind "
                f"{other_name}: remove {' and '.join(strange)}, or {cure}"
            )
    return {**given, "kind": name}


if TYPE_CHECKING:
    # To the type checker a member's settings are the class that all kinds share: code that needs
    # more of one kind belongs into that kind's file.
    AnyMemberSettings = MemberSettings
else:
    AnyMemberSettings = Annotated[
        Union[tuple(SETTINGS.values())],  # noqa: UP007  made from the table
        Field(discriminator="kind"),
        BeforeValidator(with_kind),
    ]
