"""ForeignMember: a model of another program that is run here, as a member of an ensemble.

A kind has a loader, which makes a Runner of the files in the artefact. All the rest is the same
for all kinds: one utterance at a time goes through the model, so that the bits of its output do
not depend on which utterances go together.

Shapes: B pieces, T rows of the corpus, F feature dims, S samples, N frames and M classes of the
model, C classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from stages.contract.errors import BadInput, BadPosterior
from stages.contract.settings import Settings
from stages.members.batches import Batch, Piece
from stages.members.ensemble_posteriors import LOG_FLOOR
from stages.members.foreign.frame_map import MAX_DIFFERENCE, expected_frames, nearest_frames
from stages.members.foreign.model_files import FOLDER, digests_of, refuse_changed_copies
from stages.members.foreign.outputs import ClassMap, log_posteriors_of
from stages.members.foreign.settings import ForeignMemberSettings, content_of
from stages.members.foreign.waveform import Waveform
from storage.files.fingerprint import fingerprint


class ForeignAbout(Settings):
    """What a foreign member is. `settings` are all of its settings, `counted` those that count.

    `files` are the digests of the copies; of a Python model, that of its source file.
    """

    format: Literal["essence foreign member 1"] = "essence foreign member 1"
    title: str
    settings: dict[str, Any]
    counted: dict[str, Any]
    files: dict[str, str]
    class_map: tuple[int, ...] | None
    feature_dim: int | None = Field(ge=1)  # None: it reads the waveform
    num_classes: int = Field(ge=1)
    class_inventory: str
    frame_shift_ms: float | None = Field(None, gt=0)  # of the corpus, for models of the waveform
    num_parameters: int | None = None

    @property
    def fingerprint(self) -> str:
        """The settings that count, the files, and the classes of the output."""
        return fingerprint(
            {
                "settings": self.counted,
                "content": content_of(self.files, self.class_map),
                "class_inventory": self.class_inventory,
            }
        )


class Runner(Protocol):
    """A foreign model in memory, ready to run on the device that it was loaded for.

    What is None is not known of the model.
    """

    @property
    def num_parameters(self) -> int | None:
        """Number of weights."""

    @property
    def feature_dim(self) -> int | None:
        """F that the model declares."""

    @property
    def class_inventory(self) -> str | None:
        """Identity of its classes, as the corpus's files have it."""

    def run(self, values: Tensor) -> Tensor:
        """The output (N, M), or (1, N, M), of the features (T, F) or samples (S,) of a piece."""


Load = Callable[[Any, Path, str], Runner]  # settings, folder of the files, device


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedForeign:
    """A foreign model in memory. `where` is the member in messages."""

    runner: Runner
    settings: ForeignMemberSettings
    about: ForeignAbout
    classes: ClassMap | None
    waveform: Waveform | None  # None: it reads features
    where: str

    @torch.no_grad()
    def log_posteriors(self, batch: Batch) -> Tensor:
        """Natural-log posteriors (B, T, C), float32, of utterances one after the other.

        Raises:
            BadPosterior: if the output has other classes or frames than the settings declare.
        """
        features_BTF = batch.features_BTF
        logp_BTC = features_BTF.new_zeros(*features_BTF.shape[:2], self.about.num_classes)
        for row, piece in enumerate(batch.pieces):
            features_TF = features_BTF[row, : batch.lengths_B[row]]
            logp_BTC[row, : len(features_TF)] = self._of_piece(features_TF, piece)
        return logp_BTC

    def _of_piece(self, features_TF: Tensor, piece: Piece) -> Tensor:
        where = f"{self.where}, utterance {piece.utterance.id!r}"
        values = features_TF
        if self.waveform is not None:
            values = torch.from_numpy(_samples(self.waveform, piece, where)).to(features_TF.device)
        values_NM = self._matrix(self.runner.run(values), where)
        frames_T = self._frames(len(features_TF), len(values_NM), where)
        logp_NC = log_posteriors_of(values_NM, self.settings.output)
        if self.classes is not None:
            logp_NC = self.classes.apply(logp_NC)
        return logp_NC if frames_T is None else logp_NC[frames_T.to(logp_NC.device)]

    def _matrix(self, values: Tensor, where: str) -> Tensor:
        """The output as a matrix (N, M) of as many classes as are wanted."""
        shape = tuple(values.shape)
        if len(shape) == 3 and shape[0] == 1:
            values = values[0]
        if values.ndim != 2:
            raise BadPosterior(
                f"{where}: the output has shape {shape}, wanted (1, frames, classes): choose "
                "another output of the model"
            )
        class_map, found = self.about.class_map, values.shape[1]
        if class_map is not None and found != len(class_map):
            raise BadPosterior(
                f"{where}: the model gives {found} classes, its class_map has {len(class_map)}: "
                "write a line for each class of the model"
            )
        if class_map is None and found != self.about.num_classes:
            raise BadPosterior(
                f"{where}: the model gives {found} classes, the corpus has "
                f"{self.about.num_classes}: name a class_map, or leave the member out"
            )
        return values

    def _frames(self, num_rows: int, num_frames: int, where: str) -> Tensor | None:
        """The frame of each row; None if frames and rows are the same."""
        of = self.settings
        wanted = expected_frames(num_rows, stride=of.stride, offset=of.offset)
        most = MAX_DIFFERENCE if of.frames == "nearest" else 0
        if abs(num_frames - wanted) > most or num_frames == 0:
            raise BadPosterior(
                f"{where}: the model gives {num_frames} frames for {num_rows} rows of the corpus, "
                f"wanted {wanted} with frames: {of.frames}, stride {of.stride} and offset "
                f"{of.offset}: set those of the model"
            )
        if of.frames == "exact":
            return None
        found_T = nearest_frames(num_rows, num_frames, stride=of.stride, offset=of.offset)
        return torch.from_numpy(found_T)


def _samples(waveform: Waveform, piece: Piece, where: str) -> NDArray[np.float32]:
    try:
        return waveform.of(piece)
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignMember:
    """The model in `directory`, which `load` puts on `device`."""

    directory: Path
    settings: ForeignMemberSettings
    about: ForeignAbout
    device: str
    load_runner: Load
    where: str

    # Probabilities of zero are legal: a mean of logarithms must not exclude a class for them.
    averaging_floor = float(LOG_FLOOR)

    @property
    def num_parameters(self) -> int | None:
        """Number of weights, where the model tells it."""
        return self.about.num_parameters

    @property
    def num_bytes(self) -> int:
        """Size of the files; 0 for a model that is no file here."""
        files = [self.directory / FOLDER / name for name in self.about.files]
        return sum(path.stat().st_size for path in files if path.is_file())

    def load(self) -> LoadedForeign:
        """Compare the files with their digests, then read the model.

        Raises:
            MissingPart, BadInput: if a file is missing or was changed, or is no such model.
        """
        self._refuse_changed()
        class_map = self.about.class_map
        return LoadedForeign(
            runner=self.load_runner(self.settings, self.directory / FOLDER, self.device),
            settings=self.settings,
            about=self.about,
            classes=None if class_map is None else ClassMap(class_map, device=self.device),
            waveform=self._waveform(),
            where=self.where,
        )

    def _waveform(self) -> Waveform | None:
        of, shift_ms = self.settings, self.about.frame_shift_ms
        if of.input == "features" or shift_ms is None:
            return None
        # Only here: members of features run without the packages that read audio.
        from stages.acoustic.sound.checked_audio import CheckedAudio

        return Waveform(
            audio=CheckedAudio(of.sample_rate),
            samples_per_row=of.sample_rate * shift_ms / 1000,
            normalise=of.normalise,
        )

    def _refuse_changed(self) -> None:
        if self.settings.is_copied:
            refuse_changed_copies(self.directory, self.about.files)
        elif digests_of(self.settings.files) != self.about.files:
            names = " and ".join(map(str, self.settings.files.values()))
            raise BadInput(
                f"{self.where}: {names} changed after the member was made: restore it, or run "
                "'essence ensemble' to make a member of the new one"
            )
