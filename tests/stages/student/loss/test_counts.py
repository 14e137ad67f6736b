"""Frames with fewer ranks: every form of the loss is that of the ranks up to the count.

Shapes: N frames, C classes, K kept classes, n of them in one frame.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from stages.student.loss.definition import SoftTargets, dense_loss
from stages.student.loss.options import LossOptions, TailPolicy
from stages.student.tempering import temper
from stages.student.trust import trust_where_right
from storage.format.value_code import LOGP_OF_CODE, PROB_OF_CODE, encode_logp, encode_prob
from tests.support.makers.loss import Frames, make_frames
from tests.support.oracles.loss import (
    OPTIONS,
    POLICIES,
    Form,
    assert_is_definition,
    every_double_form,
    every_form,
)

SIZES = [(3, 11), (7, 7), (1, 5)]  # K, C


def make_counted(
    k: int, num_classes: int, *, dtype: torch.dtype = torch.float64, temperature: float = 1.0
) -> Frames:
    """Frames with 1 to K ranks; what is after them must not be read, nor the tail of n = C."""
    frames = make_frames(k=k, num_classes=num_classes, temperature=temperature)
    count_N = 1 + torch.arange(7) % k
    is_absent_NK = torch.arange(k) >= count_N[:, None]
    after_N = (frames.soft.logp_NK.exp() * is_absent_NK).sum(1)
    tail_N = torch.where(count_N == num_classes, 0.3, frames.soft.tail_N + after_N)
    soft = SoftTargets(
        ids_NK=frames.soft.ids_NK.masked_fill(is_absent_NK, num_classes - 1),
        logp_NK=frames.soft.logp_NK.masked_fill(is_absent_NK, -0.5),
        tail_N=tail_N,
        count_N=count_N,
    )
    return replace(frames, soft=soft).to(dtype)


def soft_loss_by_hand(frames: Frames, tail: TailPolicy, temperature: float) -> list[float]:
    """The soft loss of each frame by definition, class by class, in float64."""
    losses = []
    soft, count_N = frames.soft, frames.soft.count_N
    assert count_N is not None
    for frame, z_C in enumerate(frames.logits_NC.double().numpy() / temperature):
        count, label = int(count_N[frame]), int(frames.labels_N[frame])
        kept = soft.ids_NK[frame, :count].tolist()
        prob_n = np.exp(soft.logp_NK[frame, :count].double().numpy())
        outside = [c for c in range(len(z_C)) if c not in kept]
        mass = float(soft.tail_N[frame]) if outside else 0.0
        logp_C = z_C - z_C.max() - np.log(np.exp(z_C - z_C.max()).sum())
        q_C = np.zeros(len(z_C))
        q_C[kept] = prob_n
        loss = 0.0
        if tail == "renormalize" or (tail == "truth" and label < 0 and outside):
            q_C /= q_C.sum()
        elif tail == "uniform" and outside:
            q_C[outside] = mass / len(outside)
        elif tail == "truth":
            q_C[label] += mass
        elif tail == "bucket" and outside:
            loss = -mass * np.log(np.exp(logp_C[outside]).sum())
        losses.append(temperature**2 * (loss - (q_C * logp_C).sum()))
    return losses


@pytest.mark.parametrize(("k", "num_classes"), SIZES)
@pytest.mark.parametrize("tail", POLICIES)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_definition_of_fewer_ranks_is_the_number_computed_by_hand(
    tail: TailPolicy, temperature: float, k: int, num_classes: int
) -> None:
    frames = make_counted(k, num_classes)
    by_hand_N = soft_loss_by_hand(frames, tail, temperature)
    options = LossOptions(hard_weight=0.0, tail=tail, temperature=temperature)
    for frame, wanted in enumerate(by_hand_N):
        weights_N = torch.zeros(7, dtype=torch.float64).index_fill(0, torch.tensor(frame), 1.0)
        found = dense_loss(
            frames.logits_NC, frames.labels_N, frames.soft, options, frame_weights_N=weights_N
        )
        assert found.soft.item() == pytest.approx(wanted, rel=1e-12)


@every_form
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_form_of_fewer_ranks_is_the_definition(
    form: Form, dtype: torch.dtype, options: LossOptions
) -> None:
    """RELIABILITY 29."""
    weights_N = torch.tensor([1.0, 0.25, 2.0, 0.0, 1.0, 3.0, 0.5], dtype=dtype)
    for k, num_classes in SIZES:
        frames = make_counted(k, num_classes, dtype=dtype, temperature=options.temperature)
        assert_is_definition(form, frames, options, weights_N)
        present_N = torch.tensor([1, 0, 0, 1, 0, 1, 1])
        partly = replace(frames, soft=replace(frames.soft, present_N=present_N))
        assert_is_definition(form, partly, options)


@every_double_form
@pytest.mark.parametrize("tail", POLICIES)
def test_form_of_all_ranks_is_the_same_with_counts(
    form: Form, dtype: torch.dtype, tail: TailPolicy
) -> None:
    frames = make_frames(k=3, dtype=dtype)
    counted = replace(frames, soft=replace(frames.soft, count_N=torch.full((7,), 3)))
    options = LossOptions(hard_weight=0.3, tail=tail)
    (found, found_NC), (wanted, wanted_NC) = (
        form.loss_and_gradient(each, options) for each in (counted, frames)
    )
    torch.testing.assert_close(found.total, wanted.total)
    torch.testing.assert_close(found_NC, wanted_NC)


@every_double_form
def test_form_of_trusted_fewer_ranks_is_the_definition(form: Form, dtype: torch.dtype) -> None:
    """Where the teacher is wrong, the label takes rank 1: also one that no rank has."""
    for tail in POLICIES:
        frames = make_counted(3, 11, dtype=dtype)
        soft = trust_where_right(frames.soft, frames.labels_N)
        assert soft.count_N is not None
        trusted = replace(frames, soft=soft)
        options = LossOptions(hard_weight=0.3, tail=tail)
        assert_is_definition(form, trusted, options)


def ranks_of(logp_NC: np.ndarray, count_N: np.ndarray, k: int, temperature: float) -> SoftTargets:
    """What a pruned store returns: coded and decoded, the last code after the count."""
    is_absent_NK = np.arange(k) >= count_N[:, None]
    codes_NK = np.where(is_absent_NK, 255, encode_logp(logp_NC[:, :k]))
    is_kept_NC = np.arange(logp_NC.shape[1]) < count_N[:, None]
    tail_N = PROB_OF_CODE[encode_prob(np.where(is_kept_NC, 0, np.exp(logp_NC)).sum(1))]
    return SoftTargets(
        ids_NK=torch.arange(k).expand(codes_NK.shape),
        logp_NK=torch.from_numpy(LOGP_OF_CODE[codes_NK]),
        tail_N=torch.from_numpy(tail_N),
        count_N=torch.from_numpy(count_N),
    )


@pytest.mark.parametrize("temperature", [0.4, 1.5, 4.0])
@pytest.mark.parametrize("num_classes", [37, 12])
def test_temper_of_fewer_ranks_is_exact_within_the_bound(
    temperature: float, num_classes: int
) -> None:
    """Against all classes in float64; frame by frame also against a store of n ranks a frame."""
    rng = np.random.default_rng(3)
    logits_NC = -np.sort(-1.5 * rng.normal(size=(211, num_classes)))
    logp_NC = logits_NC - np.log(np.exp(logits_NC).sum(1, keepdims=True))
    k, count_N = 12, rng.integers(1, 13, size=211)
    log_norm_N = np.log(np.exp(logp_NC / temperature).sum(1))
    soft = ranks_of(logp_NC, count_N, k, temperature)
    norm_N = torch.from_numpy(log_norm_N.astype(np.float32))
    found = temper(soft, norm_N, temperature=temperature, num_classes=num_classes)
    exact_NC = np.exp(logp_NC / temperature - log_norm_N[:, None])
    for frame, count in enumerate(count_N):
        prob_n = found.logp_NK[frame, :count].exp().double().numpy()
        half_step_n = 16 * (encode_logp(logp_NC[frame, :count]) + 0.25) / 255**2
        error_n = np.abs(np.log(prob_n / exact_NC[frame, :count]))
        assert (error_n <= half_step_n / temperature + 1e-5).all()
        exact_tail = exact_NC[frame, count:].sum()
        bound = (prob_n * np.expm1(half_step_n / temperature)).sum() + 1e-5
        assert abs(float(found.tail_N[frame]) - exact_tail) <= bound
        of_count = slice(frame, frame + 1)
        alone = SoftTargets(
            ids_NK=soft.ids_NK[of_count, :count],
            logp_NK=soft.logp_NK[of_count, :count],
            tail_N=soft.tail_N[of_count],
        )
        wanted = temper(alone, norm_N[of_count], temperature=temperature, num_classes=num_classes)
        torch.testing.assert_close(found.tail_N[of_count], wanted.tail_N, rtol=1e-5, atol=1e-7)
    assert not torch.isneginf(found.logp_NK[torch.arange(211), torch.from_numpy(count_N) - 1]).any()
