"""OnnxMember: an exported model, so that it is evaluated as any other model is.

Shapes: B pieces, T frames, C classes.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stages.acoustic.models.onnx_model import ONNX_FILE, OnnxAbout, OnnxModel
from stages.members.batches import Batch


@dataclass(frozen=True, slots=True)
class LoadedOnnx:
    """A model in memory, for the processor."""

    model: OnnxModel

    def log_posteriors(self, batch: Batch) -> Tensor:
        """Natural-log posteriors (B, T, C), float32, on the device of the batch."""
        features_BTF = batch.features_BTF.cpu().numpy()
        lengths_B = batch.lengths_B.numpy().astype(np.int64)
        logp_BTC = torch.from_numpy(self.model.log_posteriors(features_BTF, lengths_B))
        return logp_BTC.to(batch.features_BTF.device)


@dataclass(frozen=True, slots=True)
class OnnxMember:
    """The model.onnx in `directory`."""

    directory: Path
    about: OnnxAbout

    averaging_floor = -math.inf  # none: the softmax of finite logits excludes no class

    @property
    def num_parameters(self) -> int:
        """Number of weights of the model that was exported."""
        return self.about.num_parameters

    @property
    def num_bytes(self) -> int:
        """Size of the file."""
        return (self.directory / ONNX_FILE).stat().st_size

    def load(self) -> LoadedOnnx:
        """Read the model.

        Raises:
            BadInput: if the file is not the one that was written.
        """
        return LoadedOnnx(OnnxModel(self.directory))
