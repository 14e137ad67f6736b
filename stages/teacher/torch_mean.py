"""TorchMean: the members' mean on a device, in the arithmetic of ensemble_posteriors.py.

Posteriors stay where the models computed them: the host reads one flag per piece, and what is kept.

Shapes: T frames, C classes.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.members.ensemble_posteriors import SMALLEST_PROB
from stages.members.posterior_gate import MAX_LOG_SUM
from stages.teacher.block_mean import BLOCK_FRAMES, combine_of, keeps_probabilities
from stages.teacher.selection import TORCH
from storage.format.layout import StoreAbout
from storage.write.top_k import KeptBlock


class TorchMean:
    """See BlockMean."""

    def __init__(self, about: StoreAbout, num_frames: int, *, device: str) -> None:
        self._about = about
        self._combine = combine_of(about)
        self._total_TC = torch.zeros(num_frames, about.num_classes, device=device)

    def add(
        self, pieces: Sequence[tuple[slice, Tensor]], *, weight: float, floor: float
    ) -> list[bool]:
        """See BlockMean. Waits for the device once."""
        sound = [
            self._add(self._total_TC[rows], _raise_to(floor, logp_TC), weight=weight)
            for rows, logp_TC in pieces
        ]
        flags: list[bool] = torch.stack(sound).tolist()
        return flags

    def _add(self, total_TC: Tensor, logp_TC: Tensor, *, weight: float) -> Tensor:
        prob_TC = logp_TC.exp()
        off_T = (prob_TC.sum(dim=1) - 1).abs()
        # Comparisons with NaN are false: whatever is not finite is not sound.
        is_sound = (off_T < MAX_LOG_SUM / 2).all() & (logp_TC > -torch.inf).all()
        total_TC += (prob_TC if self._combine == "arithmetic" else logp_TC) * weight
        return is_sound

    def keep(self) -> Iterator[KeptBlock]:
        """See BlockMean."""
        about, total_TC = self._about, self._total_TC
        if keeps_probabilities(about):
            yield TORCH.keep_top_k_of_probabilities(total_TC, about.kept, tiers=about.tiers)
            return
        for start in range(0, len(total_TC), BLOCK_FRAMES):
            logp_TC = self._finish(total_TC[start : start + BLOCK_FRAMES])
            yield TORCH.keep_top_k(
                _soften(logp_TC, about.temperature),
                about.kept,
                tiers=about.tiers,
                temperatures=about.temperatures,
            )

    def log_posteriors(self) -> NDArray[np.float32]:
        """See BlockMean."""
        return np.asarray(self._finish(self._total_TC).cpu().numpy())

    def _finish(self, total_TC: Tensor) -> Tensor:
        """Log-posteriors from the sum over the members; works in place."""
        if self._combine == "geometric":
            return _normalise(total_TC)
        return total_TC.clamp_(min=float(SMALLEST_PROB)).log_()


def _raise_to(floor: float, logp_TC: Tensor) -> Tensor:
    """Without values below `floor` nats; a NaN stays one."""
    return logp_TC if floor == -torch.inf else logp_TC.clamp(min=floor)


def _soften(logp_TC: Tensor, temperature: float) -> Tensor:
    return logp_TC if temperature == 1 else _normalise(logp_TC / temperature)


def _normalise(values_TC: Tensor) -> Tensor:
    """Subtract the log of the sum of exponentials, in place; the sum is in float64."""
    values_TC -= values_TC.amax(dim=1, keepdim=True)
    sums_T1 = values_TC.exp().sum(dim=1, keepdim=True, dtype=torch.float64)
    values_TC -= sums_T1.log().float()
    return values_TC
