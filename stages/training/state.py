"""TrainingState: all that a training run changes. What it captures is what resumes it."""

from collections import deque

import torch
from torch import Tensor

from stages.acoustic.models.architectures import AcousticModel
from stages.training.checkpoint import Position
from stages.training.precision import Precision

Weights = dict[str, Tensor]


class TrainingState:
    """Model, optimiser, position, the best weights so far and those of the last epochs."""

    def __init__(
        self,
        model: AcousticModel,
        *,
        weight_decay: float,
        average_last: int,
        precision: Precision,
    ) -> None:
        self.model = model
        self.precision = precision
        self.optimiser = _adamw(model, weight_decay)
        self.position = Position()
        self.best: Weights = {}
        self.recent: deque[Weights] = deque(maxlen=average_last)

    def weights(self) -> Weights:
        """A copy of the model's weights and buffers, on the CPU."""
        state = self.model.state_dict()
        return {name: value.detach().cpu().clone() for name, value in state.items()}

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the next step."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def keep_epoch(self, *, is_best: bool) -> None:
        """Remember the weights of an epoch that has just been evaluated."""
        weights = self.weights()
        self.recent.append(weights)
        if is_best:
            self.best = weights

    def capture(self) -> tuple[Position, Weights]:
        """What a checkpoint holds."""
        tensors = _under("model", self.model.state_dict()) | _under("best", self.best)
        for number, weights in enumerate(self.recent):
            tensors |= _under(f"recent {number}", weights)
        for name, parameter in self.model.named_parameters():
            tensors |= _under(f"optimiser {name}", self.optimiser.state.get(parameter, {}))
        # safetensors refuses tensors that share memory; best and recent may be the same ones
        tensors = {name: value.detach().clone() for name, value in tensors.items()}
        scale, good_steps = self.precision.state
        kept = {"loss_scale": scale, "good_steps": good_steps}
        return self.position.model_copy(update=kept), tensors

    def restore(self, position: Position, tensors: Weights) -> None:
        """Stand where `capture` stood."""
        self.position = position
        self.precision.restore(position.loss_scale, position.good_steps)
        self.model.load_state_dict(_below("model", tensors))
        device = self.model.feature_mean.device
        self.best = _below("best", tensors)
        num_recent = min(position.epoch, self.recent.maxlen or 0)
        self.recent.clear()
        self.recent.extend(_below(f"recent {number}", tensors) for number in range(num_recent))
        for name, parameter in self.model.named_parameters():
            moments = _below(f"optimiser {name}", tensors)
            if moments:
                moments = {
                    key: value if key == "step" else value.to(device)
                    for key, value in moments.items()
                }
                self.optimiser.state[parameter] = moments


def mean_weights(several: list[Weights]) -> Weights:
    """The mean of the weights of several epochs."""
    return {name: torch.stack([w[name] for w in several]).mean(dim=0) for name in several[0]}


def _adamw(model: AcousticModel, weight_decay: float) -> torch.optim.AdamW:
    matrices = [weights for weights in model.parameters() if weights.dim() > 1]
    vectors = [weights for weights in model.parameters() if weights.dim() <= 1]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": weight_decay},
            {"params": vectors, "weight_decay": 0.0},  # biases and gains are not shrunk
        ]
    )


def _under(place: str, tensors: Weights) -> Weights:
    return {f"{place}/{name}": value for name, value in tensors.items()}


def _below(place: str, tensors: Weights) -> Weights:
    start = f"{place}/"
    return {
        name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)
    }
