"""Decoding in processes: the same words as here, penalties, partial paths, no torch."""

import subprocess
import sys

import kaldi_decoder
import kaldifst
import numpy as np
import pytest

from stages.acoustic.lang.graph import build_graph, read_graph, read_words
from stages.acoustic.lang.lang import read_lang
from stages.evaluate.decode import decoding_pool
from stages.evaluate.decode_worker import DecodeJob, Heard, decode_matrix
from stages.evaluate.tune import Point
from tests.support.makers.kaldi import LEXICON, NUM_PDFS, make_lang, path_of

SENTENCES = ("AB", "BA C", "ABC BA AB", "", "C C C")


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


def write_jobs(directory, sentences=SENTENCES, **changes):
    rng = np.random.default_rng(1)
    parts = [loglike_of(path_of(words, rng)) for words in sentences]
    np.save(directory / "dev.npy", np.concatenate(parts))
    starts = np.cumsum([0, *map(len, parts)])
    return [
        DecodeJob(
            **{
                "path": directory / "dev.npy",
                "first_frame": int(start),
                "num_frames": len(part),
                "point": Point(0.5, 0.0),
                "beam": 20.0,
                "max_active": 1000,
                **changes,
            }
        )
        for start, part in zip(starts, parts, strict=False)
    ]


def words_of(heard, graph_directory):
    names = read_words(graph_directory)
    return " ".join(names[word] for word in heard.words)


def test_processes_hear_what_was_planted_in_the_order_of_the_jobs(graph_directory, tmp_path):
    jobs = write_jobs(tmp_path)
    with decoding_pool(graph_directory, processes=2) as pool:
        first = list(pool.decode(jobs))
        again = list(pool.decode(jobs))
    assert [words_of(heard, graph_directory) for heard in first] == list(SENTENCES)
    assert all(heard.reached_final for heard in first)
    assert first == again


def test_without_acoustic_weight_the_language_model_alone_is_heard(graph_directory, tmp_path):
    with decoding_pool(graph_directory, processes=1) as pool:
        faint = list(pool.decode(write_jobs(tmp_path, point=Point(1e-6, 0.0), beam=1e4)))
    texts = [words_of(heard, graph_directory) for heard in faint]
    assert texts == [""] * len(SENTENCES)  # silence costs less than any word


def test_a_decoding_process_imports_no_torch():
    program = "import sys, stages.evaluate.decode_worker as d; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_a_penalty_is_added_to_every_word(graph_directory):
    path = path_of("AB BA C", np.random.default_rng(2))
    loglike_TC = loglike_of(path)
    costs = {}
    for penalty in (0.0, 2.5):
        words, cost = cost_of_best(read_graph(graph_directory, word_cost=penalty), loglike_TC)
        assert len(words) == 3
        costs[penalty] = cost
    assert costs[2.5] - costs[0.0] == pytest.approx(3 * 2.5, abs=1e-3)


def cost_of_best(graph, loglike_TC):
    decodable = kaldi_decoder.DecodableCtc(loglike_TC)
    decoder = kaldi_decoder.FasterDecoder(graph, kaldi_decoder.FasterDecoderOptions(beam=100.0))
    decoder.decode(decodable)
    _, lattice = decoder.get_best_path()
    _, _, words, weight = kaldifst.get_linear_symbol_sequence(lattice)
    return words, weight.value1 + weight.value2


def test_a_higher_penalty_hears_fewer_words(graph_directory):
    rng = np.random.default_rng(3)
    loglike_TC = rng.normal(size=(60, NUM_PDFS)).astype(np.float32)
    lengths = []
    for penalty in (-20.0, 0.0, 20.0):
        graph = read_graph(graph_directory, word_cost=penalty)
        lengths.append(len(decode_matrix(graph, loglike_TC, beam=50, max_active=5000).words))
    assert lengths[0] > lengths[1] > lengths[2]


def test_where_no_sentence_ends_the_best_partial_path_counts():
    graph = kaldifst.compile("0 1 1 1\n1 2 2 0\n2 3 3 2\n3\n")  # pdfs 0 1 2, words 1 and 2
    heard = decode_matrix(graph, loglike_of(np.array([0, 1], np.int32)), beam=9, max_active=50)
    assert heard == Heard((1,), reached_final=False)


def test_an_utterance_without_frames_is_silence(graph_directory):
    graph = read_graph(graph_directory)
    empty = np.zeros((0, NUM_PDFS), np.float32)
    assert decode_matrix(graph, empty, beam=9, max_active=50) == Heard((), reached_final=True)


def test_every_word_of_the_lexicon_can_be_heard(graph_directory):
    graph = read_graph(graph_directory)
    rng = np.random.default_rng(4)
    for word in LEXICON:
        heard = decode_matrix(graph, loglike_of(path_of(word, rng)), beam=30, max_active=5000)
        spelled = {LEXICON[name] for name in words_of(heard, graph_directory).split()}
        assert spelled == {LEXICON[word]}
