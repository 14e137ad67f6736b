"""Audio that a corpus names: what was made into the corpus is read, and nothing else."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from stages.acoustic.sound import checked_audio, file_digests
from stages.acoustic.sound.checked_audio import CheckedAudio
from stages.contract.errors import BadInput
from storage.corpus.audio_span import AudioSpan
from tests.support.makers.sound import speechlike
from tests.support.makers.waveform import RATE, samples_of, span_of, write_sounds

LENGTHS = (31, 17, 44)


@pytest.fixture
def spans(tmp_path: Path) -> list[AudioSpan]:
    return write_sounds(tmp_path / "wav", "a", LENGTHS, seed=3, rate=RATE)


def test_samples_are_those_of_the_file_bit_for_bit(spans: list[AudioSpan]) -> None:
    audio = CheckedAudio(RATE)
    for span in [*spans, *spans[::-1], spans[0]]:
        np.testing.assert_array_equal(audio.read(span), samples_of(span).astype(np.float32))


@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000])
def test_samples_have_the_rate_that_is_asked(spans: list[AudioSpan], rate: int) -> None:
    for span in spans:
        wave = samples_of(span)
        found = CheckedAudio(rate).read(span)
        assert abs(len(found) - len(wave) * rate / RATE) <= 1
        np.testing.assert_allclose(found, soxr.resample(wave, RATE, rate, quality="VHQ"), atol=1e-5)


def rewritten(path: Path) -> None:
    soundfile.write(path, speechlike(77) / 20_000, RATE)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def touched_bit(path: Path) -> None:
    """Same size, same time, one bit."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-99] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def renamed_over(path: Path) -> None:
    """As copying programs do; the time is kept too."""
    before = path.stat()
    other = path.with_name("other")
    soundfile.write(other, speechlike(78) / 20_000, RATE, format="WAV")
    other.replace(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: list[Callable[[Path], None]] = [rewritten, truncated, touched_bit, renamed_over]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_changed_file_is_named_at_the_first_read(
    spans: list[AudioSpan], change: Callable[[Path], None]
) -> None:
    """RELIABILITY: a student must not be trained on labels of other speech."""
    span = spans[2]
    change(Path(span.path))
    with pytest.raises(BadInput, match="is not the audio that the corpus was made of") as caught:
        CheckedAudio(RATE).read(span)
    assert span.path in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [rewritten, truncated, renamed_over])
def test_file_that_changes_later_is_named_when_it_is_read_again(
    spans: list[AudioSpan], change: Callable[[Path], None]
) -> None:
    audio = CheckedAudio(RATE)
    audio.read(spans[2])
    audio.read(spans[0])
    change(Path(spans[2].path))
    with pytest.raises(BadInput, match="is not the audio that the corpus was made of"):
        audio.read(spans[2])


def test_file_that_changes_while_it_is_read_is_named(
    spans: list[AudioSpan], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = checked_audio.read_audio

    def slow(path: Path, *more: object, **settings: object) -> object:
        rewritten(path)
        return plain(path, *more, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(checked_audio, "read_audio", slow)
    with pytest.raises(BadInput, match="changed while it was read"):
        CheckedAudio(RATE).read(spans[2])


def test_missing_file_is_named_with_what_to_do(spans: list[AudioSpan]) -> None:
    Path(spans[2].path).unlink()
    with pytest.raises(BadInput, match="is missing, and the corpus was made of it: put it back;"):
        CheckedAudio(RATE).read(spans[2])
    with pytest.raises(BadInput, match="cannot be read"):
        CheckedAudio(RATE).read(replace(spans[2], path=f"{spans[0].path}/below"))


def test_copied_file_is_the_same_whatever_its_time(spans: list[AudioSpan], tmp_path: Path) -> None:
    moved = Path(spans[2].path).rename(tmp_path / "moved.wav")
    os.utime(moved, ns=(5, 5))
    span = replace(spans[2], path=str(moved))
    np.testing.assert_array_equal(
        CheckedAudio(RATE).read(span), samples_of(span).astype(np.float32)
    )


def test_each_file_is_digested_once(
    spans: list[AudioSpan], monkeypatch: pytest.MonkeyPatch
) -> None:
    digested: list[str] = []
    plain = file_digests.file_digest

    def counting(path: Path) -> str:
        digested.append(path.name)
        return plain(path)

    monkeypatch.setattr(file_digests, "file_digest", counting)
    audio = CheckedAudio(RATE)
    for span in spans * 3:
        audio.read(span)
    assert sorted(digested) == sorted({Path(span.path).name for span in spans})


def test_span_past_the_end_is_named(spans: list[AudioSpan]) -> None:
    whole = span_of(Path(spans[2].path))
    with pytest.raises(BadInput, match="wanted speech until 9"):
        CheckedAudio(RATE).read(replace(whole, start=0.1, end=9.0))


def test_audio_in_a_dataset_is_read_and_compared(tmp_path: Path, spans: list[AudioSpan]) -> None:
    """Through Hugging Face's own library, which writes the folder."""
    datasets = pytest.importorskip("datasets")

    def save(*paths: str) -> None:
        table = datasets.Dataset.from_dict({"audio": list(paths)})
        folder = tmp_path / "hub"
        table.cast_column("audio", datasets.Audio(decode=False)).save_to_disk(str(folder))

    paths = [spans[2].path, spans[0].path]
    save(*paths)
    of_row = replace(spans[2], path=str(tmp_path / "hub"), row=0)
    np.testing.assert_array_equal(
        CheckedAudio(RATE).read(of_row), samples_of(spans[2]).astype(np.float32)
    )
    shutil.rmtree(tmp_path / "hub")
    save(*paths[::-1])
    with pytest.raises(BadInput, match="hub, row 0 is not the audio that the corpus was made of"):
        CheckedAudio(RATE).read(of_row)
    with pytest.raises(BadInput, match="has 2 rows, the corpus was made of row 2: put that"):
        CheckedAudio(RATE).read(replace(of_row, row=2))
    shutil.rmtree(tmp_path / "hub")
    with pytest.raises(BadInput, match="hub is missing, and the corpus was made of it"):
        CheckedAudio(RATE).read(of_row)
