"""Precision: in which numbers a step is computed. Weights, loss and optimiser are float32 always.

bf16 has float32's range and needs nothing else. fp16 has not: the loss is scaled up before the
gradient is taken, by a factor that halves when a gradient overflows (that step is left out) and
doubles after GROWTH_STEPS steps without.
"""

import torch
from torch import Tensor, nn

from stages.contract.errors import StageError
from stages.training.settings import PrecisionName

FIRST_SCALE = 65536.0
GROWTH_STEPS = 2000
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def refuse_precision(precision: PrecisionName, device: str) -> None:
    """Make sure that the device can do it well.

    Raises:
        StageError: saying why not, and what to take instead.
    """
    kind = torch.device(device).type
    if precision == "fp16" and kind != "cuda":
        raise StageError(
            f"training.precision fp16 on {device}: half floats are for GPUs, other processors lack "
            "most of them: take bf16, or fp32"
        )
    if precision == "bf16" and kind not in ("cpu", "cuda"):
        raise StageError(f"training.precision bf16 on {device}: wanted cpu or cuda: take fp32")
    if precision == "bf16" and kind == "cuda" and not torch.cuda.is_bf16_supported():
        raise StageError(f"training.precision bf16: {device} has no bfloat16: take fp16, or fp32")


class Precision:
    """How the numbers of one run are kept in range; `scale` and `good_steps` are its state."""

    def __init__(self, precision: PrecisionName, device: str) -> None:
        self._kind = torch.device(device).type
        self._dtype = DTYPES[precision]
        self._scaler = torch.amp.GradScaler(
            self._kind,
            init_scale=FIRST_SCALE,
            growth_interval=GROWTH_STEPS,
            enabled=precision == "fp16",
        )

    @property
    def state(self) -> tuple[float, int]:
        """Scale of the loss, and steps without overflow since it changed."""
        kept = self._scaler.state_dict()
        return kept.get("scale", FIRST_SCALE), kept.get("_growth_tracker", 0)

    def restore(self, scale: float, good_steps: int) -> None:
        """Stand where `state` stood."""
        kept = self._scaler.state_dict()
        self._scaler.load_state_dict(
            kept and {**kept, "scale": scale, "_growth_tracker": good_steps}
        )

    def computed(self) -> torch.autocast:
        """Inside, what may be is computed in this precision."""
        return torch.autocast(
            self._kind, dtype=self._dtype, enabled=self._dtype is not torch.float32
        )

    def backward(self, loss: Tensor) -> None:
        """Take the gradient, scaled."""
        scaled: Tensor = self._scaler.scale(loss)
        scaled.backward()  # type: ignore[no-untyped-call]

    def update(self, optimiser: torch.optim.Optimizer, weights: nn.Module, *, clip: float) -> None:
        """Clip the gradient to a norm and change the weights; not where it has overflowed."""
        self._scaler.unscale_(optimiser)
        torch.nn.utils.clip_grad_norm_(weights.parameters(), clip)
        self._scaler.step(optimiser)
        self._scaler.update()
