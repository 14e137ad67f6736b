"""Commands that read a damaged corpus file: they name file and utterance, and publish nothing."""

from pathlib import Path

import h5py
import pytest

from tests.support.makers.house import House

DAMAGE = {"zeros": b"\0", "ones": b"\xff"}  # both pass HDF5's checksum


def overwrite(path: Path, name: str, byte: bytes) -> None:
    with h5py.File(path, "r") as file:
        info = file[name].id.get_chunk_info(0)
    with path.open("r+b") as file:
        file.seek(info.byte_offset)
        file.write(byte * info.size)


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(
    ("split", "data", "words"),
    [
        ("train", "features", ("student", "--set", "student.k=2")),
        ("train", "labels", ("student", "--set", "student.k=2")),
        ("dev", "features", ("student", "--set", "student.k=2")),
        ("train", "features", ("ensemble", "--set", "ensemble.members.0.training.seed=9")),
        ("train", "features", ("teacher", "--set", "teacher.kept=3")),
        ("dev", "features", ("teacher", "--set", "teacher.kept=3")),
        pytest.param(
            *("train", "features", ("teacher", "--set", "teacher.kept=3", "--workers", "2")),
            marks=pytest.mark.slow,
        ),
        ("train", "labels", ("evaluate", "--set", "evaluate.beam=7")),  # the classes' priors
        ("dev", "features", ("evaluate", "--set", "evaluate.beam=7")),
        ("test", "features", ("evaluate", "--set", "evaluate.beam=7")),
    ],
)
def test_damaged_corpus_file_is_named_by_each_command_that_reads_it(
    sound: House, split: str, data: str, words: tuple[str, ...], damage: str, tmp_path: Path
) -> None:
    """RELIABILITY 31."""
    house = sound.copy(tmp_path / "house")
    listed = house.run("status").stdout
    (corpus,) = (place for place in house.all("corpus") if str(place) in listed)
    before = {path.name for path in house.work.iterdir()}
    overwrite(corpus / f"{split}.h5", data, DAMAGE[damage])
    done = house.run(*words)
    assert done.exit_code == 1, done.output
    assert f"{corpus / f'{split}.h5'}, utterance '{split}-" in done.stderr
    assert "are not those that were written" in done.stderr
    made = {path.name for path in house.work.iterdir()} - before
    assert all(name.endswith(".partial") for name in made), made
