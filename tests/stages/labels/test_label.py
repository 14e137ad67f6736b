"""Hard labels by the ensemble: the paths that they should be, resumed runs, refused labels."""

import os
import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.acoustic.lang.beam_search import SearchLimits, decode_matrix
from stages.acoustic.lang.graph import read_graph
from stages.acoustic.lang.priors import log_priors
from stages.acoustic.lang.transcript_graph import TranscriptGraphs
from stages.acoustic.lang.transcript_paths import best_classes
from stages.contract.copies import originals_in_time, read_copies
from stages.contract.ensemble_labels import CLASSES_FILE, UTTERANCES_FILE, EnsembleLabels
from stages.contract.errors import BadInput, BadPosterior, MissingPart
from stages.labels import label, likelihoods, path_worker, plan
from stages.labels.parts import FOLDER, NO_PATH, Labelled
from stages.labels.path_worker import PathFinder, PathJob
from stages.labels.write import assemble, describe
from storage.corpus.corpus_file import NO_LABEL, CorpusFile
from tests.support.makers.copies import make_copied_corpus
from tests.support.makers.labels import PATHS, SMALL_PARTS, label_house, make_house
from tests.support.makers.pipeline import tree_digests
from tests.support.makers.training import RecordingProgress, make_corpus
from tests.support.oracles.averages import mean_posteriors
from tests.support.paths import ROOT

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")
LIMITS = SearchLimits(beam=PATHS.beam, max_active=1000, min_active=200)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_house(tmp_path_factory.mktemp("house"))


@pytest.fixture(scope="module")
def labelled(house: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "PART_FRAMES", SMALL_PARTS)
        return label_house(house, tmp_path_factory.mktemp("labels"))


def train_of(house: Path) -> CorpusFile:
    return CorpusFile(house / "corpus" / "train.h5")


def scaled_likelihoods(house: Path, scratch: Path, corpus: CorpusFile) -> list[np.ndarray]:
    """As the evaluation computes them."""
    log_prior_C = log_priors(corpus.label_counts(), smoothing=1.0)
    means = mean_posteriors(house, corpus, scratch)
    return [(logp_TC - log_prior_C) * np.float32(PATHS.acoustic_scale) for logp_TC in means]


def test_labels_are_alignments_and_decoded_paths(
    house: Path, labelled: Path, tmp_path: Path
) -> None:
    with train_of(house) as corpus:
        labels = EnsembleLabels.open(labelled, corpus)
        scaled = scaled_likelihoods(house, tmp_path, corpus)
        graphs = TranscriptGraphs.read(house / "graph")
        whole = read_graph(house / "graph", word_cost=PATHS.insertion_penalty)
        num_labelled = corpus.labelled_frames()
        made = [each.made for each in labels.about.utterances]
        assert made == ["aligned" if count else "decoded" for count in num_labelled]
        assert (made.count("aligned"), made.count("decoded")) == (18, 9)
        for index, row in enumerate(corpus.utterances):
            found_T = labels.classes_T[row.first_frame : row.first_frame + row.num_frames]
            if num_labelled[index]:
                wanted_T = best_classes(graphs.of(row.transcript.split()), scaled[index])
            else:
                wanted_T = decode_matrix(whole, scaled[index], limits=LIMITS).classes
            np.testing.assert_array_equal(found_T, wanted_T)


def test_labels_of_untranscribed_speech_do_not_read_its_transcript(
    house: Path, labelled: Path, tmp_path: Path
) -> None:
    """The withheld transcripts of a labelled share stay in the corpus file."""
    with train_of(house) as corpus:
        rows = corpus.utterances
        untranscribed = [n for n, count in enumerate(corpus.labelled_frames()) if not count]
        wanted = plan.plan_utterances(rows, corpus.labelled_frames(), skipped=())
    assert {each.index for each in wanted if each.words is None} == set(untranscribed)
    texts = [each.words for each in wanted if each.words is not None]
    assert all(texts)
    assert len(texts) == 18


@pytest.mark.parametrize("num_parts", [1, 3])
def test_labels_of_a_killed_run_that_goes_on_have_the_same_bytes(
    house: Path, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_parts: int
) -> None:
    """RELIABILITY 1."""
    words = ["-m", "tests.support.makers.labels", str(house), str(tmp_path / "x"), str(num_parts)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    killed = subprocess.Popen([sys.executable, *words], env=env)
    assert killed.wait(timeout=120) == -signal.SIGKILL
    assert len(list((tmp_path / "x" / FOLDER).glob("*.npz"))) == num_parts
    monkeypatch.setattr(plan, "PART_FRAMES", SMALL_PARTS)
    progress = RecordingProgress()
    label_house(house, tmp_path / "x", progress)
    assert tree_digests(tmp_path / "x") == tree_digests(labelled)
    assert f"labels: {num_parts} of " in progress.notes[0]
    with train_of(house) as corpus:
        assert 0 < progress.total < corpus.num_frames
    assert progress.done == progress.total


def test_damaged_part_and_part_of_another_plan_are_made_again(
    house: Path, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "PART_FRAMES", SMALL_PARTS)
    stop_after(4, house, tmp_path, acoustic_scale=0.1)
    stop_after(3, house, tmp_path)
    parts = sorted((tmp_path / FOLDER).iterdir())
    assert len(parts) == 4  # the fourth is of the other scale
    content = bytearray(parts[1].read_bytes())
    content[len(content) // 2] ^= 8
    parts[1].write_bytes(content)
    parts[2].write_bytes(parts[2].read_bytes()[:-30])
    progress = RecordingProgress()
    label_house(house, tmp_path, progress)
    assert progress.notes[0].startswith("labels: 1 of ")
    assert tree_digests(tmp_path) == tree_digests(labelled)


def stop_after(num_parts: int, house: Path, directory: Path, **changes: float) -> None:
    """A run that Ctrl-C stops when so many parts are written."""
    write_part, written = label.write_part, []

    def write_and_stop(*part: Any, **named: Any) -> None:
        write_part(*part, **named)
        written.append(part)
        if len(written) == num_parts:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label, "write_part", write_and_stop)
        with pytest.raises(KeyboardInterrupt):
            label_house(house, directory, **changes)


def test_labels_are_refused_where_they_are_damaged_or_of_another_corpus(
    house: Path, labelled: Path, tmp_path: Path
) -> None:
    make_corpus(tmp_path / "train.h5")
    with CorpusFile(tmp_path / "train.h5") as other, pytest.raises(BadInput, match="of the corpus"):
        EnsembleLabels.open(labelled, other)
    with train_of(house) as corpus:
        copy = Path(shutil.copytree(labelled, tmp_path / "copy"))
        content = bytearray((copy / CLASSES_FILE).read_bytes())
        content[-9] ^= 1
        (copy / CLASSES_FILE).write_bytes(content)
        with pytest.raises(BadInput, match=r"classes of utterance 'more-.* differ"):
            EnsembleLabels.open(copy, corpus)
        (copy / CLASSES_FILE).write_bytes(content[:-4])
        with pytest.raises(BadInput, match=r"classes\.npy"):
            EnsembleLabels.open(copy, corpus)
        np.save(copy / CLASSES_FILE, np.zeros(corpus.num_frames, np.int64))
        with pytest.raises(BadInput, match="holds int64"):
            EnsembleLabels.open(copy, corpus)
        (copy / UTTERANCES_FILE).unlink()
        with pytest.raises(MissingPart, match="run 'essence labels' first"):
            EnsembleLabels.open(copy, corpus)


def test_utterance_whose_posteriors_are_refused_has_no_labels(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with train_of(house) as corpus:
        bad = corpus.utterances[3].id

    def gate(logp_TC: np.ndarray, piece: Any, *, num_classes: int, name: str) -> None:
        if piece.utterance.id == bad:
            raise BadPosterior(f"member {name}, utterance {bad!r}: NaN")

    monkeypatch.setattr(likelihoods, "check_piece", gate)
    with pytest.raises(BadPosterior, match=bad):
        label_house(house, tmp_path / "fails")
    progress = RecordingProgress()
    label_house(house, tmp_path / "x", progress, on_bad_posterior="skip-utterance")
    with train_of(house) as corpus:
        labels = EnsembleLabels.open(tmp_path / "x", corpus)
        row = corpus.utterances[3]
        here = labels.classes_T[row.first_frame : row.first_frame + row.num_frames]
        assert (here == NO_LABEL).all()
        assert labels.about.utterances[3].made == "none"
        assert (labels.classes_T != NO_LABEL).sum() == corpus.num_frames - row.num_frames
    assert (
        f"labels: 1 utterances have no path and are left out: {bad!r}: member"
        in (progress.notes[-1])
    )


def test_copies_in_time_take_the_labels_of_their_originals(tmp_path: Path) -> None:
    directory = make_copied_corpus(tmp_path, labelled=4)
    originals = originals_in_time(read_copies(directory, "train"))
    with CorpusFile(directory / "train.h5") as corpus:
        wanted = plan.plan_utterances(
            corpus.utterances, corpus.labelled_frames(), skipped=originals.keys()
        )
        assert [corpus.utterances[each.index].id for each in wanted] == [
            *(f"u{number}" for number in range(6)),
            *(f"fast-u{number}" for number in range(6)),
        ]
        found = {
            each.index: Labelled(
                index=each.index,
                made="decoded" if each.words is None else "aligned",
                why="",
                classes_T=np.full(each.num_frames, each.index, np.int32),
            )
            for each in wanted
        }
        lost = corpus.index_of("u2")
        found[lost] = Labelled(index=lost, made="none", why="no path", classes_T=NO_PATH)
        classes_T, described = assemble(found, originals, corpus)
        for row, made in zip(corpus.utterances, described, strict=True):
            here = classes_T[row.first_frame : row.first_frame + row.num_frames]
            source = corpus.index_of(originals.get(row.id, row.id))
            assert (here == (NO_LABEL if source == lost else source)).all(), row.id
            assert made.id == row.id
            wanted_made = "decoded" if row.id[-1] in "45" else "aligned"
            assert made.made == ("none" if source == lost else wanted_made)
        (aligned, *_, failed) = describe(classes_T, described, corpus)
    assert aligned == "labels: 10 utterances aligned, 6 decoded"
    assert failed == (
        "labels: 2 utterances have no path and are left out: 'u2': no path; 'noisy-u2': no path"
    )


def test_paths_that_do_not_exist_are_told_apart(
    house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finder = PathFinder(house / "graph", limits=LIMITS, penalty=0.0)
    few_TC, rng = np.zeros((2, 6), np.float32), np.random.default_rng(1)
    some_TC = rng.normal(size=(30, 6)).astype(np.float32)

    def why(scaled_TC: np.ndarray, *words: str) -> str:
        path = finder.find(PathJob(scaled_TC=scaled_TC, words=words))
        assert (path.classes_T is None) == bool(path.why)
        return path.why

    assert why(some_TC, "AB", "C") == ""
    assert why(some_TC, "AB", "NOWHERE") == "the graph lacks the word 'NOWHERE'"
    assert why(few_TC, "ABC", "ABC") == "no path has 2 frames"
    monkeypatch.setattr(path_worker, "MOST_CELLS", 30)
    assert "are more than 30: cut the utterance" in why(some_TC, "AB")
    strict = SearchLimits(beam=1e-3, max_active=50, min_active=1)
    narrow = PathFinder(house / "graph", limits=strict, penalty=0.0)
    found = [
        narrow.find(PathJob(scaled_TC=9 * rng.normal(size=(7, 6)).astype(np.float32), words=None))
        for _ in range(20)
    ]
    whys = {path.why for path in found}
    assert "the best path does not reach a final state" in whys


def test_decoded_path_pays_the_penalty_for_each_word(house: Path) -> None:
    scaled_TC = np.random.default_rng(3).normal(size=(60, 6)).astype(np.float32)
    found = []
    for penalty in (-20.0, 20.0):
        finder = PathFinder(house / "graph", limits=LIMITS, penalty=penalty)
        path = finder.find(PathJob(scaled_TC=scaled_TC, words=None))
        graph = read_graph(house / "graph", word_cost=penalty)
        wanted = decode_matrix(graph, scaled_TC, limits=LIMITS)
        np.testing.assert_array_equal(path.classes_T, wanted.classes)
        found.append(wanted)
    assert len(found[0].words) > len(found[1].words)
    assert found[0].classes != found[1].classes


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 400), max_size=30),
    num_classes=st.sampled_from([7, 10**5, 10**8]),
)
def test_parts_hold_every_utterance_once_in_order(lengths: list[int], num_classes: int) -> None:
    wanted = [plan.Wanted(index=n, num_frames=x, words=None) for n, x in enumerate(lengths)]
    parts = list(plan.cut_parts(wanted, num_classes=num_classes))
    assert [each for part in parts for each in part] == wanted
    most = max(1, min(plan.PART_FRAMES, plan.PART_VALUES // num_classes))
    assert all(len(part) == 1 or sum(e.num_frames for e in part) <= most for part in parts)
    for part, following in pairwise(parts):
        assert sum(each.num_frames for each in [*part, following[0]]) > most
