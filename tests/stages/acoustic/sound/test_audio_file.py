"""Audio files: exact samples, other rates, and one clear line for each that cannot be used."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.acoustic.sound.audio_file import decode_audio, read_audio
from stages.acoustic.sound.part import Part
from stages.contract.errors import BadInput

RATE = 16_000


def noise(seconds: float, *, rate: int = RATE, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).integers(-20_000, 20_000, size=round(seconds * rate))
    return drawn.astype(np.int16)


def write(path: Path, samples: np.ndarray, *, rate: int = RATE) -> Path:
    soundfile.write(path, samples, rate)
    return path


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_samples_of_16_bits_are_read_exactly(tmp_path: Path, suffix: str) -> None:
    samples = noise(0.31)
    samples[:2] = (-32_768, 32_767)
    found = read_audio(write(tmp_path / f"a.{suffix}", samples))
    assert found.dtype == np.float32
    assert np.array_equal(found, samples.astype(np.float32))


@settings(max_examples=20, deadline=None)
@given(start=st.integers(0, 7000), length=st.integers(1600, 4000))
def test_span_is_that_part_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, start: int, length: int
) -> None:
    samples = noise(1.0)
    path = write(tmp_path_factory.mktemp("a") / "a.wav", samples)
    found = read_audio(path, Part(start=start / RATE, end=(start + length) / RATE))
    assert np.array_equal(found, samples[start : start + length].astype(np.float32))


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_other_rates_keep_a_tone(tmp_path: Path, rate: int) -> None:
    tone = 10_000 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    found = read_audio(write(tmp_path / "a.wav", tone.astype(np.int16), rate=rate))
    assert len(found) == RATE
    spectrum = np.abs(np.fft.rfft(found))
    assert int(spectrum.argmax()) == 440
    middle = slice(2_000, -2_000)
    wanted = 10_000 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    assert np.abs(found[middle] - wanted[middle]).max() < 20


def test_ogg_is_read(tmp_path: Path) -> None:
    assert len(read_audio(write(tmp_path / "a.ogg", noise(0.5)))) == RATE // 2


def cut(path: Path, share: float) -> Path:
    path.write_bytes(path.read_bytes()[: round(path.stat().st_size * share)])
    return path


BAD = {
    "missing": (lambda folder: folder / "none.wav", "is missing"),
    "directory": (lambda folder: folder, "is a directory"),
    "empty": (lambda folder: cut(write(folder / "a.wav", noise(1)), 0.0), "is empty: 0 bytes"),
    "no samples": (lambda folder: write(folder / "a.wav", noise(0)), "is too short: 0.000 s"),
    "text": (lambda folder: _text(folder / "a.wav"), "cannot be read as audio"),
    "cut wav": (lambda folder: cut(write(folder / "a.wav", noise(1)), 0.5), "is truncated"),
    "cut flac": (lambda folder: cut(write(folder / "a.flac", noise(1)), 0.5), "truncated"),
    "cut mp3": (lambda folder: cut(write(folder / "a.mp3", noise(1)), 0.5), "is truncated"),
    "cut ogg": (lambda folder: cut(write(folder / "a.ogg", noise(1)), 0.5), "a.ogg"),
    "silent": (lambda folder: write(folder / "a.wav", np.zeros(9_000, np.int16)), "is silent"),
    "short": (lambda folder: write(folder / "a.wav", noise(0.05)), "too short: 0.050 s"),
    "stereo": (
        lambda folder: write(folder / "a.wav", noise(1).reshape(-1, 2)),
        "has 2 channels, wanted 1",
    ),
}


def _text(path: Path) -> Path:
    path.write_text("no audio at all")
    return path


@pytest.mark.parametrize("name", BAD)
def test_file_that_cannot_be_used_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    make, words = BAD[name]
    path = make(tmp_path)
    with pytest.raises(BadInput) as caught:
        read_audio(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_samples_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    samples = noise(0.5).astype(np.float32) / 32_768
    samples[77] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    with pytest.raises(BadInput, match="no numbers"):
        read_audio(tmp_path / "a.wav")


def test_speech_beyond_the_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"ends after 1\.000 s, wanted speech until 1\.500 s"):
        read_audio(write(tmp_path / "a.wav", noise(1)), Part(start=0.5, end=1.5))


def test_end_may_be_rounded_up(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(1.2345))
    assert np.array_equal(read_audio(path, Part(end=1.24)), read_audio(path))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.999])
def test_cut_ogg_is_refused(tmp_path: Path, share: float) -> None:
    path = write(tmp_path / "a.ogg", noise(4))
    assert len(read_audio(path)) == 4 * RATE
    whole = path.read_bytes()
    path.write_bytes(whole[: round(share * len(whole))])
    with pytest.raises(BadInput, match=r"a\.ogg is truncated: it has no last page"):
        read_audio(path)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_bytes_in_memory_give_the_samples_of_the_file(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a.{suffix}", noise(1.5))
    part = Part(start=0.25, end=1.125)
    whole = read_audio(path)
    assert np.array_equal(decode_audio(path.read_bytes(), name="row 3"), whole)
    found = decode_audio(path.read_bytes(), part, name="row 3")
    assert np.array_equal(found, read_audio(path, part))
    if suffix != "mp3":  # whose decoder begins in another state after a seek
        assert np.array_equal(found, whole[4_000:18_000])
    with pytest.raises(BadInput, match="row 3 ends after"):
        decode_audio(path.read_bytes(), Part(end=9.0), name="row 3")


def test_channel_is_chosen_and_counted_from_0(tmp_path: Path) -> None:
    left, right = noise(0.5), noise(0.5, seed=1)
    path = write(tmp_path / "a.flac", np.stack([left, right], axis=1))
    assert np.array_equal(read_audio(path, Part(channel=0)), left.astype(np.float32))
    assert np.array_equal(read_audio(path, Part(channel=1)), right.astype(np.float32))
    with pytest.raises(BadInput, match="has 2 channels, wanted channel 2, counted from 0"):
        read_audio(path, Part(channel=2))


def test_another_duration_than_stated_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(1))
    assert len(read_audio(path, Part(duration=1.01))) == RATE
    for stated in (0.5, 2.0):
        with pytest.raises(BadInput, match=rf"is 1\.000 s long, its table states {stated}00 s"):
            read_audio(path, Part(duration=stated))


def test_cut_bytes_are_refused(tmp_path: Path) -> None:
    for suffix in ("wav", "flac", "ogg", "mp3"):
        encoded = write(tmp_path / f"a.{suffix}", noise(4)).read_bytes()
        with pytest.raises(BadInput, match=r"row 3 .*truncated"):
            decode_audio(encoded[: len(encoded) // 2], name="row 3")
    with pytest.raises(BadInput, match="row 3 is empty"):
        decode_audio(b"", name="row 3")
