"""Copies of a split: ids, speakers, labels through the warp, and what does not depend on order."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from stages.acoustic.features.filterbank import log_mel
from stages.contract.errors import BadInput
from stages.contract.progress import SilentProgress
from stages.corpus.copies.kinds import AnyCopy
from stages.corpus.copies.make import make_copy, map_labels, with_copies
from stages.corpus.raw import RawUtterance
from stages.corpus.sound.recording import Recording
from tests.support.makers.copies import make_original, make_recording, make_recordings

BINS = 17
COPIES = [
    {"kind": "noise", "name": "noisy", "seed": 3, "splits": ["train", "test"]},
    {"kind": "speed", "name": "fast", "speed": 1.1},
    {"kind": "tempo", "name": "slow", "tempo": 0.8},
    {"kind": "tract", "name": "tract"},
]


def made(
    recordings: list[Recording],
    scratch: Path,
    *,
    copies: list[dict[str, Any]] = COPIES,
    split: str = "train",
) -> list[RawUtterance]:
    settings = TypeAdapter(list[AnyCopy]).validate_python(copies)
    scratch.mkdir(exist_ok=True)
    return list(
        with_copies(
            recordings,
            settings,
            split=split,
            num_mel_bins=BINS,
            scratch=scratch,
            progress=SilentProgress(),
        )
    )


def test_train_has_the_originals_then_copy_after_copy(tmp_path):
    recordings = make_recordings()
    raws = made(recordings, tmp_path)
    ids = [recording.id for recording in recordings]
    names = ["noisy", "fast", "slow", "tract"]
    assert [raw.id for raw in raws] == ids + [f"{name}-{id}" for name in names for id in ids]
    for raw, recording in zip(raws, recordings * 5, strict=True):
        assert (raw.speaker, raw.transcript) == (recording.speaker, recording.transcript)
        assert len(raw.features_TF) == len(raw.labels_T)
    warped = {raw.copy_of.name: raw.copy_of.is_time_warped for raw in raws if raw.copy_of}
    assert warped == {"noisy": False, "fast": True, "slow": True, "tract": False}
    assert all(raw.id == f"{raw.copy_of.name}-{raw.copy_of.original}" for raw in raws[7:])
    assert [raw.copy_of for raw in raws[:7]] == [None] * 7


def test_originals_are_what_they_are_without_copies(tmp_path):
    alone = made(make_recordings(), tmp_path, copies=[])
    for left, right in zip(alone, made(make_recordings(), tmp_path), strict=False):
        assert left.id == right.id
        np.testing.assert_array_equal(left.features_TF, right.features_TF)
        np.testing.assert_array_equal(left.labels_T, right.labels_T)


def test_copy_stands_for_the_original_in_test_and_not_in_dev(tmp_path):
    recordings = make_recordings()
    assert [raw.id for raw in made(recordings, tmp_path, split="test")] == [
        f"noisy-{recording.id}" for recording in recordings
    ]
    assert [raw.id for raw in made(recordings, tmp_path, split="dev")] == [
        recording.id for recording in recordings
    ]


def test_copies_do_not_depend_on_the_order_of_the_split(tmp_path):
    babble = [{**COPIES[0], "babble_share": 1.0}, *COPIES[1:]]
    recordings = make_recordings()
    one = {raw.id: raw for raw in made(recordings, tmp_path / "a", copies=babble)}
    other = {raw.id: raw for raw in made(recordings[::-1], tmp_path / "b", copies=babble[::-1])}
    assert one.keys() == other.keys()
    for id in one:
        np.testing.assert_array_equal(one[id].features_TF, other[id].features_TF)
        np.testing.assert_array_equal(one[id].labels_T, other[id].labels_T)


def test_copy_keeps_time_and_labels_where_time_is_not_warped(tmp_path):
    raws = {raw.id: raw for raw in made(make_recordings(), tmp_path)}
    for name in ("noisy", "tract"):
        for number in range(7):
            copy, original = raws[f"{name}-u{number}"], raws[f"u{number}"]
            assert copy.features_TF.shape == original.features_TF.shape
            assert np.abs(copy.features_TF - original.features_TF).max() > 0.1
            np.testing.assert_array_equal(copy.labels_T, original.labels_T)


@pytest.mark.parametrize(("kind", "factor"), [("speed", 1.1), ("speed", 0.9), ("tempo", 0.8)])
def test_labels_move_with_the_sound(kind, factor):
    """Loud and quiet stretches are the labels: the copy must be loud where its label is 1."""
    bounds = np.array([0, 1_700, 5_100, 5_900, 9_300, 13_000, 16_000])
    loud_T = np.repeat([0, 1, 0, 1, 0, 1], np.diff(bounds))
    noise_T = np.random.default_rng(1).standard_normal(16_000)
    samples_T = np.rint(noise_T * np.where(loud_T, 3000.0, 10.0)).astype(np.float32)
    centres = np.arange(100) * 160 + 80
    recording = replace(
        make_recording("u"), samples_T=samples_T, labels_T=loud_T[centres].astype(np.int32)
    )
    copy = TypeAdapter(AnyCopy).validate_python({"kind": kind, "name": "it", kind: factor})
    raw = make_copy(copy, make_original(recording), num_mel_bins=BINS)
    assert len(raw.labels_T) == len(raw.features_TF) == pytest.approx(100 / factor, abs=1)
    is_loud_T = raw.features_TF.mean(axis=1) > log_mel(samples_T, num_mel_bins=BINS).mean()
    changes = np.flatnonzero(np.diff(raw.labels_T))
    near = np.abs(np.arange(len(is_loud_T))[:, None] - changes).min(axis=1) <= 2
    assert len(changes) == 5
    np.testing.assert_array_equal(is_loud_T[~near], raw.labels_T[~near] == 1)


@given(
    num_frames=st.integers(1, 200),
    factor=st.floats(0.5, 2.0),
    labels=st.lists(st.integers(0, 9), min_size=1, max_size=200),
)
def test_map_labels_takes_the_nearest_frame(num_frames, factor, labels):
    labels_T = np.array(labels, dtype=np.int32)
    found = map_labels(labels_T, num_frames=num_frames, time_factor=factor)
    centres = np.arange(len(labels)) + 0.5
    for frame, label in enumerate(found):
        distances = np.abs(centres - (frame + 0.5) * factor)
        nearest = np.flatnonzero(distances <= distances.min() + 1e-9)
        assert label in labels_T[nearest]


def test_untranscribed_original_has_untranscribed_copies(tmp_path):
    recordings = [replace(recording, labels_T=None) for recording in make_recordings()]
    assert all(raw.labels_T is None for raw in made(recordings, tmp_path))


def test_babble_of_one_speaker_alone_is_refused(tmp_path):
    recordings = [replace(recording, speaker="anna") for recording in make_recordings()]
    copies = [{**COPIES[0], "babble_share": 1.0}]
    with pytest.raises(BadInput, match=r"noisy: all utterances of the split are by anna.*babble_s"):
        made(recordings, tmp_path, copies=copies)


def test_babble_is_by_other_speakers(tmp_path):
    """Two speakers, each one tone: at -30 dB a copy is the other speaker's tone."""
    t = np.arange(16_000) / 16_000
    hertz_of = {"low": 300.0, "high": 3_000.0}
    recordings = [
        replace(
            make_recording(f"{speaker}-{n}", speaker=speaker, length=16_000),
            samples_T=np.rint(1000 * np.sin(2 * np.pi * hertz * t)).astype(np.float32),
        )
        for speaker, hertz in hertz_of.items()
        for n in range(4)
    ]
    copy = {"kind": "noise", "name": "n", "snr_db_low": -30, "snr_db_high": -30, "babble_share": 1}
    raws = made(recordings, tmp_path, copies=[copy])
    peaks = {raw.id: int(raw.features_TF.mean(axis=0).argmax()) for raw in raws}
    assert peaks["n-low-1"] == peaks["high-1"] != peaks["low-1"] == peaks["n-high-1"]
