"""EssenceLoss: the dense definition, over padded batches, with parts of the labels missing."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from stages.student.foreign import module
from stages.student.foreign.module import EssenceLoss
from stages.student.foreign.source import SoftLabelSource
from stages.student.loss.options import TailPolicy
from tests.support.makers.foreign import (
    NUM_CLASSES,
    loss_by_hand,
    make_labels,
    make_logits,
    store_of_utterances,
)
from tests.support.oracles.loss import POLICIES

WITH_MISSING = {"utt-d": 13, "unknown": 6, "utt-a": 9, "utt-c": 0, "utt-b": 4}
K = 3


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_of_utterances(tmp_path_factory.mktemp("store") / "train.zarr")


@pytest.fixture(scope="module")
def source(place: Path) -> SoftLabelSource:
    return SoftLabelSource(place, k=K)


def value_of(place: Path, logits: Tensor, labels: Tensor | None, **options: object) -> float:
    """The mean by hand, in float64."""
    total, count = loss_by_hand(
        logits.detach().double().numpy(),
        None if labels is None else labels.numpy(),
        place,
        WITH_MISSING,
        k=K,
        **options,  # type: ignore[arg-type]
    )
    return total / max(count, 1)


@pytest.mark.parametrize("tail", POLICIES)
@pytest.mark.parametrize("hard_weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("has_labels", [True, False], ids=["labels", "no labels"])
def test_loss_is_the_dense_definition(
    place: Path, source: SoftLabelSource, tail: TailPolicy, hard_weight: float, has_labels: bool
) -> None:
    if hard_weight == 1 and not has_labels:
        return
    logits = make_logits(5, 15, NUM_CLASSES)
    labels = make_labels(5, 14) if has_labels else None
    soft = source(list(WITH_MISSING), list(WITH_MISSING.values()))
    loss = EssenceLoss(hard_weight=hard_weight, tail=tail)
    found = loss(logits, labels, soft)
    wanted = value_of(place, logits, labels, hard_weight=hard_weight, tail=tail)
    assert float(found.detach()) == pytest.approx(wanted, rel=1e-6)  # tails are float32
    parts = loss.parts(logits, labels, soft)
    assert torch.equal(parts.total, found)
    assert parts.num_missing == 1
    summed = EssenceLoss(hard_weight=hard_weight, tail=tail, reduction="sum")
    assert summed(logits, labels, soft).item() == pytest.approx(wanted * parts.num_frames, rel=1e-6)


@pytest.mark.parametrize("tail", POLICIES)
def test_gradient_is_that_of_the_loss_and_zero_on_padding(
    source: SoftLabelSource, tail: TailPolicy
) -> None:
    logits, labels = make_logits(3, 7, NUM_CLASSES), make_labels(3, 7)
    soft, loss = source(["utt-b", "x", "utt-c"], [4, 2, 0]), EssenceLoss(hard_weight=0.3, tail=tail)
    assert torch.autograd.gradcheck(lambda z: loss(z, labels, soft), logits, atol=1e-6)
    loss(logits, labels, soft).backward()
    assert logits.grad is not None
    assert logits.grad[0, :4].abs().sum(1).all()
    assert not logits.grad[0, 4:].any()
    assert not logits.grad[1, 2:].any()
    assert not logits.grad[2].any()


def test_padding_may_hold_anything(source: SoftLabelSource) -> None:
    logits, labels = make_logits(1, 6, NUM_CLASSES), make_labels(1, 6)
    soft, loss = source(["utt-b"], [4]), EssenceLoss(hard_weight=0.3)
    bad = logits.detach().clone()
    bad[:, 4:] = torch.nan
    bad.requires_grad_()
    loss(bad, labels, soft).backward()
    wanted = loss(logits, labels, soft)
    wanted.backward()
    assert torch.equal(loss(bad, labels, soft), wanted)
    assert logits.grad is not None
    assert bad.grad is not None
    assert torch.equal(bad.grad, logits.grad)


@pytest.mark.parametrize("padded", [0, 2])
@pytest.mark.parametrize("chunk_above", [0, 1 << 23], ids=["in chunks", "whole"])
def test_hidden_and_layer_are_the_logits_of_the_layer(
    source: SoftLabelSource, monkeypatch: pytest.MonkeyPatch, padded: int, chunk_above: int
) -> None:
    monkeypatch.setattr(module, "CHUNK_ABOVE", chunk_above)
    layer = nn.Linear(5, NUM_CLASSES, dtype=torch.float64)
    hidden, labels = make_logits(2, 9 + padded, 5), make_labels(2, 9)
    soft, loss = source(["utt-a", "x"], [9, 9]), EssenceLoss(hard_weight=0.3, tail="bucket")
    inputs = (hidden, layer.weight, layer.bias)
    found = torch.autograd.grad(loss((hidden, layer), labels, soft), inputs)
    wanted = torch.autograd.grad(loss(layer(hidden), labels, soft), inputs)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_layer_with_a_forward_of_its_own_is_called(
    source: SoftLabelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Scaled(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return 2 * super().forward(input)

    monkeypatch.setattr(module, "CHUNK_ABOVE", 0)
    loss, soft = EssenceLoss(hard_weight=0.0), source(["utt-b"])
    hidden = make_logits(1, 4, 5)
    own = Scaled(5, NUM_CLASSES, dtype=torch.float64)
    hooked = nn.Linear(5, NUM_CLASSES, dtype=torch.float64)
    hooked.register_forward_hook(lambda *args: args[2] * 2)
    softmax = nn.Sequential(nn.Linear(5, NUM_CLASSES, dtype=torch.float64), nn.Softmax(-1))
    for layer in (own, hooked, softmax):
        loss((hidden, layer), None, soft).backward()
        torch.testing.assert_close(
            loss((hidden, layer), None, soft), loss(layer(hidden), None, soft)
        )


def test_logits_are_not_overwritten(source: SoftLabelSource) -> None:
    logits = make_logits(1, 4, NUM_CLASSES)
    before = logits.detach().clone()
    twice = logits * 1
    EssenceLoss(hard_weight=0.0)(twice, None, source(["utt-b"])).backward()
    assert torch.equal(twice, before)


def test_accumulated_sums_are_the_mean_of_the_whole(source: SoftLabelSource) -> None:
    ids, lengths = ["utt-a", "utt-b", "x"], [9, 4, 5]
    logits, labels = make_logits(3, 9, NUM_CLASSES), make_labels(3, 9)
    whole = EssenceLoss(hard_weight=0.3).parts(logits, labels, source(ids, lengths))
    (wanted,) = torch.autograd.grad(whole.total, logits)
    loss = EssenceLoss(hard_weight=0.3, reduction="sum")
    for at in range(3):
        one = slice(at, at + 1)
        part = loss(logits[one], labels[one], source(ids[one], lengths[one]))
        (part / whole.num_frames).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, wanted)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_loss_of_lower_precision_is_that_of_the_same_values(
    source: SoftLabelSource, dtype: torch.dtype
) -> None:
    logits, labels = make_logits(2, 9, NUM_CLASSES, dtype=dtype), make_labels(2, 9)
    soft, loss = source(["utt-a", "utt-b"]), EssenceLoss(hard_weight=0.3, tail="bucket")
    found, wanted = (loss(z, labels, soft) for z in (logits, logits.double()))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)


def test_autocast_changes_the_layer_and_not_the_loss(source: SoftLabelSource) -> None:
    layer, labels = nn.Linear(5, NUM_CLASSES), make_labels(2, 9)
    hidden = make_logits(2, 9, 5, dtype=torch.float32)
    soft, loss = source(["utt-a", "utt-b"]), EssenceLoss(hard_weight=0.3, tail="bucket")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = layer(hidden)
        found = loss(logits, labels, soft)
        through_layer = loss((hidden, layer), labels, soft)
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(found, loss(logits, labels, soft))
    torch.testing.assert_close(through_layer, found, rtol=1e-3, atol=1e-3)
    through_layer.backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.isfinite().all()


# torch looks at `.grad` of what is no leaf, and hides its warning unless warnings are errors.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_model_and_loss_give_the_same_gradients(
    source: SoftLabelSource, backend: str
) -> None:
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, NUM_CLASSES))
    inputs, labels = make_logits(3, 9, 5, dtype=torch.float32).detach(), make_labels(3, 9)
    loss = EssenceLoss(hard_weight=0.3, tail="bucket")

    def step(soft: object) -> Tensor:
        return loss(model(inputs), labels, soft)  # type: ignore[arg-type]

    compiled = torch.compile(step, backend=backend)
    batches = [(["utt-a", "x", "utt-b"], [9, 3, 4]), (["utt-b", "utt-a", "utt-a"], [4, 9, 9])]
    for ids, lengths in batches:
        soft = source(ids, lengths)
        wanted = torch.autograd.grad(step(soft), list(model.parameters()))
        found = torch.autograd.grad(compiled(soft), list(model.parameters()))
        for a, b in zip(found, wanted, strict=True):
            torch.testing.assert_close(a, b)


def test_no_frame_at_all_is_zero(source: SoftLabelSource) -> None:
    logits = make_logits(1, 3, NUM_CLASSES)
    loss = EssenceLoss(hard_weight=0.3)
    for soft in (source(["utt-c"]), source(["x"], [3])):
        total = loss(logits, None, soft)
        total.backward()
        assert float(total.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()
    nothing = make_logits(0, 3, NUM_CLASSES)
    loss(nothing, None, source([])).backward()
    assert nothing.grad is not None


def test_temperature_is_that_of_the_source(tmp_path: Path) -> None:
    place = store_of_utterances(tmp_path / "t.zarr", temperatures=(2.0,), kept=NUM_CLASSES)
    source = SoftLabelSource(place, temperature=2.0)
    logits = make_logits(1, 9, NUM_CLASSES)
    found = EssenceLoss(hard_weight=0.0, temperature=2.0)(logits, None, source(["utt-a"]))
    logp_TC = source.store.read(["utt-a"], k=NUM_CLASSES)
    stored_TC = torch.zeros(9, NUM_CLASSES, dtype=torch.float64)
    stored_TC.scatter_(
        1, torch.from_numpy(logp_TC.ids_TK).long(), torch.from_numpy(logp_TC.logp_TK).double()
    )
    target_TC = (stored_TC / 2).softmax(1)
    wanted = -4 * (target_TC * (logits[0] / 2).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)
    with pytest.raises(ValueError, match=r"the loss has temperature=1, the soft labels 2"):
        EssenceLoss(hard_weight=0.0)(logits, None, source(["utt-a"]))


BAD_CALLS = {
    "logits have shape .23,. and dtype torch.float64, wanted": (make_logits(23), None),
    "logits have shape .1, 3, 23., the soft labels are of 1 utterances of up to 4 frames": (
        make_logits(1, 3, 23),
        None,
    ),
    "logits have shape .2, 4, 23., the soft labels are of 1 utterances": (
        make_logits(2, 4, 23),
        None,
    ),
    "the model has 24 classes, .*train.zarr 23": (make_logits(1, 4, 24), None),
    "labels have shape .1, 3., the soft labels": (make_logits(1, 4, 23), make_labels(1, 3)),
    "labels have shape .4,. and dtype torch.int64, wanted integers .batch, frames.": (
        make_logits(1, 4, 23),
        make_labels(1, 4)[0],
    ),
    "labels hold class 23, wanted below 23": (
        make_logits(1, 4, 23),
        torch.full((1, 4), 23),
    ),
    "labels are None and hard_weight is 1": (make_logits(1, 4, 23), None),
}


@pytest.mark.parametrize("message", BAD_CALLS)
def test_error_names_the_argument(source: SoftLabelSource, message: str) -> None:
    loss = EssenceLoss(hard_weight=1.0 if "hard_weight" in message else 0.5)
    with pytest.raises(ValueError, match=message):
        loss(*BAD_CALLS[message], source(["utt-b"]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hard_weight": 2}, "hard_weight is 2: choose a value from 0 to 1"),
        ({"hard_weight": 0, "tail": "buckets"}, "tail is 'buckets': choose one of 'renormalize'"),
        ({"hard_weight": 0, "temperature": 0}, "temperature is 0: choose a value above 0"),
        ({"hard_weight": 0, "reduction": "none"}, "reduction is 'none': choose one of 'mean'"),
    ],
)
def test_settings_out_of_range_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EssenceLoss(**arguments)  # type: ignore[arg-type]


def test_print_shows_the_settings() -> None:
    text = repr(EssenceLoss(hard_weight=0.2, tail="bucket"))
    assert text == (
        "EssenceLoss(hard_weight=0.2, tail='bucket', temperature=1.0, reduction='mean')"
    )
