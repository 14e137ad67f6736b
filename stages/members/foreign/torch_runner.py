"""TorchRunner: a model of torch, called with the features or the waveform of one utterance.

Shapes: T rows of the corpus, F feature dims, S samples, N frames and M classes of the model.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stages.contract.errors import BadInput
from stages.members.foreign.torch_settings import TorchMemberSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchRunner:
    """A module that is called as `call(features_1TF)` or `call(samples_1S)`.

    If it takes lengths, they are the second argument.
    """

    module: nn.Module
    call: Callable[..., Any]
    settings: TorchMemberSettings

    feature_dim = None  # a module declares none
    class_inventory = None

    @property
    def num_parameters(self) -> int:
        """Number of weights."""
        return sum(weights.numel() for weights in self.module.parameters())

    def run(self, values: Tensor) -> Tensor:
        """The chosen output (1, N, M) of features (T, F), or of samples (S,).

        Raises:
            BadInput: if the output is no tensor, or has no such index.
        """
        inputs = [values[None].contiguous()]
        if self.settings.takes_lengths:
            inputs.append(torch.tensor([len(values)], device=values.device))
        try:
            output = self.call(*inputs)
        except RuntimeError as cause:
            raise ValueError(lines_of(cause)[-1]) from cause  # above it: the source of the model
        return self._chosen(output)

    def _chosen(self, output: Any) -> Tensor:
        index = self.settings.output_index
        if index is not None and isinstance(output, tuple | list):
            if not -len(output) <= index < len(output):
                raise BadInput(
                    f"the model returns {len(output)} outputs, output_index is {index}: set it to "
                    f"0 ... {len(output) - 1}"
                )
            output = output[index]
        if not isinstance(output, Tensor):
            kind = type(output).__name__
            size = f" of {len(output)}" if isinstance(output, tuple | list) else ""
            raise BadInput(
                f"the model returns a {kind}{size}, wanted a tensor: let output_index choose one "
                "of a tuple, or export a model that returns one"
            )
        return output


def lines_of(cause: Exception) -> list[str]:
    """The lines of an error of torch, one at least."""
    return str(cause).strip().splitlines() or ["no reason is given"]
