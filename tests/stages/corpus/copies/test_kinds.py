"""Kinds of copies, each against an oracle."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from stages.corpus.copies.kinds import AnyCopy
from stages.corpus.sound.noise import to_16_bits
from stages.corpus.sound.wave import root_mean_square
from tests.support.makers.copies import make_original, make_recording
from tests.support.makers.sound import pitch_of, tone

ALL = [
    {"kind": "noise", "name": "noisy", "seed": 3, "babble_share": 0.5, "echo_share": 0.5},
    {"kind": "speed", "name": "sp0.9", "speed": 0.9},
    {"kind": "tempo", "name": "tempo1.1", "tempo": 1.1},
    {"kind": "tract", "name": "tract", "seed": 3},
]


def copy_of(**fields: Any) -> Any:
    return TypeAdapter(AnyCopy).validate_python({"name": "it", **fields})


def noise(**fields: Any) -> Any:
    return copy_of(kind="noise", **fields)


def snr_db(noisy: np.ndarray, clean: np.ndarray) -> float:
    ratio = root_mean_square(clean) / root_mean_square(noisy - clean)
    return 20 * np.log10(ratio)


@pytest.mark.parametrize("babble_share", [0.0, 1.0])
@pytest.mark.parametrize("wanted", [-3.0, 12.0])
def test_noise_has_the_given_ratio(babble_share, wanted):
    copy = noise(snr_db_low=wanted, snr_db_high=wanted, babble_share=babble_share)
    for number in range(8):
        original = make_original(make_recording(f"u{number}", seed=number))
        noisy = to_16_bits(copy.perturb(original).samples_T)
        assert snr_db(noisy, original.recording.samples_T) == pytest.approx(wanted, abs=0.1)


def test_noise_draws_ratios_from_the_whole_range():
    copy = noise(snr_db_low=2.0, snr_db_high=14.0)
    recording = make_recording("u")
    found = [
        snr_db(copy.perturb(make_original(replace(recording, id=f"u{n}"))).samples_T, clean)
        for n, clean in enumerate([recording.samples_T] * 200)
    ]
    assert min(found) >= 2.0 - 0.1
    assert max(found) <= 14.0 + 0.1
    assert np.histogram(found, bins=4, range=(2, 14))[0].min() > 30


def test_noise_is_babble_in_the_given_share():
    copy = noise(babble_share=0.3, snr_db_low=0, snr_db_high=0)
    recording = make_recording("u")
    count = 0
    for n in range(300):
        noisy = copy.perturb(make_original(replace(recording, id=f"u{n}"))).samples_T
        count += pitch_of(noisy - recording.samples_T) == pytest.approx(440, abs=2)
    assert count / 300 == pytest.approx(0.3, abs=0.08)


def test_echo_follows_the_sound_and_moves_nothing():
    click = np.zeros(16_000, np.float32)
    click[5_000] = 10_000.0
    recording = replace(make_recording("u"), samples_T=click)
    copy = noise(echo_share=1.0, snr_db_low=60, snr_db_high=60, echo_seconds_low=0.3)
    out = copy.perturb(make_original(recording)).samples_T
    assert int(np.argmax(np.abs(out))) == 5_000
    before, after = out[3_000:4_900], out[5_100:7_000]
    assert root_mean_square(after) > 20 * root_mean_square(before)


@pytest.mark.parametrize("speed", [0.9, 1.1, 0.77])
def test_speed_changes_length_and_pitch(speed):
    recording = replace(make_recording("u"), samples_T=tone(600.0, rate=16_000, seconds=1.1))
    copy = copy_of(kind="speed", speed=speed)
    out = copy.perturb(make_original(recording)).samples_T
    assert len(out) == pytest.approx(1.1 * 16_000 / speed, abs=1)
    assert pitch_of(out) == pytest.approx(600 * speed, abs=1.0)
    assert copy.time_factor == pytest.approx(speed)


@pytest.mark.parametrize("tempo", [0.9, 1.1])
def test_tempo_changes_length_and_keeps_pitch(tempo):
    recording = replace(make_recording("u"), samples_T=tone(600.0, rate=16_000, seconds=1.1))
    copy = copy_of(kind="tempo", tempo=tempo)
    out = copy.perturb(make_original(recording)).samples_T
    assert len(out) == pytest.approx(1.1 * 16_000 / tempo, abs=1)
    assert pitch_of(out) == pytest.approx(600, abs=1.5)
    assert copy.time_factor == tempo


def test_tract_draws_a_warp_of_the_filters_and_leaves_the_samples():
    copy = copy_of(kind="tract", warp_low=0.9, warp_high=1.2)
    recording = make_recording("u")
    warps = []
    for n in range(200):
        perturbed = copy.perturb(make_original(replace(recording, id=f"u{n}")))
        assert perturbed.samples_T is recording.samples_T
        warps.append(perturbed.filter_warp)
    assert np.histogram(warps, bins=4, range=(0.9, 1.2))[0].min() > 30
    assert 0.9 <= min(warps) <= max(warps) <= 1.2
    assert copy.time_factor == 1.0


@pytest.mark.parametrize("fields", ALL, ids=lambda fields: fields["kind"])
def test_copy_is_the_same_for_the_same_seed_name_and_id(fields):
    original = make_original(make_recording("u"))
    first, again = (copy_of(**fields).perturb(original) for _ in range(2))
    assert first.filter_warp == again.filter_warp
    np.testing.assert_array_equal(first.samples_T, again.samples_T)


@pytest.mark.parametrize("fields", [ALL[0], ALL[3]], ids=lambda fields: fields["kind"])
def test_copy_differs_for_another_seed_name_or_id(fields):
    recording = make_recording("u")

    def drawn(id: str, **changes: Any) -> tuple[bytes, float]:
        made = copy_of(**{**fields, **changes}).perturb(make_original(replace(recording, id=id)))
        return made.samples_T.tobytes(), made.filter_warp

    assert len({drawn("u"), drawn("v"), drawn("u", seed=4), drawn("u", name="other")}) == 4


WRONG = [
    ({"kind": "noise", "snr_db_low": 9, "snr_db_high": 3}, "snr_db_low 9.0 is above"),
    ({"kind": "noise", "echo_seconds_low": 1.5}, "echo_seconds_low 1.5 is above"),
    ({"kind": "tract", "warp_low": 1.2, "warp_high": 1.1}, "warp_low 1.2 is above"),
    ({"kind": "speed"}, "Field required"),
    ({"kind": "speed", "speed": 3}, "less than or equal to 2"),
    ({"kind": "tempo", "tempo": 1.1, "splits": ["train", "train"]}, "comes twice"),
    ({"kind": "tempo", "tempo": 1.1, "name": "a-b"}, "match pattern"),
    ({"kind": "shout"}, "'noise', 'speed', 'tempo', 'tract'"),
]


@pytest.mark.parametrize(("fields", "message"), WRONG)
def test_settings_that_make_no_copy_are_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        copy_of(**fields)
