"""An alignment that is killed goes on with its last finished pass, to the same labels."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kaldiio
import numpy as np
import pytest

from stages.contract.progress import Progress, SilentProgress, Task
from stages.corpus.align import aligner
from stages.corpus.align.passes import Passes
from stages.corpus.align.settings import AlignSettings
from stages.corpus.align.source import AlignedSource
from stages.corpus.build import build_corpus
from stages.corpus.kaldi_settings import KaldiSettings
from stages.corpus.kaldi_speech import KaldiSpeech
from stages.corpus.settings import CorpusSettings
from storage.files.leftovers import remove_leftovers
from tests.support.makers.kaldi import LEXICON, make_kaldi_directory, write_archive
from tests.support.makers.pipeline import tree_digests
from tests.support.paths import ROOT

SPLITS = ("train", "dev", "test")
FILES = [
    "gaussians-1",
    "gaussians-2",
    "network-1",
    "network-2",
    "last-network",
    *(f"labels-{split}" for split in SPLITS),
]
LAST_ALIGNMENT = 3  # its index; the classes are tied by it
pytestmark = pytest.mark.usefixtures("small_network")


class Titles(SilentProgress):
    """Keeps the titles of tasks and the notes; interrupts when there are `most` titles."""

    def __init__(self, most: int = 99) -> None:
        self._most = most
        self.titles: list[str] = []
        self.notes: list[str] = []

    @contextmanager
    def task(self, title: str, *, total: float, unit: str) -> Iterator[Task]:
        self.titles.append(title)
        if len(self.titles) == self._most:
            raise KeyboardInterrupt
        with super().task(title, total=total, unit=unit) as task:
            yield task

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = make_kaldi_directory(tmp_path_factory.mktemp("aligned") / "data", sentences=20)
    shutil.rmtree(data / "lang")
    lexicon = "".join(f"{word} {phones}\n" for word, phones in LEXICON.items())
    (data.parent / "lexicon.txt").write_text(lexicon)
    return data


@pytest.fixture(autouse=True)
def _few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aligner, "GAUSSIAN_PASSES", 2)


def settings_of(data: Path, **changes: Any) -> AlignSettings:
    settings = {"lexicon": str(data.parent / "lexicon.txt"), "states": 1, "min_count": 20}
    return AlignSettings.model_validate({**settings, "realignments": 3, **changes})


def align(data: Path, folder: Path, progress: Progress, **changes: Any) -> dict[str, Any]:
    """The labels of all utterances; passes are kept in `folder`/passes."""
    folder.mkdir(exist_ok=True)
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    speech = KaldiSpeech(KaldiSettings(), data, scratch=scratch, progress=SilentProgress())
    source = AlignedSource(
        speech, settings_of(data, **changes), passes=folder / "passes", progress=progress
    )
    return {raw.id: raw.labels_T for split in SPLITS for raw in source.utterances(split)}


def names_in(folder: Path) -> set[str]:
    """Names of the results that are kept."""
    return {path.name.split(".")[0] for path in (folder / "passes").iterdir()}


def same(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return found.keys() == wanted.keys() and all(
        np.array_equal(found[id], wanted[id]) for id in wanted
    )


def test_every_pass_is_kept_and_those_before_it_are_removed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    plain = Passes.write

    def counting(self: Passes, name: str, *more: Any, **named: Any) -> None:
        plain(self, name, *more, **named)
        written.append(name)

    monkeypatch.setattr(Passes, "write", counting)
    align(data, tmp_path / "a", SilentProgress())
    assert written == FILES
    assert names_in(tmp_path / "a") == set(FILES[LAST_ALIGNMENT:])


def test_alignment_that_is_interrupted_after_every_pass_makes_each_once(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Titles()
    wanted = align(data, tmp_path / "whole", whole)
    plain = Passes.write

    def interrupted(self: Passes, *positional: Any, **named: Any) -> None:
        plain(self, *positional, **named)
        raise KeyboardInterrupt

    made: list[str] = []
    for number, name in enumerate(FILES):
        progress = Titles()
        monkeypatch.setattr(Passes, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            align(data, tmp_path / "spoiled", progress)
        assert name in names_in(tmp_path / "spoiled")
        made += progress.titles
        last = FILES[min(number, LAST_ALIGNMENT + 1) - 1]
        notes = [f"the alignment goes on after {last}, which an earlier run made"] * (number > 0)
        assert progress.notes == notes
    assert made == whole.titles
    monkeypatch.setattr(Passes, "write", plain)
    progress = Titles()
    assert same(align(data, tmp_path / "spoiled", progress), wanted)
    assert not progress.titles


@pytest.mark.parametrize("name", FILES[LAST_ALIGNMENT:])
def test_damaged_result_is_made_again(
    data: Path, tmp_path: Path, finished: Path, name: str
) -> None:
    wanted = align(data, finished, SilentProgress())
    folder = tmp_path / "spoiled"
    shutil.copytree(finished, folder)
    for path in (folder / "passes").glob(f"{name}.*"):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    assert same(align(data, folder, SilentProgress()), wanted)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which an alignment was made."""
    return tmp_path_factory.mktemp("finished")


@pytest.mark.parametrize(
    "change", [{"seed": 2}, {"min_count": 21}, {"realignments": 4}, {"states": 2}]
)
def test_results_of_other_settings_are_not_used(
    data: Path, tmp_path: Path, finished: Path, change: dict[str, int]
) -> None:
    align(data, finished, SilentProgress())
    assert_nothing_is_used(data, finished, tmp_path / "other", **change)


@pytest.mark.parametrize("split", SPLITS)
def test_results_of_other_features_or_transcripts_are_not_used(
    data: Path, tmp_path: Path, finished: Path, split: str
) -> None:
    align(data, finished, SilentProgress())
    moved = tmp_path / "data"
    shutil.copytree(data, moved)
    shutil.copy(data.parent / "lexicon.txt", tmp_path)
    features = dict(kaldiio.load_ark(str(moved / split / "feats.ark")))
    first = next(iter(features))
    write_archive(moved / split, "feats", {**features, first: features[first] + np.float32(1e-3)})
    assert_nothing_is_used(moved, finished, tmp_path / "features")
    write_archive(moved / split, "feats", features)
    line, *lines = (moved / split / "text").read_text().splitlines()
    (moved / split / "text").write_text("\n".join([line.rpartition(" ")[0], *lines]))
    assert_nothing_is_used(moved, finished, tmp_path / "words")


def assert_nothing_is_used(data: Path, finished: Path, folder: Path, **changes: Any) -> None:
    shutil.copytree(finished, folder)
    progress = Titles(most=1)
    with pytest.raises(KeyboardInterrupt):
        align(data, folder, progress, **changes)
    assert progress.titles == ["align train by Gaussians, pass 1 of 2"]
    assert progress.notes == []
    assert not names_in(folder)


def test_corpus_whose_alignment_was_killed_is_the_same_and_keeps_no_passes(
    data: Path, tmp_path: Path
) -> None:
    settings = CorpusSettings(source="kaldi", path=data, align=settings_of(data))
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, settings.model_dump_json(), str(tmp_path / "killed")],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (tmp_path / "killed" / "alignment").is_dir()
    for name in ("whole", "killed"):
        remove_leftovers(tmp_path / name)
        build_corpus(settings, directory=tmp_path / name, progress=SilentProgress())
    assert tree_digests(tmp_path / "killed") == tree_digests(tmp_path / "whole")
    assert not (tmp_path / "whole" / "alignment").exists()


# The tests' small network and few passes, and a kill after the first network's alignment.
KILLED = """
import os, signal, sys
from pathlib import Path
from stages.acoustic.models.settings import ArchitectureSettings
from stages.contract.progress import SilentProgress
from stages.corpus.align import aligner, network
from stages.corpus.align.passes import Passes
from stages.corpus.build import build_corpus
from stages.corpus.settings import CorpusSettings
network.ARCHITECTURE = ArchitectureSettings(kind="tdnn", hidden=16, layers=2, dropout=0.0)
network.FEWEST_STEPS = 60
aligner.GAUSSIAN_PASSES = 2
plain = Passes.write
def write(self, name, *more, **named):
    plain(self, name, *more, **named)
    if name == "network-1":
        os.kill(os.getpid(), signal.SIGKILL)
Passes.write = write
settings = CorpusSettings.model_validate_json(sys.argv[1])
build_corpus(settings, directory=Path(sys.argv[2]), progress=SilentProgress())
"""
