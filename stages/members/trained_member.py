"""TrainedMember: a model that was trained here, as a member of an ensemble.

Shapes: B pieces, T frames, C classes.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stages.acoustic.models import architectures
from stages.acoustic.models.architectures import AcousticModel
from stages.acoustic.models.model_file import WEIGHTS_FILE, ModelAbout, load_model
from stages.members.batches import Batch


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory, in evaluation mode."""

    model: AcousticModel

    @torch.no_grad()
    def log_posteriors(self, batch: Batch) -> Tensor:
        """Natural-log posteriors (B, T, C), float32, whatever the precision of the logits."""
        logits_BTC = self.model(batch.features_BTF, batch.lengths_B)
        return torch.log_softmax(logits_BTC.float(), dim=2)


@dataclass(frozen=True, slots=True)
class TrainedMember:
    """The model in `directory`, which `load` puts on `device`."""

    directory: Path
    about: ModelAbout
    device: str

    averaging_floor = -math.inf  # none: the softmax of finite logits excludes no class

    @property
    def num_parameters(self) -> int:
        """Number of weights; none is read for that."""
        about = self.about
        with architectures.without_weights(about.architecture):
            model = architectures.build_model(
                about.architecture, about.feature_dim, about.num_classes
            )
        return architectures.num_parameters(model)

    @property
    def num_bytes(self) -> int:
        """Size of the weights."""
        path = self.directory / WEIGHTS_FILE
        return path.stat().st_size if path.is_file() else 0  # `load` says that it is missing

    def load(self) -> LoadedModel:
        """Read the weights.

        Raises:
            MissingPart, BadInput: if they are missing or are not those that were written.
        """
        return LoadedModel(load_model(self.directory, self.device)[0])
