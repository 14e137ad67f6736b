"""Settings that all foreign kinds of members share. Does not load torch.

A foreign member is a model that was trained elsewhere and is run here: on the features of the
corpus, which are the rows (T, F) of its files, or on the waveform of the audio that it was made of.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from stages.contract.results import SystemFacts
from stages.contract.settings import NOT_IN_IDENTITY
from stages.members.foreign.class_map import read_class_map
from stages.members.foreign.model_files import digests_of
from stages.members.settings import MemberSettings, Source
from storage.files.fingerprint import fingerprint

Output = Literal["logits", "log_probs", "probs"]
FrameRule = Literal["exact", "nearest"]
Input = Literal["features", "waveform"]
Normalisation = Literal["none", "zero_mean_unit_variance"]


class ForeignMemberSettings(MemberSettings):
    """What a model reads, and what its output means: values, frames and classes.

    Nothing of it is guessed.
    """

    title: ClassVar[str]  # of the kind, in tables
    is_copied: ClassVar[bool] = True  # into the artefact

    output: Output  # natural logarithms, where they are any
    frames: FrameRule = "exact"  # nearest: a row has the nearest of the model's frames
    stride: int = Field(1, ge=1)  # rows from one frame of the model to the next
    offset: int = Field(0, ge=0)  # rows before the first frame, and after the last
    class_map: Annotated[Path | None, NOT_IN_IDENTITY] = None  # its content counts
    input: Input = "features"
    sample_rate: int = Field(16_000, ge=1_000, le=384_000)  # of the waveform, in Hz
    normalise: Normalisation = "none"  # of the waveform, utterance by utterance

    @property
    def files(self) -> Mapping[str, Path]:
        """The model's files: name in the artefact -> where it is now."""
        raise NotImplementedError

    def source(self) -> Source:
        """The model's files and the map of its classes."""
        return Source(name="model", path=next(iter(self.files.values())), fingerprint=self.content)

    def content(self) -> str:
        """Identity of the files and of the map of classes.

        Raises:
            BadInput: if one cannot be read.
        """
        return content_of(digests_of(self.files), self.read_map())

    def read_map(self) -> tuple[int, ...] | None:
        """The class of the corpus for each class of the model; None: they are the same.

        Raises:
            BadInput: if the file is no map.
        """
        return None if self.class_map is None else read_class_map(self.class_map)

    def facts(self) -> SystemFacts:
        """The architecture is not known here."""
        return SystemFacts(architecture=self.title)

    def not_in_identity(self) -> set[str]:
        """Settings of the waveform count where they are used: members of features are older."""
        return super().not_in_identity() | self.at_default("input", "sample_rate", "normalise")

    @model_validator(mode="after")
    def _waveform_settings_have_a_waveform(self) -> Self:
        if self.input == "features":
            for name in ("sample_rate", "normalise"):
                if not self.at_default(name):
                    raise ValueError(
                        f"{name} is a setting of models that read the waveform: set input: "
                        f"waveform, or leave {name} out"
                    )
        return self

    @model_validator(mode="after")
    def _exact_frames_are_rows(self) -> Self:
        if self.frames == "exact" and (self.stride, self.offset) != (1, 0):
            raise ValueError(
                f"stride {self.stride} and offset {self.offset} with frames: exact, which wants a "
                "frame for every row: set frames: nearest, or leave both out"
            )
        return self


class TrustedMemberSettings(ForeignMemberSettings):
    """A foreign member whose model can run any code when it is loaded."""

    runs: ClassVar[str]  # what runs code

    trust: Annotated[bool, NOT_IN_IDENTITY] = False

    @model_validator(mode="after")
    def _is_trusted(self) -> Self:
        if not self.trust:
            raise ValueError(
                f"kind {self.kind}: {self.runs} can run any code on this machine: set trust: true "
                "in the member's settings if you trust where the model comes from"
            )
        return self

    @property
    def permission(self) -> str:
        """What permits to load such members (stages/acoustic/models/permission.py)."""
        return self.kind

    def own_architectures(self) -> frozenset[str]:
        """The settings trust the member: its code may run."""
        return frozenset({self.permission})


def content_of(digests: Mapping[str, str], class_map: tuple[int, ...] | None) -> str:
    """Identity of a model: the digests of its files, by name, and the map of its classes."""
    return fingerprint({"files": dict(digests), "classes": class_map})
