"""Decoding: path scores of an exhaustive search, order of the jobs, penalties, partial paths."""

import math
import subprocess
import sys

import kaldifst
import numpy as np
import pytest

from stages.acoustic.lang.beam_search import BestPath, SearchLimits, decode_matrix
from stages.acoustic.lang.graph import build_graph, read_graph, read_words
from stages.acoustic.lang.lang import read_lang
from stages.acoustic.lang.openfst_file import read_fst
from stages.evaluate.decode import decoding_pool
from stages.evaluate.decode_worker import DecodeJob
from stages.evaluate.settings import EvaluateSettings
from stages.evaluate.tune import Point
from tests.support.makers.hclg import write_fst
from tests.support.makers.kaldi import LEXICON, NUM_PDFS, make_lang, path_of
from tests.support.oracles.viterbi import best_cost

SENTENCES = ("AB", "BA C", "ABC BA AB", "", "C C C")
WIDE = SearchLimits(beam=50.0, max_active=5000, min_active=200)


@pytest.fixture(scope="module")
def graph_directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("graph")
    build_graph(read_lang(make_lang(tmp_path_factory.mktemp("lang"))), directory)
    return directory


def loglike_of(path_T, sure=9.0):
    rng = np.random.default_rng(len(path_T))
    loglike_TC = rng.normal(size=(len(path_T), NUM_PDFS)).astype(np.float32)
    loglike_TC[np.arange(len(path_T)), path_T] += sure
    return loglike_TC


def write_jobs(directory, *, point=Point(0.5, 0.0), limits=WIDE):
    rng = np.random.default_rng(1)
    parts = [loglike_of(path_of(words, rng)) for words in SENTENCES]
    np.save(directory / "dev.npy", np.concatenate(parts))
    starts = np.cumsum([0, *map(len, parts)])
    return [
        DecodeJob(
            path=directory / "dev.npy",
            first_frame=int(start),
            num_frames=len(part),
            point=point,
            limits=limits,
        )
        for start, part in zip(starts, parts, strict=False)
    ]


def words_of(path, graph_directory):
    names = read_words(graph_directory)
    return " ".join(names[word] for word in path.words)


def test_pool_finds_the_planted_words_in_the_order_of_the_jobs(graph_directory, tmp_path):
    jobs = write_jobs(tmp_path)
    with decoding_pool(graph_directory, processes=2) as pool:
        first = list(pool.decode(jobs))
        again = list(pool.decode(jobs))
    assert [words_of(path, graph_directory) for path in first] == list(SENTENCES)
    assert all(path.reached_final for path in first)
    assert first == again


def test_decoding_without_acoustic_weight_follows_the_language_model(graph_directory, tmp_path):
    jobs = write_jobs(
        tmp_path,
        point=Point(1e-6, 0.0),
        limits=SearchLimits(beam=1e4, max_active=1000, min_active=200),
    )
    with decoding_pool(graph_directory, processes=1) as pool:
        texts = [words_of(path, graph_directory) for path in pool.decode(jobs)]
    assert texts == [""] * len(SENTENCES)  # silence costs less than any word


def test_decoding_process_imports_no_torch():
    program = "import sys, stages.evaluate.decode_worker as d; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_penalty_is_added_to_every_word(graph_directory):
    loglike_TC = loglike_of(path_of("AB BA C", np.random.default_rng(2)))
    costs = {}
    for penalty in (0.0, 2.5):
        graph = read_graph(graph_directory, word_cost=penalty)
        path = decode_matrix(graph, loglike_TC, limits=WIDE)
        assert len(path.words) == 3
        costs[penalty] = path.cost
    assert costs[2.5] - costs[0.0] == pytest.approx(3 * 2.5, abs=1e-3)


def test_higher_penalty_gives_fewer_words(graph_directory):
    rng = np.random.default_rng(3)
    loglike_TC = rng.normal(size=(60, NUM_PDFS)).astype(np.float32)
    lengths = []
    for penalty in (-20.0, 0.0, 20.0):
        graph = read_graph(graph_directory, word_cost=penalty)
        lengths.append(len(decode_matrix(graph, loglike_TC, limits=WIDE).words))
    assert lengths[0] > lengths[1] > lengths[2]


def test_partial_path_counts_if_no_final_state_is_reached():
    graph = kaldifst.compile("0 1 1 1\n1 2 2 0\n2 3 3 2\n3\n")  # pdfs 0 1 2, words 1 and 2
    loglike_TC = loglike_of(np.array([0, 1], np.int32))
    path = decode_matrix(graph, loglike_TC, limits=WIDE)
    assert (path.words, path.reached_final) == ((1,), False)
    assert path.cost == pytest.approx(-loglike_TC[0, 0] - loglike_TC[1, 1], abs=1e-5)


def test_cost_without_a_path_is_infinite():
    graph = kaldifst.compile("0 1 1 1\n1\n")  # one frame, no more
    path = decode_matrix(graph, loglike_of(np.zeros(3, np.int32)), limits=WIDE)
    assert path == BestPath(words=(), cost=math.inf, reached_final=False)


def test_utterance_without_frames_has_no_words(graph_directory):
    graph = read_graph(graph_directory)
    empty = np.zeros((0, NUM_PDFS), np.float32)
    path = decode_matrix(graph, empty, limits=WIDE)
    assert path == BestPath(words=(), cost=0.0, reached_final=True)


def test_decoder_finds_every_word_of_the_lexicon(graph_directory):
    graph = read_graph(graph_directory)
    rng = np.random.default_rng(4)
    for word in LEXICON:
        path = decode_matrix(graph, loglike_of(path_of(word, rng)), limits=WIDE)
        spelled = {LEXICON[name] for name in words_of(path, graph_directory).split()}
        assert spelled == {LEXICON[word]}


# path scores: a narrow beam that keeps min_active states finds what an exhaustive search finds

NUM_STATES, NUM_ARCS, NUM_FRAMES = 150, 700, 40
USUAL = EvaluateSettings()


def random_graph(rng):
    """A graph with fewer states than the default min_active; every tenth arc is an epsilon."""
    fst = kaldifst.StdVectorFst()
    for _ in range(NUM_STATES):
        fst.add_state()
    fst.start = 0
    for state in rng.choice(NUM_STATES, size=NUM_STATES // 3, replace=False).tolist():
        fst.set_final(state, float(rng.exponential()))
    for number in range(NUM_ARCS):
        source, target = sorted(rng.integers(0, NUM_STATES, size=2).tolist())
        label = int(rng.integers(1, NUM_PDFS + 1))
        if number % 10 == 0 and source != target:
            label = 0  # from a lower to a higher state, so that epsilons make no loop
        elif number % 2:
            source, target = target, source
        word = int(rng.integers(0, 9))
        fst.add_arc(source, kaldifst.StdArc(label, word, float(rng.exponential()), target))
    return fst


def costs_of(tmp_path, *, seed, min_active, beam=1.5):
    """Return the costs found by the decoder and by an exhaustive search."""
    rng = np.random.default_rng(seed)
    write_fst(tmp_path / "HLG.fst", random_graph(rng), type="const")
    loglike_TC = (2 * rng.normal(size=(NUM_FRAMES, NUM_PDFS))).astype(np.float32)
    limits = SearchLimits(beam=beam, max_active=USUAL.max_active, min_active=min_active)
    path = decode_matrix(read_graph(tmp_path), loglike_TC, limits=limits)
    wanted = best_cost(read_fst(tmp_path / "HLG.fst"), loglike_TC)
    assert np.isfinite(wanted)
    return path.cost, wanted


@pytest.mark.parametrize("seed", range(10))
def test_path_score_equals_that_of_an_exhaustive_search(tmp_path, seed):
    found, wanted = costs_of(tmp_path, seed=seed, min_active=USUAL.min_active)
    assert found == pytest.approx(wanted, abs=1e-3)


def test_path_score_is_worse_with_a_low_min_active(tmp_path):
    """The graphs above need the setting: 20 active states, the library's default, lose paths."""
    costs = [costs_of(tmp_path, seed=seed, min_active=20) for seed in range(10)]
    assert sum(found > wanted + 0.01 for found, wanted in costs) >= 3
    assert all(found > wanted - 1e-3 for found, wanted in costs)


def test_path_score_with_a_wide_beam_needs_no_min_active(tmp_path):
    found, wanted = costs_of(tmp_path, seed=0, min_active=0, beam=1e4)
    assert found == pytest.approx(wanted, abs=1e-3)
