"""Frame loss and schedule compared with plain formulas."""

import math
from itertools import pairwise

import pytest
import torch

from stages.training.frame_loss import FrameScore, hard_loss, score_frames
from stages.training.schedule import FINAL_SHARE, learning_rate_at


def _logits() -> torch.Tensor:
    return torch.randn(11, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_hard_loss_is_the_mean_over_labelled_frames() -> None:
    labels = torch.tensor([3, -1, 0, 6, -1, 2, 2, 1, 5, 4, -1])
    logp = _logits().log_softmax(1)
    wanted = -sum(logp[n, y] for n, y in enumerate(labels.tolist()) if y >= 0) / 8
    torch.testing.assert_close(hard_loss(_logits(), labels), wanted)
    score = score_frames(_logits(), labels)
    wrong = sum(int(logp[n].argmax()) != y for n, y in enumerate(labels.tolist()) if y >= 0)
    assert (score.num_frames, score.num_errors) == (8, wrong)
    assert score.cross_entropy == pytest.approx(float(wanted))


def test_label_smoothing_matches_a_float64_oracle() -> None:
    logits_NC = torch.randn(7, 11, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels_N = torch.tensor([3, -1, 0, 10, 3, -1, 6])
    target_NC = torch.full((7, 11), 0.2 / 11, dtype=torch.float64)
    target_NC[torch.arange(7), labels_N.clamp(min=0)] += 0.8
    costs_N = -(target_NC * logits_NC.log_softmax(1)).sum(1)
    wanted = costs_N[labels_N >= 0].mean()
    assert hard_loss(logits_NC, labels_N, smoothing=0.2).item() == pytest.approx(wanted.item())


def test_hard_loss_without_labelled_frames_is_zero_with_zero_gradient() -> None:
    logits = _logits().requires_grad_()
    loss = hard_loss(logits, torch.full((11,), -1))
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()
    assert score_frames(logits.detach(), torch.full((11,), -1)) == FrameScore()


def test_frame_scores_add_up_over_batches() -> None:
    labels = torch.arange(11) % 7
    halves = score_frames(_logits()[:4], labels[:4]) + score_frames(_logits()[4:], labels[4:])
    whole = score_frames(_logits(), labels)
    assert (halves.num_frames, halves.num_errors) == (whole.num_frames, whole.num_errors)
    assert halves.nats == pytest.approx(whole.nats)


def test_schedule_rises_to_its_peak_and_falls_to_its_final_share() -> None:
    rates = [learning_rate_at(i / 100, peak=3.0, warmup=0.2) for i in range(101)]
    assert rates[0] == 0
    assert rates[10] == pytest.approx(1.5)
    assert rates[20] == pytest.approx(3.0) == max(rates)
    assert rates[60] == pytest.approx(3.0 * (FINAL_SHARE + (1 - FINAL_SHARE) / 2))
    assert rates[100] == pytest.approx(3.0 * FINAL_SHARE)
    assert all(a > b for a, b in pairwise(rates[20:]))
    assert math.isclose(learning_rate_at(0.0, peak=3.0, warmup=0.0), 3.0)
