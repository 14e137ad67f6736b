"""The contract of means of members: one suite for numpy on the CPU and torch on a device."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stages.teacher import shard
from stages.teacher.block_mean import BlockMean, NumpyMean
from stages.teacher.shard import mean_on
from stages.teacher.torch_mean import TorchMean
from storage.format.layout import StoreAbout
from storage.format.value_code import encode_logp, encode_prob
from storage.read.reader import open_store
from storage.write.top_k import join_blocks
from tests.support.makers.store import make_about, make_logp
from tests.support.makers.teacher import label, make_member
from tests.support.makers.training import make_corpus_directory

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

LENGTHS = (7, 1, 23)
WEIGHTS = (0.5, 0.3, 0.2)
CLASSES = 17
RULES: list[dict[str, Any]] = [
    {},
    {"combine": "geometric"},
    {"temperature": 2.0},
    {"temperatures": (2.0, 0.5)},
    {"combine": "geometric", "temperature": 0.5, "temperatures": (3.0,)},
]
Make = Callable[[StoreAbout, int], BlockMean]


def on(device: str) -> Make:
    return lambda about, num_frames: TorchMean(about, num_frames, device=device)


@pytest.fixture(params=["numpy", "torch", "cuda"])
def make(request: pytest.FixtureRequest) -> Make:
    if request.param == "numpy":
        return NumpyMean
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return on("cpu" if request.param == "torch" else "cuda")


def make_rule(rule: dict[str, Any]) -> StoreAbout:
    return make_about(num_classes=CLASSES, kept=6, **rule)


def members() -> list[list[NDArray[np.float32]]]:
    return [
        [make_logp(length, CLASSES, seed=10 * n + length, sharpness=3) for length in LENGTHS]
        for n in range(len(WEIGHTS))
    ]


def pieces_of(member: list[NDArray[np.float32]]) -> list[tuple[slice, torch.Tensor]]:
    ends = np.cumsum(LENGTHS)
    return [
        (slice(int(end - length), int(end)), torch.from_numpy(logp_TC.copy()))
        for end, length, logp_TC in zip(ends, LENGTHS, member, strict=True)
    ]


def oracle(about: StoreAbout) -> NDArray[np.float64]:
    """The mean's log-posteriors in float64, at the store's temperature."""
    whole = [np.concatenate(member).astype(np.float64) for member in members()]
    if about.combine == "geometric":
        mean_TC = sum(w * logp_TC for w, logp_TC in zip(WEIGHTS, whole, strict=True))
    else:
        mean_TC = np.log(sum(w * np.exp(logp) for w, logp in zip(WEIGHTS, whole, strict=True)))
    mean_TC = mean_TC / about.temperature
    return np.asarray(mean_TC - np.log(np.exp(mean_TC).sum(axis=1, keepdims=True)))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_mean_keeps_the_best_of_the_weighted_members(make: Make, rule: dict[str, Any]) -> None:
    about = make_rule(rule)
    mean = make(about, sum(LENGTHS))
    for member, weight in zip(members(), WEIGHTS, strict=True):
        assert mean.add(pieces_of(member), weight=weight, floor=-np.inf) == [True] * 3
    kept = join_blocks(list(mean.keep()))
    wanted_TC = oracle(about)
    ids_TK = np.argsort(-wanted_TC, axis=1)[:, :6]
    np.testing.assert_array_equal(kept.ids_TK, ids_TK)
    best_TK = np.take_along_axis(wanted_TC, ids_TK, axis=1)
    np.testing.assert_allclose(kept.logp_TK, best_TK, atol=5e-6, rtol=2e-6)
    tail_T = np.exp(wanted_TC).sum(axis=1) - np.exp(best_TK).sum(axis=1)
    np.testing.assert_allclose(kept.tail_TG[:, -1], tail_T, rtol=1e-4, atol=1e-7)
    for column, temperature in enumerate(about.temperatures):
        log_norm_T = np.log(np.exp(wanted_TC / temperature).sum(axis=1))
        np.testing.assert_allclose(kept.log_norm_TH[:, column], log_norm_T, atol=1e-5)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_mean_gives_the_same_ids_and_codes_in_every_implementation(
    make: Make, rule: dict[str, Any]
) -> None:
    about, found = make_rule(rule), []
    for each in (make, NumpyMean):
        mean = each(about, sum(LENGTHS))
        for member, weight in zip(members(), WEIGHTS, strict=True):
            mean.add(pieces_of(member), weight=weight, floor=-np.inf)
        found.append(join_blocks(list(mean.keep())))
    one, other = found
    np.testing.assert_array_equal(one.ids_TK, other.ids_TK)
    np.testing.assert_array_equal(encode_logp(one.logp_TK), encode_logp(other.logp_TK))
    np.testing.assert_array_equal(encode_prob(one.tail_TG), encode_prob(other.tail_TG))


@pytest.mark.parametrize("combine", ["arithmetic", "geometric"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0])
def test_mean_flags_pieces_that_are_not_distributions(
    make: Make, combine: str, value: float
) -> None:
    for wrong in range(len(LENGTHS)):
        member = members()[0]
        member[wrong][0, 9] = value
        mean = make(make_rule({"combine": combine}), sum(LENGTHS))
        flags = mean.add(pieces_of(member), weight=0.5, floor=-np.inf)
        assert flags == [number != wrong for number in range(len(LENGTHS))]


def test_values_below_the_floor_are_raised_to_it(make: Make) -> None:
    about = make_rule({"combine": "geometric"})
    given, raised = members()[0], members()[0]
    for logp_TC in given:
        logp_TC[:, 3] = -np.inf
    for logp_TC in raised:
        logp_TC[:, 3] = -50
    found = []
    for member in (given, raised):
        mean = make(about, sum(LENGTHS))
        mean.add(pieces_of(member), weight=1.0, floor=-50.0)
        found.append(join_blocks(list(mean.keep())))
    np.testing.assert_array_equal(found[0].logp_TK, found[1].logp_TK)


def test_mean_of_no_frames_is_empty(make: Make) -> None:
    for rule in RULES:
        assert sum(len(block.ids_TK) for block in make(make_rule(rule), 0).keep()) == 0


def test_mean_on_cpu_uses_numpy_and_on_cuda_torch() -> None:
    about = make_rule({})
    for device in ("cpu", "mps"):
        assert isinstance(mean_on(device, about, 3), NumpyMean)
    if torch.cuda.is_available():
        assert isinstance(mean_on("cuda:0", about, 3), TorchMean)


@pytest.mark.parametrize("rule", RULES[:3], ids=str)
def test_teacher_stores_agree_between_implementations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: dict[str, Any]
) -> None:
    corpus = make_corpus_directory(tmp_path / "corpus")
    directories = [make_member(tmp_path / kind, kind, seed=3) for kind in ("tdnn", "gru")]
    label(tmp_path / "numpy", corpus, directories, **rule)
    monkeypatch.setattr(shard, "mean_on", lambda _, *args: TorchMean(*args, device="cpu"))
    label(tmp_path / "torch", corpus, directories, **rule)
    for split in ("train", "dev"):
        one, other = (open_store(tmp_path / name / f"{split}.zarr") for name in ("numpy", "torch"))
        found, wanted = (s.read([u.id for u in s.utterances], k=3) for s in (one, other))
        assert (found.ids_TK == wanted.ids_TK).mean() > 0.999  # near ties may change places
        np.testing.assert_allclose(found.logp_TK, wanted.logp_TK, atol=0.07)  # a code
        assert (found.logp_TK == wanted.logp_TK).mean() > 0.999
