"""The student's loss on token sequences by definition: dense, in plain torch, for tests.

A batch of N frames, of which T_u belong to utterance u, costs

    ( hard_weight * sum over transcribed u of CTC_u
      + (1 - hard_weight) * sum over frames n of w_n * soft_n ) / N

where CTC_u is -ln of the sum, over all paths that collapse to the utterance's tokens, of the
path's probability (Graves et al. 2006, equations 6 to 8), and soft_n the soft loss of frame n as
definition.py has it for a frame without a hard label. w_n is the blank weight where the teacher's
rank 1 is the blank, otherwise 1. The divisor is N whatever the weights, so that a lower blank
weight makes the soft part smaller as a whole.

Shapes: N frames, T frames of an utterance, C classes, L tokens, S = 2 L + 1 states of CTC.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from stages.contract.ctc import BLANK
from stages.student.loss.definition import LossParts, SoftTargets, dense_loss
from stages.student.loss.options import LossOptions


def dense_ctc_loss(
    logits_NC: Tensor,
    lengths: Sequence[int],
    tokens: Sequence[Sequence[int]],
    soft: SoftTargets,
    options: LossOptions,
    *,
    blank_weight: float,
) -> LossParts:
    """The loss as defined above. `tokens` of an untranscribed utterance are empty."""
    log_probs = torch.split(logits_NC.log_softmax(1), list(lengths))
    several = zip(log_probs, tokens, strict=True)
    nats = [ctc_nats_by_definition(logp_TC, spelled) for logp_TC, spelled in several if spelled]
    hard = torch.stack(nats).sum() if nats else logits_NC.new_zeros(())
    num_transcribed = sum(n for n, spelled in zip(lengths, tokens, strict=True) if spelled)
    soft_sum = logits_NC.new_zeros(())
    for n in range(len(logits_NC)):
        weight = blank_weight if int(soft.ids_NK[n, 0]) == BLANK else 1.0
        soft_sum = soft_sum + weight * _soft_of_frame(logits_NC, soft, options, n)
    total = options.hard_weight * hard + (1 - options.hard_weight) * soft_sum
    return LossParts(
        total=total / len(logits_NC),
        hard=hard.detach() / max(1, num_transcribed),
        soft=soft_sum.detach() / len(logits_NC),
        num_frames=len(logits_NC),
    )


def _soft_of_frame(logits_NC: Tensor, soft: SoftTargets, options: LossOptions, n: int) -> Tensor:
    one = SoftTargets(
        ids_NK=soft.ids_NK[n : n + 1],
        logp_NK=soft.logp_NK[n : n + 1],
        tail_N=soft.tail_N[n : n + 1],
    )
    no_label_N = torch.full((1,), -1)
    return dense_loss(logits_NC[n : n + 1], no_label_N, one, replace(options, hard_weight=0)).total


def ctc_nats_by_definition(logp_TC: Tensor, tokens: Sequence[int]) -> Tensor:
    """-ln of the probability of all paths, by the forward recursion over states b a b c b."""
    states = [BLANK, *(state for token in tokens for state in (token, BLANK))]
    never = logp_TC.new_tensor(-torch.inf)
    row = [logp_TC[0, state] if s < 2 else never for s, state in enumerate(states)]
    for logp_C in logp_TC[1:]:
        before = row
        row = []
        for s, state in enumerate(states):
            ways = [before[s]] + ([before[s - 1]] if s else [])
            if s > 1 and state not in (BLANK, states[s - 2]):
                ways.append(before[s - 2])
            reached = [way for way in ways if way > -torch.inf]  # exp(-inf) has a nan gradient
            sum_of = torch.stack(reached).logsumexp(0) if reached else never
            row.append(sum_of + logp_C[state])
    return -torch.stack([way for way in row[-2:] if way > -torch.inf]).logsumexp(0)
