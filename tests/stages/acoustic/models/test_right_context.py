"""Right context: an output depends on no frame after its limit, and does depend on the last one."""

from collections.abc import Sequence

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from stages.acoustic.models.architectures import AcousticModel, build_model
from stages.acoustic.models.description import describe_architecture, right_context_of
from stages.acoustic.models.look_ahead import share_look_ahead
from stages.acoustic.models.settings import ArchitectureSettings
from tests.support.makers.training import FEATURE_DIM, NUM_CLASSES

NUM_FRAMES = 61
CASES = [
    (kind, layers, limit)
    for kind, layers, limits in (
        ("tdnn", 3, (0, 1, 4, 7)),
        ("tdnn", 6, (0, 3, 11, 22)),
        ("conv", 1, (0, 2, 7)),
        ("conv", 3, (0, 5, 20, 21)),
        ("gru", 2, (0, 1, 9)),
        ("lstm", 1, (0, 1, 9)),
    )
    for limit in limits
]


def _model(kind: str, layers: int, limit: int | None) -> AcousticModel:
    settings = ArchitectureSettings.model_validate(
        {"kind": kind, "hidden": 11, "layers": layers, "dropout": 0.1, "right_context": limit}
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return build_model(settings, FEATURE_DIM, NUM_CLASSES).eval()


def _features(*, lengths: Sequence[int] = (NUM_FRAMES, 40)) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(7)
    shape = (len(lengths), max(lengths), FEATURE_DIM)
    return torch.randn(shape, generator=rng), torch.tensor(lengths)


@pytest.mark.parametrize(("kind", "layers", "limit"), CASES)
@pytest.mark.parametrize("at", [0, 1, 17, 33])
@torch.no_grad()
def test_output_depends_on_frames_until_its_limit_and_on_none_after(
    kind: str, layers: int, limit: int, at: int
) -> None:
    model = _model(kind, layers, limit)
    features_BTF, lengths_B = _features()
    before_BTC = model(features_BTF, lengths_B)
    after_BTF = features_BTF.clone()
    after_BTF[:, at + limit + 1 :] += 3.0
    assert torch.equal(model(after_BTF, lengths_B)[:, : at + 1], before_BTC[:, : at + 1])
    last_BTF = features_BTF.clone()
    last_BTF[0, at + limit] += 3.0
    assert not torch.equal(model(last_BTF, lengths_B)[0, at], before_BTC[0, at])


@pytest.mark.parametrize(("kind", "layers", "limit"), CASES)
@torch.no_grad()
def test_output_does_not_depend_on_padding_or_batch(kind: str, layers: int, limit: int) -> None:
    model = _model(kind, layers, limit)
    features_BTF, lengths_B = _features(lengths=(37, 1, 52))
    together_BTC = model(features_BTF, lengths_B)
    assert together_BTC.shape == (3, 52, NUM_CLASSES)
    for row, length in enumerate(lengths_B.tolist()):
        alone_TC = model(features_BTF[row : row + 1, :length], torch.tensor([length]))[0]
        torch.testing.assert_close(together_BTC[row, :length], alone_TC, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kind", "layers", "most"), [("tdnn", 5, 21), ("conv", 2, 14)])
@torch.no_grad()
def test_limit_at_the_models_own_reach_changes_nothing(kind: str, layers: int, most: int) -> None:
    given = _features()
    assert torch.equal(_model(kind, layers, most)(*given), _model(kind, layers, None)(*given))
    with pytest.raises(ValidationError, match=f"see {most} frames ahead"):
        _model(kind, layers, most + 1)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
@torch.no_grad()
def test_delayed_recurrence_is_the_shifted_output_of_one_without_delay(kind: str) -> None:
    late, prompt = _model(kind, 2, 4), _model(kind, 2, 0)
    late.load_state_dict(prompt.state_dict())
    features_BTF, lengths_B = _features(lengths=(NUM_FRAMES,))
    late_TC = late(features_BTF, lengths_B)[0]
    prompt_TC = prompt(features_BTF, lengths_B)[0]
    torch.testing.assert_close(late_TC[:-4], prompt_TC[4:], rtol=1e-5, atol=1e-6)


def test_share_of_look_ahead_adds_up_and_exceeds_no_layer() -> None:
    for most in ([1, 2, 4, 6, 8, 1], [7, 7, 7], [1]):
        for right_context in range(sum(most) + 1):
            shares = share_look_ahead(right_context, most)
            assert sum(shares) == right_context
            assert all(0 <= share <= layer for share, layer in zip(shares, most, strict=True))


def test_model_without_a_limit_is_described_as_before() -> None:
    settings = ArchitectureSettings()
    as_before = {"kind": "tdnn", "hidden": 128, "layers": 5, "dropout": 0.1}
    assert settings.model_dump(mode="json") == settings.identity() == as_before
    limited = ArchitectureSettings(right_context=0)
    assert limited.identity() == {**as_before, "right_context": 0}
    assert describe_architecture(limited.model_dump()) == "tdnn 5x128 0 ahead"
    assert right_context_of(as_before) == float("inf")
    assert right_context_of({"kind": "a:b", "width": 3}) is None
