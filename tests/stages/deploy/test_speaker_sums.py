"""Normalisation of speech that is transcribed is that of the corpus."""

from pathlib import Path

import numpy as np
import pytest

from stages.acoustic.features.cmvn_file import read_moments, write_moments
from stages.acoustic.features.front_end import Moments
from stages.acoustic.features.front_end_settings import FrontEndSettings
from stages.contract.errors import BadInput, MissingPart
from stages.deploy.speaker_sums import SpeakerSums, sums_for


def features(seed: int, frames: int = 31) -> np.ndarray:
    return np.random.default_rng(seed).normal(3, 2, size=(frames, 7)).astype(np.float32)


def test_speaker_has_mean_zero_over_all_that_is_given() -> None:
    sums = SpeakerSums(FrontEndSettings())
    assert sums.are_gathered
    for seed, speaker in ((1, "anna"), (2, "ben"), (3, "anna")):
        sums.count(speaker, features(seed))
    both = np.concatenate([sums.normalise("anna", features(seed)) for seed in (1, 3)])
    np.testing.assert_allclose(both.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(both.std(axis=0), 1, atol=1e-5)
    assert abs(sums.normalise("ben", features(1)).mean()) > 1e-3


def test_given_sums_stand_for_all_speakers(tmp_path: Path) -> None:
    write_moments(tmp_path / "cmvn.json", Moments.of(features(5, 997)))
    given = read_moments(tmp_path / "cmvn.json")
    wanted = Moments.of(features(5, 997))
    assert np.array_equal(given.sum_F, wanted.sum_F)
    assert np.array_equal(given.squares_F, wanted.squares_F)
    sums = sums_for(FrontEndSettings(), of_train=None, given=given, num_bins=7)
    assert not sums.are_gathered
    assert np.array_equal(sums.normalise("a", features(1)), sums.normalise("b", features(1)))


def test_global_takes_the_sums_of_train() -> None:
    of_train = Moments.of(features(5, 997))
    settings = FrontEndSettings(cmvn="global")
    sums = sums_for(settings, of_train=of_train, given=None, num_bins=7)
    assert sums.given is of_train
    with pytest.raises(MissingPart, match="--cmvn-stats"):
        sums_for(settings, of_train=None, given=None, num_bins=7)


def test_sums_that_do_not_fit_are_refused() -> None:
    given = Moments.of(features(5))
    with pytest.raises(BadInput, match="sums of 7 features, the model reads 40"):
        sums_for(FrontEndSettings(), of_train=None, given=given, num_bins=40)
    for cmvn in ("none", "utterance"):
        with pytest.raises(BadInput, match="leave out --cmvn-stats"):
            sums_for(FrontEndSettings(cmvn=cmvn), of_train=None, given=given, num_bins=7)


@pytest.mark.parametrize("text", ["", "{}", '{"num_frames":1,"sum":[1],"squares":[1,2]}'])
def test_file_that_is_no_cmvn_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "cmvn.json").write_text(text)
    with pytest.raises(BadInput, match=r"cmvn\.json"):
        read_moments(tmp_path / "cmvn.json")
