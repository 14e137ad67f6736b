"""Outputs: what a foreign model gives -> natural-log posteriors of the corpus's classes.

Shapes: N frames of the model, M classes of the model, C classes of the corpus.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from stages.members.foreign.settings import Output
from stages.members.posterior_archive import LOG_ZERO


def log_posteriors_of(values_NM: Tensor, output: Output) -> Tensor:
    """Natural-log posteriors (N, M), float32, none of them below LOG_ZERO; NaN stays NaN.

    Only logits are normalised: probabilities that do not sum to one are left for the gate.
    """
    values_NM = values_NM.float()
    if output == "logits":
        values_NM = torch.log_softmax(values_NM, dim=1)
    elif output == "probs":
        values_NM = values_NM.log()
    return values_NM.clamp(min=float(LOG_ZERO))  # keeps NaN


class ClassMap:
    """Moves or merges classes; `corpus_classes` has the class of the corpus for each of M."""

    def __init__(self, corpus_classes: Sequence[int], *, device: str) -> None:
        members: list[list[int]] = [[] for _ in range(1 + max(corpus_classes))]
        for model_class, corpus_class in enumerate(corpus_classes):
            members[corpus_class].append(model_class)
        self._first_C = torch.tensor([each[0] for each in members], device=device)
        # One round for the second class of every group, one for the third, ...: no index comes
        # twice in a round, so that the order of additions is the same on every device.
        self._rounds = [
            (
                torch.tensor([c for c, each in enumerate(members) if len(each) > n], device=device),
                torch.tensor([each[n] for each in members if len(each) > n], device=device),
            )
            for n in range(1, max(map(len, members)))
        ]

    def apply(self, logp_NM: Tensor) -> Tensor:
        """Log-posteriors (N, C): probabilities of merged classes are added, in float64."""
        if not self._rounds:
            return logp_NM[:, self._first_C]
        logp_NM = logp_NM.double()
        total_NC = logp_NM[:, self._first_C]
        for corpus_classes, model_classes in self._rounds:
            total_NC[:, corpus_classes] = torch.logaddexp(
                total_NC[:, corpus_classes], logp_NM[:, model_classes]
            )
        return total_NC.float()
