"""The fingerprint of audio: every byte of small corpora, bounded work for large ones."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.corpus.audio import fingerprint
from stages.corpus.audio.fingerprint import sampled_over


def write(folder: Path, sizes: list[int]) -> list[Path]:
    files = []
    for number, size in enumerate(sizes):
        files.append(folder / f"{number}.wav")
        files[-1].write_bytes(np.random.default_rng(number).bytes(size))
    return files


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 30_000), min_size=1, max_size=9),
    at=st.integers(0, 10**6),
)
def test_any_changed_byte_of_a_small_corpus_is_seen(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], at: int
) -> None:
    files = write(tmp_path_factory.mktemp("a"), sizes)
    before = sampled_over(files)
    assert sampled_over(files) == before
    filled = [file for file in files if file.stat().st_size]
    if not filled:
        return
    file = filled[at % len(filled)]
    whole = bytearray(file.read_bytes())
    whole[at % len(whole)] ^= 1
    file.write_bytes(whole)
    assert sampled_over(files) != before


def test_sizes_and_order_count(tmp_path: Path) -> None:
    first, second = write(tmp_path, [5_000, 5_000])
    before = sampled_over([first, second])
    assert sampled_over([second, first]) != before
    first.write_bytes(first.read_bytes() + second.read_bytes()[:1])
    second.write_bytes(second.read_bytes()[1:])  # the same bytes one after the other
    assert sampled_over([first, second]) != before


def test_work_is_bounded_and_reaches_first_and_last_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "NUM_BLOCKS", 7)
    files = write(tmp_path, [50_000] * 40)
    opened: list[Path] = []
    real = fingerprint.open_regular
    monkeypatch.setattr(fingerprint, "open_regular", lambda path: opened.append(path) or real(path))
    sampled_over(files)
    assert 7 <= len(opened) <= 14  # a block may lie in two files
    assert opened[0] == files[0]
    assert files.index(opened[-1]) >= 34
    assert sampled_over([]) == sampled_over([])
