"""Architectures: outputs of an utterance do not depend on padding or on the batch."""

import pytest
import torch
from torch import nn

from stages.acoustic.models.architectures import num_parameters
from tests.support.makers.training import FEATURE_DIM, NUM_CLASSES, make_model

KINDS = ("tdnn", "gru", "lstm", "conv")
LENGTHS = (19, 1, 33, 7)


def _utterances() -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return [torch.randn(length, FEATURE_DIM, generator=rng) for length in LENGTHS]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("padding", [0.0, 1e3, -7.0])
def test_outputs_do_not_depend_on_padding_or_batch(kind: str, padding: float) -> None:
    model = make_model(kind, layers=3).eval()
    model.set_normalisation(torch.full((FEATURE_DIM,), 0.5), torch.full((FEATURE_DIM,), 2.0))
    batch = torch.full((len(LENGTHS), max(LENGTHS) + 9, FEATURE_DIM), padding)
    for row, utterance in enumerate(_utterances()):
        batch[row, : len(utterance)] = utterance
    together = model(batch, torch.tensor(LENGTHS))
    assert together.shape == (len(LENGTHS), max(LENGTHS) + 9, NUM_CLASSES)
    for row, utterance in enumerate(_utterances()):
        alone = model(utterance[None], torch.tensor([len(utterance)]))[0]
        torch.testing.assert_close(together[row, : len(utterance)], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_gets_no_gradient(kind: str) -> None:
    model = make_model(kind, layers=3).eval()
    batch = torch.randn(2, 23, FEATURE_DIM, generator=torch.Generator().manual_seed(1))
    batch.requires_grad_()
    lengths = torch.tensor([23, 9])
    logits = model(batch, lengths)
    (logits[0].square().sum() + logits[1, :9].square().sum()).backward()
    assert batch.grad is not None
    assert batch.grad[1, 9:].abs().max() == 0
    assert batch.grad[1, :9].abs().min() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_weights_all_get_a_gradient(kind: str) -> None:
    model = make_model(kind)
    batch = torch.randn(3, 13, FEATURE_DIM, generator=torch.Generator().manual_seed(4))
    logits = model(batch, torch.tensor([13, 5, 2]))
    nn.functional.cross_entropy(logits.flatten(0, 1), torch.zeros(39, dtype=torch.long)).backward()
    untrained = [name for name, weights in model.named_parameters() if weights.grad is None]
    assert untrained == []
    assert num_parameters(model) == sum(weights.numel() for weights in model.parameters())


def test_normalisation_keeps_a_constant_feature_finite() -> None:
    model = make_model().eval()
    model.set_normalisation(torch.zeros(FEATURE_DIM), torch.zeros(FEATURE_DIM))
    logits = model(torch.zeros(1, 4, FEATURE_DIM), torch.tensor([4]))
    assert torch.isfinite(logits).all()
