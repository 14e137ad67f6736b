"""Log-likelihoods for the decoder: classes that the members exclude stay excluded."""

from pathlib import Path
from typing import Any

import kaldifst
import numpy as np
import pytest
from numpy.typing import NDArray

from stages.acoustic.lang.beam_search import SearchLimits, decode_matrix
from stages.contract.progress import SilentProgress
from stages.contract.results import System
from stages.evaluate.likelihoods import run_members, write_likelihoods
from stages.evaluate.settings import EvaluateSettings
from stages.members.ensemble_posteriors import LOG_FLOOR
from stages.members.posterior_archive import LOG_ZERO
from storage.corpus.corpus_file import CorpusFile
from tests.support.makers.archives import make_archived_member, sharp_posteriors
from tests.support.makers.training import NUM_CLASSES, make_corpus_directory

Floats = NDArray[np.float32]
PRIOR_C = np.log(np.arange(1, NUM_CLASSES + 1, dtype=np.float32) / 15)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus and two members whose posteriors reach down to zero."""
    root = tmp_path_factory.mktemp("house")
    (root / "corpus").mkdir()
    corpus = make_corpus_directory(root / "corpus")
    for seed, name in enumerate(("one", "two")):
        make_archived_member(root / name, corpus, sharp_posteriors(seed, num_classes=NUM_CLASSES))
    return root


def posteriors_of(house: Path, scratch: Path, members: tuple[str, ...], **changes: Any) -> Floats:
    """Log-posteriors of dev as passed to the decoder, all utterances concatenated."""
    system = System(
        name="a system",
        kind="ensemble",
        fingerprint="f",
        model_directories=tuple(house / member for member in members),
        weights=(1.0, 3.0)[: len(members)],
        **changes,
    )
    scratch.mkdir()
    with CorpusFile(house / "corpus" / "dev.h5") as dev:
        run_members(
            system,
            {"dev": dev},
            scratch,
            batch_frames=90,
            device="cpu",
            progress=SilentProgress(),
        )
        path, *_ = write_likelihoods(system, "dev", dev, scratch, log_prior_C=PRIOR_C, phones=None)
    return np.asarray(np.load(path) + PRIOR_C)


@pytest.fixture
def alone(house: Path, tmp_path: Path) -> list[NDArray[np.float64]]:
    """Log-posteriors of each member in float64."""
    found = [posteriors_of(house, tmp_path / name, (name,)) for name in ("one", "two")]
    return [logp_TC.astype(np.float64) for logp_TC in found]


@pytest.mark.parametrize("combine", ["arithmetic", "geometric"])
def test_single_member_keeps_its_archived_values(house: Path, tmp_path: Path, combine: str) -> None:
    found = posteriors_of(house, tmp_path / "s", ("one",), combine=combine)
    draw = sharp_posteriors(0, num_classes=NUM_CLASSES)
    for split in ("train", "dev"):  # in the order in which the maker drew them
        with CorpusFile(house / "corpus" / f"{split}.h5") as file:
            drawn = [draw(row.num_frames) for row in file.utterances if row.num_frames]
    wanted = np.maximum(np.concatenate(drawn), LOG_ZERO)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-5)
    assert ((found < -90) & (found > -400)).sum() > 20
    assert (found == LOG_ZERO).sum() > 5


def test_arithmetic_mean_goes_below_the_floor(
    house: Path, tmp_path: Path, alone: list[NDArray[np.float64]]
) -> None:
    found = posteriors_of(house, tmp_path / "s", ("one", "two"), combine="arithmetic")
    wanted = np.logaddexp(alone[0] + np.log(0.25), alone[1] + np.log(0.75))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-4)
    assert (found < -100).sum() > 20


def test_geometric_mean_floors_each_member(
    house: Path, tmp_path: Path, alone: list[NDArray[np.float64]]
) -> None:
    found = posteriors_of(house, tmp_path / "s", ("one", "two"), combine="geometric")
    one, two = (np.maximum(logp_TC, float(LOG_FLOOR)) for logp_TC in alone)
    wanted = 0.25 * one + 0.75 * two
    wanted -= np.log(np.exp(wanted).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-4)


def test_excluded_class_is_outside_the_beam_at_every_scale() -> None:
    settings = EvaluateSettings()
    assert -LOG_ZERO * min(settings.acoustic_scales) > 10 * settings.beam


def test_excluded_class_is_not_decoded_even_if_its_word_is_cheap(tmp_path: Path) -> None:
    """Word 1 needs class 0, which one frame excludes; word 2 costs 12 nats more."""
    (tmp_path / "corpus").mkdir()
    corpus = make_corpus_directory(tmp_path / "corpus")

    def exclude_class_0(num_frames: int) -> Floats:
        logp_TC = np.full((num_frames, NUM_CLASSES), -np.log(NUM_CLASSES), np.float32)
        logp_TC[num_frames // 2] = [-np.inf, 0, -np.inf, -np.inf, -np.inf]
        return logp_TC

    make_archived_member(tmp_path / "one", corpus, exclude_class_0)
    logp_TC = posteriors_of(tmp_path, tmp_path / "s", ("one",))[:31]
    graph = kaldifst.compile("0 1 1 1 0\n1 1 1 0 0\n0 2 2 2 12\n2 2 2 0 0\n1\n2\n")
    limits = SearchLimits(beam=11.0, max_active=1000, min_active=200)
    assert decode_matrix(graph, logp_TC * np.float32(0.083), limits=limits).words == (2,)
    floored_TC = np.maximum(logp_TC, LOG_FLOOR) * np.float32(0.083)
    assert decode_matrix(graph, floored_TC, limits=limits).words == (1,)  # what a floor would do
