"""Soft labels only where rank 1 is the hard label, against a frame-by-frame definition."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import one_hot

from stages.student.loss.definition import SoftTargets
from stages.student.loss.options import LossOptions, TailPolicy
from stages.student.trust import trust_where_right
from tests.support.makers.loss import Frames, make_frames
from tests.support.oracles.loss import (
    OPTIONS,
    POLICIES,
    Form,
    definition_of,
    every_double_form,
    every_single_form,
)


def conditional(frames: Frames, options: LossOptions) -> tuple[Tensor, Tensor]:
    """Loss and gradient, frame by frame: the usual definition, or all soft mass on the label.

    In float64. The mean is over all frames, since none has weight 0.
    """
    exact = frames.to(torch.float64)
    logits_NC = exact.leaf()
    losses = []
    for row, label in enumerate(exact.labels_N.tolist()):
        soft, z_C = exact.soft, logits_NC[row]
        is_wrong = label >= 0 and int(soft.ids_NK[row, 0]) != label
        if is_wrong:
            tempered_C = (z_C / options.temperature).log_softmax(0)
            hard = -z_C.log_softmax(0)[label]
            soft_loss = -(one_hot(torch.tensor(label), len(z_C)) * tempered_C).sum()
            weight = options.hard_weight
            losses.append(weight * hard + (1 - weight) * options.temperature**2 * soft_loss)
            continue
        one = Frames(
            logits_NC=exact.logits_NC[row : row + 1],
            labels_N=exact.labels_N[row : row + 1],
            soft=SoftTargets(
                ids_NK=soft.ids_NK[row : row + 1],
                logp_NK=soft.logp_NK[row : row + 1],
                tail_N=soft.tail_N[row : row + 1],
            ),
        )
        parts, gradient_1C = definition_of(one, options)
        # The same value and gradient as a function of this row.
        losses.append(parts.total.detach() + (gradient_1C[0] * (z_C - z_C.detach())).sum())
    total = torch.stack(losses).mean()
    return total, *torch.autograd.grad(total, logits_NC)


def trusted(frames: Frames) -> Frames:
    return replace(frames, soft=trust_where_right(frames.soft, frames.labels_N))


@every_double_form
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_trust_is_the_conditional_target_in_every_form(
    form: Form, dtype: torch.dtype, options: LossOptions
) -> None:
    for k, num_classes in ((3, 11), (1, 11), (7, 7)):
        frames = make_frames(num_frames=13, k=k, num_classes=num_classes, seed=k)
        found, gradient_NC = form.loss_and_gradient(trusted(frames), options)
        wanted, wanted_NC = conditional(frames, options)
        torch.testing.assert_close(found.total.detach(), wanted.detach())
        torch.testing.assert_close(gradient_NC, wanted_NC)


@every_single_form
@pytest.mark.parametrize("tail", POLICIES)
def test_trust_is_the_conditional_target_in_single_precision(
    form: Form, dtype: torch.dtype, tail: TailPolicy
) -> None:
    options = LossOptions(tail=tail, hard_weight=0.3, temperature=2.5)
    frames = make_frames(num_frames=13, dtype=dtype)
    found, gradient_NC = form.loss_and_gradient(trusted(frames), options)
    wanted, wanted_NC = conditional(frames, options)
    torch.testing.assert_close(found.total.detach().double(), wanted.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient_NC.double(), wanted_NC, rtol=1e-4, atol=1e-6)


@every_double_form
@pytest.mark.parametrize("tail", POLICIES)
def test_trust_gradient_is_that_of_its_own_loss(
    form: Form, dtype: torch.dtype, tail: TailPolicy
) -> None:
    frames = trusted(make_frames(num_frames=4, num_classes=5, k=2, seed=3))
    options = LossOptions(tail=tail, hard_weight=0.3, temperature=2.0)
    assert torch.autograd.gradcheck(
        lambda z: form(frames, z, options).total, frames.leaf(), atol=1e-7
    )


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 9999), num_classes=st.integers(1, 9), k=st.integers(1, 9))
def test_trust_changes_only_frames_whose_rank_1_is_another_class(
    seed: int, num_classes: int, k: int
) -> None:
    frames = make_frames(num_frames=11, num_classes=num_classes, k=min(k, num_classes), seed=seed)
    before, found = frames.soft, trusted(frames).soft
    for row, label in enumerate(frames.labels_N.tolist()):
        ids = found.ids_NK[row].tolist()
        assert len(set(ids)) == len(ids)
        if label >= 0 and int(before.ids_NK[row, 0]) != label:
            assert ids[0] == label
            assert found.logp_NK[row].exp().tolist() == [1.0] + [0.0] * (len(ids) - 1)
            assert float(found.tail_N[row]) == 0.0
        else:
            assert torch.equal(found.ids_NK[row], before.ids_NK[row])
            assert torch.equal(found.logp_NK[row], before.logp_NK[row])
            assert torch.equal(found.tail_N[row], before.tail_N[row])


def test_trust_leaves_its_argument_as_it_is() -> None:
    frames = make_frames(num_frames=9)
    copies = [values.clone() for values in (frames.soft.ids_NK, frames.soft.logp_NK)]
    trusted(frames)
    assert all(map(torch.equal, copies, (frames.soft.ids_NK, frames.soft.logp_NK)))
