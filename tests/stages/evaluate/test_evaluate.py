"""One system, from a Kaldi directory and a trained model to its result."""

import json

import kaldifst
import kaldiio
import numpy as np
import pytest

from stages.acoustic.lang.beam_search import SearchLimits, decode_matrix
from stages.acoustic.lang.graph import build_graph, read_graph, read_words
from stages.acoustic.lang.lang import read_lang
from stages.acoustic.models.model_file import ABOUT_FILE
from stages.contract.errors import BadInput
from stages.contract.progress import SilentProgress
from stages.contract.results import Evaluation, System
from stages.corpus.build import build_corpus
from stages.corpus.settings import CorpusSettings
from stages.evaluate.decode import DecodingPool
from stages.evaluate.evaluate import evaluate_system
from stages.evaluate.likelihoods import run_members, write_likelihoods
from stages.evaluate.score import add_up, word_errors
from stages.evaluate.settings import EvaluateSettings
from stages.evaluate.split_decoder import SplitDecoder
from stages.members.trained import train_member
from stages.members.trained_settings import TrainedMemberSettings
from storage.corpus.corpus_file import CorpusFile
from tests.support.makers.kaldi import AN4, NUM_PDFS, make_kaldi_directory

FEATURES = {"cmvn": "global", "splice_left": 0, "splice_right": 0, "subsample": 1}
SETTINGS = EvaluateSettings(
    acoustic_scales=(0.2, 0.5, 0.8),
    insertion_penalties=(-1.0, 0.0),
    processes=1,
)


class Notes(SilentProgress):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A directory with data, corpus, graph and two members."""
    root = tmp_path_factory.mktemp("house")
    data = make_kaldi_directory(root / "data", sentences=40, noise=1.2)
    for name in ("corpus", "graph", "one", "two"):
        (root / name).mkdir()
    settings = CorpusSettings(source="kaldi", path=data, features=FEATURES)
    build_corpus(settings, directory=root / "corpus", progress=SilentProgress())
    build_graph(read_lang(root / "corpus" / "lang"), root / "graph")
    for seed, name in enumerate(("one", "two")):
        member = TrainedMemberSettings(
            name=name,
            architecture={"kind": "tdnn", "hidden": 17, "layers": 1},
            training={"epochs": 3, "batch_frames": 100, "learning_rate": 0.02, "seed": seed},
        )
        train_member(
            member,
            corpus_directory=root / "corpus",
            directory=root / name,
            device="cpu",
            progress=SilentProgress(),
        )
    return root


def make_system(house, *members, **changes):
    return System(
        **{
            "name": "a system",
            "kind": "member" if len(members) == 1 else "ensemble",
            "fingerprint": "f",
            "model_directories": tuple(house / member for member in members),
            "weights": (1 / len(members),) * len(members),
            **changes,
        }
    )


def evaluate(house, directory, system, settings=SETTINGS, corpus="corpus", progress=None):
    directory.mkdir(exist_ok=True)
    return evaluate_system(
        settings,
        system=system,
        corpus_directory=house / corpus,
        graph_directory=house / "graph",
        directory=directory,
        device="cpu",
        progress=progress or SilentProgress(),
    )


def test_trained_member_recognises_most_words(house, tmp_path):
    result = evaluate(house, tmp_path / "out", make_system(house, "one"))
    for split in (result.dev, result.test):
        assert split.words.reference_words > 40
        assert split.words.rate < 0.35
        assert sum(item.words.errors for item in split.utterances) == split.words.errors
    assert result.dev.frames.frame_error < 0.4
    assert 0 < result.dev.frames.cross_entropy < 1.5
    assert result.test.frames.frame_error is None
    assert result.acoustic_scale in SETTINGS.acoustic_scales


def test_evaluation_leaves_the_result_file_only(house, tmp_path):
    result = evaluate(house, tmp_path / "out", make_system(house, "one"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["result.json"]
    stored = Evaluation.model_validate_json((tmp_path / "out" / "result.json").read_bytes())
    assert stored == result


def test_ensemble_is_the_average_of_its_members(house, tmp_path):
    one = evaluate(house, tmp_path / "one", make_system(house, "one"))
    two = evaluate(house, tmp_path / "two", make_system(house, "two"))
    both = evaluate(house, tmp_path / "both", make_system(house, "one", "two"))
    alone = evaluate(house, tmp_path / "alone", make_system(house, "one", "one"))
    assert both.num_parameters == one.num_parameters + two.num_parameters
    # Cross-entropy is convex: the mean's is below the members' mean.
    assert (
        both.dev.frames.cross_entropy
        < (one.dev.frames.cross_entropy + two.dev.frames.cross_entropy) / 2
    )
    assert alone.dev.frames.cross_entropy == pytest.approx(one.dev.frames.cross_entropy, rel=1e-5)
    assert alone.dev.words == one.dev.words


def test_result_is_the_same_for_the_same_system(house, tmp_path):
    system = make_system(house, "two")
    first = evaluate(house, tmp_path / "a", system)
    other_processes = SETTINGS.model_copy(update={"processes": 2})
    assert evaluate(house, tmp_path / "b", system, settings=other_processes) == first


def test_decoder_reads_posteriors_divided_by_priors(house, tmp_path):
    prior_C = np.array([0.4, 0.2, 0.1, 0.1, 0.1, 0.1], np.float32)
    with CorpusFile(house / "corpus" / "dev.h5") as corpus:
        run_members(
            make_system(house, "two"),
            {"dev": corpus},
            tmp_path,
            batch_frames=100,
            device="cpu",
            progress=SilentProgress(),
        )
        path, tally, _ = write_likelihoods(
            make_system(house, "two"),
            "dev",
            corpus,
            tmp_path,
            log_prior_C=np.log(prior_C),
            phones=None,
        )
        assert tally.num_frames == corpus.num_frames
    num_frames = tally.num_frames
    posterior_TC = np.exp(np.load(path)) * prior_C
    assert posterior_TC.shape == (num_frames, NUM_PDFS)
    np.testing.assert_allclose(posterior_TC.sum(axis=1), 1, rtol=1e-5)


def test_best_decode_of_dev_is_not_repeated(house, tmp_path, monkeypatch):
    decoded = []
    decode = SplitDecoder.decode

    def counting(self, point):
        decoded.append((self.corpus.about.split, point))
        return decode(self, point)

    monkeypatch.setattr(SplitDecoder, "decode", counting)
    evaluate(house, tmp_path / "out", make_system(house, "one"))
    assert len(decoded) == len(set(decoded))
    assert [split for split, _ in decoded].count("test") == 1


def test_scale_and_penalty_do_not_depend_on_test(house, tmp_path, monkeypatch):
    asked = []
    num_errors = SplitDecoder.num_errors

    def listening(self, point):
        asked.append(self.corpus.about.split)
        return num_errors(self, point)

    monkeypatch.setattr(SplitDecoder, "num_errors", listening)
    result = evaluate(house, tmp_path / "out", make_system(house, "one"))
    assert set(asked) == {"dev"}
    least = {}
    for scale in SETTINGS.acoustic_scales:
        for penalty in SETTINGS.insertion_penalties:
            only = SETTINGS.model_copy(
                update={"acoustic_scales": (scale,), "insertion_penalties": (penalty,)}
            )
            point = evaluate(house, tmp_path / "out", make_system(house, "one"), settings=only)
            least[scale, penalty] = point.dev.words.errors
    assert least[result.acoustic_scale, result.insertion_penalty] == min(least.values())


def test_search_limits_of_the_settings_reach_every_job(house, tmp_path, monkeypatch):
    jobs = []
    decode = DecodingPool.decode

    def recording(self, given):
        jobs.extend(given)
        return decode(self, given)

    monkeypatch.setattr(DecodingPool, "decode", recording)
    limits = {"beam": 7.5, "max_active": 333, "min_active": 77}
    evaluate(house, tmp_path / "out", make_system(house, "one"), SETTINGS.model_copy(update=limits))
    assert {job.limits for job in jobs} == {SearchLimits(**limits)}


def test_partial_paths_are_counted_in_a_note(house, tmp_path):
    (tmp_path / "graph").mkdir()
    loops = "".join(f"0 0 {label} 0\n" for label in range(1, NUM_PDFS + 1))
    chain = "".join(f"{state} {state + 1} 1 0\n" for state in range(1000))  # too long to end
    graph = kaldifst.compile(f"{loops}{chain}1000\n")
    assert kaldifst.StdConstFst(graph).write(str(tmp_path / "graph" / "HLG.fst"))
    (tmp_path / "graph" / "words.txt").write_text("<eps> 0\n")
    notes = Notes()
    evaluate_system(
        SETTINGS,
        system=make_system(house, "one"),
        corpus_directory=house / "corpus",
        graph_directory=tmp_path / "graph",
        directory=tmp_path,
        device="cpu",
        progress=notes,
    )
    assert notes.notes[0].startswith("a system: 20 of 20 utterances of dev end within a word")
    assert len([note for note in notes.notes if "end within a word" in note]) == 2
    assert "est of evaluate.insertion_penalties" in notes.notes[-1], "two points: each an edge"


def test_model_of_other_classes_is_refused(house, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for path in (house / "one").iterdir():
        if path.is_file():
            (other / path.name).write_bytes(path.read_bytes())
    about = json.loads((other / ABOUT_FILE).read_text())
    about["class_inventory"] = "of another corpus"
    (other / ABOUT_FILE).write_text(json.dumps(about))
    with pytest.raises(BadInput, match="other: the member's class_inventory is of another c"):
        evaluate(house, tmp_path / "out", make_system(tmp_path, "other"))
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.an4
@pytest.mark.skipif(AN4 is None, reason="the AN4 data directory is not here")
def test_an4_alignments_decode_to_its_transcripts(tmp_path):
    """Posteriors concentrated on the alignment decode to nearly every word of dev."""
    lang = read_lang(AN4 / "lang")
    build_graph(lang, tmp_path)
    graph, names = read_graph(tmp_path), read_words(tmp_path)
    texts = dict(line.split(" ", 1) for line in (AN4 / "dev" / "text").read_text().splitlines())
    errors = []
    for id, labels_T in list(kaldiio.load_ark(str(AN4 / "dev" / "ali.ark")))[:40]:
        loglike_TC = np.zeros((len(labels_T), lang.num_classes), np.float32)
        loglike_TC[np.arange(len(labels_T)), labels_T] = 20
        limits = SearchLimits(beam=40, max_active=3000, min_active=200)
        path = decode_matrix(graph, loglike_TC, limits=limits)
        errors.append(word_errors(texts[id], " ".join(names[word] for word in path.words)))
    assert add_up(errors).rate < 0.03
