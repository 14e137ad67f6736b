"""AlignmentNetwork: a small TDNN trained on one alignment, which scores the next one.

Shapes: B utterances, T frames of the longest, F feature dims, C classes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from stages.acoustic.lang.priors import log_priors
from stages.acoustic.models.architectures import AcousticModel, build_model
from stages.acoustic.models.settings import ArchitectureSettings
from stages.contract.progress import Task

ARCHITECTURE = ArchitectureSettings(kind="tdnn", hidden=96, layers=4, dropout=0.1)
FRAMES_PER_BATCH = 3_072
# Lengths are padded to a multiple: torch compiles and caches the convolutions of every shape.
LENGTH_STEP = 64
EPOCHS, FEWEST_STEPS = 4, 300  # a small corpus takes more epochs
LEARNING_RATE = 3e-3
MAX_GRADIENT_NORM = 1.0
WARM_UP = 0.1  # share of the steps
NO_CLASS = -100  # of frames after the end of an utterance
PRIOR_SMOOTHING = 1.0  # frames
PRIOR = "log_prior"  # its name among the arrays of a network

Example = tuple[NDArray[np.float32], NDArray[np.int64]]  # features (T, F), classes (T,)


@dataclass(frozen=True, slots=True)
class AlignmentNetwork:
    """Posteriors of a model, divided by the priors of its training labels."""

    model: AcousticModel
    log_prior_C: NDArray[np.float32]

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> "AlignmentNetwork":
        """The network whose `arrays` these are."""
        weights = {name: torch.tensor(array) for name, array in arrays.items() if name != PRIOR}
        log_prior_C = arrays[PRIOR].astype(np.float32)
        feature_dim = len(weights["feature_mean"])
        with torch.random.fork_rng([]):  # new weights are drawn, and replaced
            model = build_model(ARCHITECTURE, feature_dim, len(log_prior_C))
        model.load_state_dict(weights)
        return cls(model.eval(), log_prior_C)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Weights and priors by name."""
        weights = {name: value.numpy() for name, value in self.model.state_dict().items()}
        return {**weights, PRIOR: self.log_prior_C}

    def loglike(self, features_TF: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scaled log-likelihood of every class in every frame, (T, C)."""
        num_frames = len(features_TF)
        with torch.inference_mode():
            logits_BTC: Tensor = self.model(_padded([features_TF]), torch.tensor([num_frames]))
            logp_TC: NDArray[np.float32] = logits_BTC[0, :num_frames].log_softmax(dim=1).numpy()
        return logp_TC - self.log_prior_C


def plan_batches(lengths: Sequence[int], *, seed: int) -> list[list[int]]:
    """The utterances of every step, by number: EPOCHS over all, or more in FEWEST_STEPS."""
    rng = np.random.default_rng(seed)
    batches = [batch for _ in range(EPOCHS) for batch in _epoch(lengths, rng=rng)]
    while len(batches) < FEWEST_STEPS:
        batches += _epoch(lengths, rng=rng)
    return batches


def train_network(
    batches: Sequence[Sequence[int]],
    read: Callable[[Sequence[int]], Iterator[Example]],
    *,
    num_classes: int,
    feature_dim: int,
    seed: int,
    task: Task,
) -> AlignmentNetwork:
    """Train a step on each batch, of examples that are `read`. Same inputs, same weights.

    The task advances by one for each batch.
    """
    counts_C = np.zeros(num_classes, np.int64)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = build_model(ARCHITECTURE, feature_dim, num_classes).train()
        optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: _share_of_rate(step, len(batches))
        )
        for batch in batches:
            examples = list(read(batch))
            loss = _take_step(model, optimiser, examples)
            schedule.step()
            for _, class_T in examples:
                counts_C += np.bincount(class_T, minlength=num_classes)
            task.advance(loss=loss)
    return AlignmentNetwork(model.eval(), log_priors(counts_C, smoothing=PRIOR_SMOOTHING))


def _share_of_rate(step: int, num_steps: int) -> float:
    """Linear up to the whole learning rate, then linear down to zero."""
    warm = max(1.0, WARM_UP * num_steps)
    return min((step + 1) / warm, max(0.0, (num_steps - step) / max(1.0, num_steps - warm)))


def _epoch(lengths: Sequence[int], *, rng: np.random.Generator) -> list[list[int]]:
    """Utterances of similar length together, up to FRAMES_PER_BATCH with padding, shuffled."""
    order = rng.permutation(len(lengths))
    batches: list[list[int]] = []
    by_length: dict[int, list[int]] = {}
    for number in order:
        padded = _padded_length(lengths[number])
        batch = by_length.setdefault(padded, [])
        batch.append(int(number))
        if (len(batch) + 1) * padded > FRAMES_PER_BATCH:
            batches.append(by_length.pop(padded))
    batches += by_length.values()
    return [batches[index] for index in rng.permutation(len(batches))]


def _padded_length(num_frames: int) -> int:
    return -(-num_frames // LENGTH_STEP) * LENGTH_STEP


def _padded(features: Sequence[NDArray[np.float32]]) -> Tensor:
    """Features of a batch (B, T, F), zeros after the last frame of each."""
    num_frames = _padded_length(max(map(len, features)))
    padded = np.zeros((len(features), num_frames, features[0].shape[1]), np.float32)
    for number, features_TF in enumerate(features):
        padded[number, : len(features_TF)] = features_TF
    return torch.from_numpy(padded)


def _take_step(
    model: AcousticModel, optimiser: torch.optim.Optimizer, examples: Sequence[Example]
) -> float:
    features_BTF = _padded([features_TF for features_TF, _ in examples])
    class_BT = np.full(features_BTF.shape[:2], NO_CLASS, np.int64)
    for number, (_, class_T) in enumerate(examples):
        class_BT[number, : len(class_T)] = class_T
    lengths_B = torch.tensor([len(class_T) for _, class_T in examples])
    logits_BTC: Tensor = model(features_BTF, lengths_B)
    loss = functional.cross_entropy(
        logits_BTC.flatten(0, 1), torch.from_numpy(class_BT).flatten(), ignore_index=NO_CLASS
    )
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
    optimiser.step()
    return float(loss.detach())
