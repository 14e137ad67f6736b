"""TrainedMember: a model that was trained here, as a member of an ensemble.

Shapes: T frames, C classes.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.models import architectures
from stages.acoustic.models.architectures import AcousticModel
from stages.acoustic.models.model_file import WEIGHTS_FILE, ModelAbout, load_model
from stages.acoustic.models.posteriors import log_posteriors
from storage.corpus.corpus_file import CorpusFile


@dataclass(frozen=True, slots=True)
class TrainedMember:
    """A model that was trained here: it is in memory as long as it is asked, or `model` is it."""

    directory: Path
    about: ModelAbout
    device: str
    model: AcousticModel | None = None

    averaging_floor = -math.inf  # none: the softmax of finite logits excludes no class

    @property
    def num_parameters(self) -> int:
        """How many weights it has; none is read for that."""
        about = self.about
        with architectures.without_weights(about.architecture):
            model = architectures.build_model(
                about.architecture, about.feature_dim, about.num_classes
            )
        return architectures.num_parameters(model)

    @property
    def num_bytes(self) -> int:
        """Of its weights."""
        path = self.directory / WEIGHTS_FILE
        return path.stat().st_size if path.is_file() else 0  # who loads it says that it is missing

    def loaded(self) -> "TrainedMember":
        """The member with its model in memory.

        Raises:
            MissingPart, BadInput: where its weights are not what they should be.
        """
        return replace(self, model=load_model(self.directory, self.device)[0])

    def log_posteriors(
        self, corpus: CorpusFile, indices: Iterable[int], *, batch_frames: int
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Where it is not loaded, the model lives as long as this iterator: the next
        member finds its memory free.

        Raises:
            MissingPart, BadInput: where its weights are not what they should be.
        """
        model = self.model or load_model(self.directory, self.device)[0]
        yield from log_posteriors(
            model, corpus, indices, batch_frames=batch_frames, device=self.device
        )
