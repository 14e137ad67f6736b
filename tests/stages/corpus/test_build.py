"""The corpus stage on a Kaldi directory: files, statistics, summary, identity."""

import json
import shutil

import kaldiio
import numpy as np
import pytest

from stages.acoustic.lang.lang import read_lang
from stages.contract.errors import BadInput
from stages.contract.progress import SilentProgress
from stages.contract.results import CorpusSummary
from stages.corpus.build import build_corpus
from stages.corpus.settings import CorpusSettings
from stages.corpus.source_fingerprint import source_fingerprint
from stages.corpus.spoken_source import SpokenSource
from stages.corpus.summary import summary_lines
from storage.corpus.corpus_file import NO_LABEL, CorpusFile
from storage.files.fingerprint import file_digest
from tests.support.makers.kaldi import FEATURE_DIM, NUM_PDFS, make_kaldi_directory, write_archive

PLAIN = {"cmvn": "none", "deltas": 0, "splice_left": 0, "splice_right": 0, "subsample": 1}


@pytest.fixture
def data(tmp_path):
    return make_kaldi_directory(tmp_path / "data")


def settings_for(data, **features):
    return CorpusSettings(source="kaldi", path=data, features={**PLAIN, **features})


def build(data, out, **features):
    out.mkdir(exist_ok=True)
    return build_corpus(settings_for(data, **features), directory=out, progress=SilentProgress())


def features_of(path):
    with CorpusFile(path) as corpus:
        return {row.id: corpus.features(i) for i, row in enumerate(corpus.utterances)}


def raw_features(data, split):
    return dict(kaldiio.load_ark(str(data / split / "feats.ark")))


def test_corpus_has_what_the_source_gives(data, tmp_path):
    summary = build(data, tmp_path / "out")
    lang = read_lang(tmp_path / "out" / "lang")
    assert lang == read_lang(data / "lang")
    labels = dict(kaldiio.load_ark(str(data / "train" / "ali.ark")))
    with CorpusFile(tmp_path / "out" / "train.h5") as corpus:
        assert corpus.about.num_classes == NUM_PDFS
        assert corpus.about.class_inventory == lang.class_inventory
        assert corpus.about.frame_shift_ms == 10
        assert [row.id for row in corpus.utterances] == list(labels)
        for index, row in enumerate(corpus.utterances):
            np.testing.assert_array_equal(corpus.labels(index), labels[row.id])
            np.testing.assert_array_equal(
                corpus.features(index), raw_features(data, "train")[row.id]
            )
    with CorpusFile(tmp_path / "out" / "test.h5") as corpus:
        assert not corpus.about.has_labels
        assert (corpus.labels(0) == NO_LABEL).all()
    stored = CorpusSummary.model_validate_json((tmp_path / "out" / "summary.json").read_bytes())
    assert stored == summary


def test_summary_counts_utterances_speakers_rows_and_words(data, tmp_path):
    summary = build(data, tmp_path / "out", subsample=3)
    train = summary.splits[0]
    frames = [len(matrix) for matrix in raw_features(data, "train").values()]
    words = [line.split()[1:] for line in (data / "train" / "text").read_text().splitlines()]
    assert (train.num_utterances, train.num_speakers) == (11, 3)
    assert train.num_frames == sum(-(-length // 3) for length in frames)
    assert train.num_words == sum(map(len, words))
    assert train.hours == pytest.approx(sum(frames) * 0.01 / 3600)
    assert summary.num_words == 5
    assert "train" in "\n".join(summary_lines(summary))


def test_difference_of_a_frame_is_a_setting_and_is_recorded(data, tmp_path):
    """RELIABILITY 19: the default refuses a difference, with both counts."""
    labels = {id: np.array(a) for id, a in kaldiio.load_ark(str(data / "train/ali.ark"))}
    labels["train-s1-u1"] = labels["train-s1-u1"][:-1]
    num_frames = len(labels["train-s1-u1"])
    write_archive(data / "train", "ali", labels)
    with pytest.raises(BadInput, match=f"{num_frames + 1} frames of features and {num_frames} lab"):
        build(data, tmp_path / "strict")
    settings = settings_for(data).model_dump() | {"kaldi": {"max_length_difference": 1}}
    (tmp_path / "out").mkdir()
    build_corpus(
        CorpusSettings.model_validate(settings),
        directory=tmp_path / "out",
        progress=SilentProgress(),
    )
    stored = CorpusSummary.model_validate_json((tmp_path / "out" / "summary.json").read_bytes())
    assert [split.trimmed for split in stored.splits] == [("train-s1-u1",), (), ()]
    with CorpusFile(tmp_path / "out" / "train.h5") as corpus:
        row = corpus.utterances[corpus.index_of("train-s1-u1")]
        assert row.num_frames == num_frames


@pytest.mark.parametrize("cmvn", ["speaker", "utterance", "global"])
def test_features_of_each_group_have_mean_0_and_variance_1(data, tmp_path, cmvn):
    build(data, tmp_path / "out", cmvn=cmvn)
    groups = {}
    for id, matrix in features_of(tmp_path / "out" / "train.h5").items():
        key = {"speaker": id.rsplit("-", 1)[0], "utterance": id, "global": ""}[cmvn]
        groups.setdefault(key, []).append(matrix)
    assert len(groups) == {"speaker": 3, "utterance": 11, "global": 1}[cmvn]
    for matrices in groups.values():
        everything = np.concatenate(matrices).astype(np.float64)
        np.testing.assert_allclose(everything.mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(everything.std(axis=0), 1, atol=1e-4)


def test_statistics_that_are_global_are_those_of_train(data, tmp_path):
    build(data, tmp_path / "out", cmvn="global")
    train = np.concatenate(list(raw_features(data, "train").values())).astype(np.float64)
    for id, matrix in features_of(tmp_path / "out" / "test.h5").items():
        raw = raw_features(data, "test")[id]
        np.testing.assert_allclose(
            matrix, (raw - train.mean(axis=0)) / train.std(axis=0), atol=1e-4
        )


def test_rows_are_wider_and_fewer(data, tmp_path):
    build(data, tmp_path / "out", deltas=1, splice_left=1, splice_right=2, subsample=2)
    with CorpusFile(tmp_path / "out" / "dev.h5") as corpus:
        assert corpus.about.feature_dim == FEATURE_DIM * 2 * 4
        assert corpus.about.subsampling == 2
        assert corpus.about.frame_shift_ms == 20
        assert corpus.about.feature_settings["splice_right"] == 2


def test_features_may_have_half_precision(data, tmp_path):
    build(data, tmp_path / "out", dtype="float16", cmvn="global")
    build(data, tmp_path / "wide", cmvn="global")
    wide = features_of(tmp_path / "wide" / "dev.h5")
    for id, matrix in features_of(tmp_path / "out" / "dev.h5").items():
        np.testing.assert_allclose(matrix, wide[id], rtol=2**-11, atol=2**-14)


def test_corpus_has_the_same_content_for_the_same_source(data, tmp_path):
    build(data, tmp_path / "a", cmvn="speaker")
    build(data, tmp_path / "b", cmvn="speaker")
    with CorpusFile(tmp_path / "a/train.h5") as a, CorpusFile(tmp_path / "b/train.h5") as b:
        assert a.fingerprint == b.fingerprint
    names = ("lang/lexicon.txt", "lang/units.txt", "lang/lm.arpa", "summary.json")
    for name in names:
        assert file_digest(tmp_path / "a" / name) == file_digest(tmp_path / "b" / name)


def test_utterance_without_frames_is_left_out(data, tmp_path):
    for name in ("feats", "ali"):
        arrays = dict(kaldiio.load_ark(str(data / "train" / f"{name}.ark")))
        arrays["train-s1-u1"] = arrays["train-s1-u1"][:0]
        write_archive(data / "train", name, arrays)
    summary = build(data, tmp_path / "out", cmvn="speaker")
    assert summary.splits[0].left_out == {"no frames": ("train-s1-u1",)}
    assert summary.splits[0].num_utterances == 10
    assert any("left out of train, no frames: 1" in line for line in summary_lines(summary))


def test_split_without_utterances_is_an_error(data, tmp_path):
    (data / "test" / "text").write_text("")
    with pytest.raises(BadInput, match=r"test split has no utterance .*: 5 with no transcript"):
        build(data, tmp_path / "out")


@pytest.mark.parametrize("cmvn", ["none", "speaker"])
def test_feature_dims_that_differ_are_an_error_and_leave_no_file(data, tmp_path, cmvn):
    arrays = dict(kaldiio.load_ark(str(data / "train" / "feats.ark")))
    arrays["train-s0-u3"] = arrays["train-s0-u3"][:, :-1]
    write_archive(data / "train", "feats", arrays)
    with pytest.raises(BadInput, match="'train-s0-u3' has 4 feature dims, the others 5"):
        build(data, tmp_path / "out", cmvn=cmvn)
    assert list((tmp_path / "out").iterdir()) == []


def test_settings_of_kaldi_need_a_path():
    with pytest.raises(ValueError, match=r"--set corpus\.path=DIR"):
        CorpusSettings(source="kaldi")


def test_fingerprint_is_that_of_the_content_not_of_the_path(data, tmp_path):
    before = source_fingerprint(settings_for(data))
    shutil.copytree(data, tmp_path / "copy")
    assert source_fingerprint(settings_for(tmp_path / "copy")) == before


CONTENT = [
    "lang/lexicon.txt",
    "lang/units.txt",
    "lang/lm.arpa",
    "num_pdfs",
    *(f"{split}/{name}" for split in ("train", "dev", "test") for name in ("text", "utt2spk")),
    *(f"{split}/feats.ark" for split in ("train", "dev", "test")),
    "train/ali.ark",
    "dev/ali.ark",
]


@pytest.mark.parametrize("name", CONTENT)
def test_fingerprint_changes_with_any_file(data, name):
    before = source_fingerprint(settings_for(data))
    content = bytearray((data / name).read_bytes())
    content[len(content) // 2] ^= 1
    (data / name).write_bytes(content)
    assert source_fingerprint(settings_for(data)) != before


def test_fingerprint_needs_all_files(data):
    (data / "train" / "utt2spk").unlink()
    with pytest.raises(BadInput, match="utt2spk is missing"):
        source_fingerprint(settings_for(data))


def test_fingerprint_of_spoken_speech_is_that_of_its_settings():
    one = CorpusSettings(spoken={"seed": 1})
    assert source_fingerprint(one) == source_fingerprint(CorpusSettings(spoken={"seed": 1}))
    assert source_fingerprint(one) != source_fingerprint(CorpusSettings(spoken={"seed": 2}))


def test_speech_is_synthesised_once_and_read_back_the_same(tmp_path):
    pytest.importorskip("espeakng_loader")
    settings = CorpusSettings(
        spoken={"hours": 0.005, "dev_minutes": 0.05, "test_minutes": 0.05, "min_count": 20}
    )
    source = SpokenSource(settings.spoken, scratch=tmp_path, progress=SilentProgress())
    spoken = list(source.utterances("dev"))
    again = list(source.utterances("dev"))
    assert json.dumps([raw.id for raw in spoken]) == json.dumps([raw.id for raw in again])
    for left, right in zip(spoken, again, strict=True):
        np.testing.assert_array_equal(left.features_TF, right.features_TF)
        np.testing.assert_array_equal(left.labels_T, right.labels_T)
        assert left.transcript == right.transcript
