"""The contract of every form of the loss: values and gradients are those of the definition."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

from stages.student.loss.definition import SoftTargets, dense_loss
from stages.student.loss.options import LossOptions, TailPolicy
from tests.support.makers.loss import Frames, make_frames, no_soft_targets
from tests.support.oracles.loss import (
    EVERY_TAIL,
    HARD_ALONE,
    MIXED,
    OPTIONS,
    POLICIES,
    Form,
    assert_is_definition,
    definition_of,
    every_double_form,
    every_form,
)


@every_form
@pytest.mark.parametrize("options", [*OPTIONS, HARD_ALONE], ids=str)
def test_form_is_the_definition(form: Form, dtype: torch.dtype, options: LossOptions) -> None:
    """RELIABILITY 29."""
    weights_N = torch.tensor([1.0, 0.25, 2.0, 0.0, 1.0, 3.0, 0.5], dtype=dtype)
    for k, num_classes in ((3, 11), (7, 7)):
        sizes = {"k": k, "num_classes": num_classes}
        frames = make_frames(**sizes, temperature=options.temperature, dtype=dtype)
        assert_is_definition(form, frames, options, weights_N)


@every_form
@pytest.mark.parametrize("options", [*OPTIONS, HARD_ALONE], ids=str)
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_form_without_soft_labels_of_some_frames_is_the_definition(
    form: Form, dtype: torch.dtype, options: LossOptions, weighted: bool
) -> None:
    """RELIABILITY 29."""
    weights_N = torch.tensor([1.0, 0.25, 2.0, 0.0, 1.0, 3.0, 0.5], dtype=dtype)
    frames = make_frames(temperature=options.temperature, dtype=dtype)
    for present in ([1, 0, 0, 1, 0, 1, 1], [0] * 7):  # the third has no hard label either
        soft = replace(frames.soft, present_N=torch.tensor(present))
        masked = Frames(logits_NC=frames.logits_NC, labels_N=frames.labels_N, soft=soft)
        assert_is_definition(form, masked, options, weights_N if weighted else None)


def test_definition_counts_frames_that_have_a_label_or_soft_labels() -> None:
    frames, present_N = make_frames(), torch.tensor([1, 0, 0, 1, 0, 1, 1])
    soft = replace(frames.soft, present_N=present_N)
    for hard_weight, num_frames in ((0.0, 4), (0.3, 6), (1.0, 6)):
        options = LossOptions(hard_weight=hard_weight, tail="bucket")
        parts = dense_loss(frames.logits_NC, frames.labels_N, soft, options)
        kept = present_N.bool()
        alone = dense_loss(
            frames.logits_NC[kept],
            frames.labels_N[kept],
            SoftTargets(
                ids_NK=soft.ids_NK[kept], logp_NK=soft.logp_NK[kept], tail_N=soft.tail_N[kept]
            ),
            options,
        )
        hard = cross_entropy(frames.logits_NC, frames.labels_N, ignore_index=-1)
        assert parts.num_frames == num_frames
        torch.testing.assert_close(parts.soft, alone.soft)
        torch.testing.assert_close(parts.hard, hard)
        total = hard_weight * 6 * hard + (1 - hard_weight) * 4 * alone.soft
        torch.testing.assert_close(parts.total, total / num_frames)


@every_double_form
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    num_frames=st.integers(1, 9),
    num_classes=st.integers(2, 17),
    k=st.integers(1, 17),
    options=st.builds(
        LossOptions,
        tail=st.sampled_from(POLICIES),
        hard_weight=st.floats(0, 1),
        temperature=st.floats(0.3, 4),
    ),
)
def test_form_is_the_definition_for_any_small_batch(
    form: Form,
    dtype: torch.dtype,
    seed: int,
    num_frames: int,
    num_classes: int,
    k: int,
    options: LossOptions,
) -> None:
    k = min(k, num_classes)
    frames = make_frames(num_frames=num_frames, num_classes=num_classes, k=k, seed=seed)
    found, gradient_NC = form.loss_and_gradient(frames, options)
    wanted, wanted_NC = definition_of(frames, options)
    torch.testing.assert_close(found.total, wanted.total)
    torch.testing.assert_close(gradient_NC, wanted_NC)


@every_double_form
@pytest.mark.parametrize("options", [*MIXED, HARD_ALONE], ids=str)
def test_form_gradient_is_that_of_its_own_loss(
    form: Form, dtype: torch.dtype, options: LossOptions
) -> None:
    frames = make_frames(num_frames=3, num_classes=5, k=2)

    def total(logits_NC: Tensor) -> Tensor:
        return form(frames, logits_NC, options).total

    assert torch.autograd.gradcheck(total, frames.leaf(), atol=1e-7)


@every_form
def test_form_with_hard_weight_one_is_cross_entropy_and_reads_no_soft_targets(
    form: Form, dtype: torch.dtype
) -> None:
    frames = make_frames(num_frames=9, dtype=dtype)
    frames = Frames(logits_NC=frames.logits_NC, labels_N=frames.labels_N, soft=no_soft_targets(9))
    found, gradient_NC = form.loss_and_gradient(frames, LossOptions(hard_weight=1.0, tail="bucket"))
    logits_NC = frames.leaf()
    wanted = cross_entropy(logits_NC, frames.labels_N, ignore_index=-1)
    torch.testing.assert_close(found.total, wanted)
    torch.testing.assert_close(found.hard, wanted.detach())
    torch.testing.assert_close(gradient_NC, *torch.autograd.grad(wanted, logits_NC))
    assert (float(found.soft), found.num_frames) == (0.0, 8)


@every_form
@pytest.mark.parametrize("options", [*EVERY_TAIL, HARD_ALONE], ids=str)
def test_form_is_zero_when_no_frame_counts(
    form: Form, dtype: torch.dtype, options: LossOptions
) -> None:
    empty, masked = make_frames(num_frames=0, dtype=dtype), make_frames(dtype=dtype)
    for frames, weights_N in ((empty, None), (masked, torch.zeros(7, dtype=dtype))):
        parts, gradient_NC = form.loss_and_gradient(frames, options, weights_N)
        assert [float(x) for x in (parts.total.detach(), parts.hard, parts.soft)] == [0.0] * 3
        assert parts.num_frames == 0
        assert gradient_NC.shape == frames.logits_NC.shape
        assert not gradient_NC.any()


@every_form
def test_form_of_unlabelled_frames_has_no_hard_loss(form: Form, dtype: torch.dtype) -> None:
    frames = make_frames(num_frames=3, dtype=dtype)
    frames = Frames(logits_NC=frames.logits_NC, labels_N=torch.full((3,), -1), soft=frames.soft)
    for hard_weight, num_frames in ((1.0, 0), (0.4, 3)):
        options = LossOptions(hard_weight=hard_weight, tail="truth")
        parts, _ = form.loss_and_gradient(frames, options)
        assert (parts.num_frames, float(parts.hard)) == (num_frames, 0.0)
        torch.testing.assert_close(parts.total.detach(), (1 - hard_weight) * parts.soft)


@every_form
@pytest.mark.parametrize("tail", POLICIES)
def test_form_does_not_depend_on_the_order_of_kept_classes(
    form: Form, dtype: torch.dtype, tail: TailPolicy
) -> None:
    frames, order = make_frames(k=5, dtype=dtype), torch.tensor([3, 0, 4, 1, 2])
    soft = SoftTargets(
        ids_NK=frames.soft.ids_NK[:, order].int(),
        logp_NK=frames.soft.logp_NK[:, order],
        tail_N=frames.soft.tail_N,
    )
    other = Frames(logits_NC=frames.logits_NC, labels_N=frames.labels_N, soft=soft)
    options = LossOptions(hard_weight=0.3, tail=tail)
    (found, gradient_NC), (wanted, wanted_NC) = (
        form.loss_and_gradient(each, options) for each in (other, frames)
    )
    torch.testing.assert_close(found.total, wanted.total)
    torch.testing.assert_close(gradient_NC, wanted_NC)


@every_form
@pytest.mark.parametrize("tail", POLICIES)
def test_form_gives_equal_classes_equal_gradients(
    form: Form, dtype: torch.dtype, tail: TailPolicy
) -> None:
    soft = SoftTargets(
        ids_NK=torch.tensor([[1, 4, 6]] * 3),
        logp_NK=torch.full((3, 3), 0.25, dtype=dtype).log(),
        tail_N=torch.full((3,), 0.25, dtype=dtype),
    )
    frames = Frames(
        logits_NC=torch.zeros(3, 8, dtype=dtype), labels_N=torch.tensor([1, 0, -1]), soft=soft
    )
    options = LossOptions(hard_weight=0.0, tail=tail)
    _, gradient_NC = form.loss_and_gradient(frames, options)
    assert torch.equal(gradient_NC[:, 4], gradient_NC[:, 6])
    assert torch.equal(gradient_NC[:, 2], gradient_NC[:, 7])
    assert_is_definition(form, frames, options)


@every_form
def test_form_is_differentiated_once_and_in_its_total_only(form: Form, dtype: torch.dtype) -> None:
    frames = make_frames(dtype=dtype)
    parts = form(frames, frames.leaf(), LossOptions(hard_weight=0.3, tail="renormalize"))
    (parts.total * 3).backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        parts.total.backward()
    assert not parts.hard.requires_grad
    assert not parts.soft.requires_grad


@every_form
def test_form_without_gradients_is_the_same_loss(form: Form, dtype: torch.dtype) -> None:
    frames, options = make_frames(dtype=dtype), LossOptions(hard_weight=0.3, tail="bucket")
    wanted, _ = form.loss_and_gradient(frames, options)
    logits_NC = frames.leaf()
    with torch.no_grad():
        found = form(frames, logits_NC, options)
    assert torch.equal(found.total, wanted.total)
    assert not found.total.requires_grad
    assert torch.equal(logits_NC, frames.logits_NC)
