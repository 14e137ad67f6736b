"""Kaldi directories: valid ones are read, errors are named, nothing is run or unpickled."""

import gzip
import os
import pickle
import re
import shutil
import struct
from contextlib import suppress
from itertools import chain

import kaldiio
import numpy as np
import pytest

from stages.acoustic.kaldi import objects
from stages.acoustic.kaldi.location import Location
from stages.acoustic.kaldi.objects import read_int_vector, read_matrix
from stages.acoustic.kaldi.tables import read_scp
from stages.contract.errors import BadInput
from stages.contract.progress import SilentProgress
from stages.corpus.kaldi_alignments import open_alignments
from stages.corpus.kaldi_fingerprint import kaldi_fingerprint
from stages.corpus.kaldi_settings import KaldiSettings
from stages.corpus.kaldi_source import KaldiSource
from tests.support.makers.hclg import as_kaldi_experiment, swap_lang
from tests.support.makers.kaldi import make_kaldi_directory, write_archive


@pytest.fixture
def data(tmp_path):
    return make_kaldi_directory(tmp_path / "data")


def read(data, split="train", **settings):
    source = KaldiSource(KaldiSettings(**settings), data, progress=SilentProgress())
    return source, list(source.utterances(split))


def labels_of(data, split="train"):
    return dict(kaldiio.load_ark(str(data / split / "ali.ark")))


def test_source_reads_what_kaldi_wrote(data):
    source, utterances = read(data)
    features = dict(kaldiio.load_ark(str(data / "train" / "feats.ark")))
    labels = labels_of(data)
    assert [utterance.id for utterance in utterances] == list(features)
    for utterance in utterances:
        np.testing.assert_array_equal(utterance.features_TF, features[utterance.id])
        np.testing.assert_array_equal(utterance.labels_T, labels[utterance.id])
        assert utterance.id.startswith(utterance.speaker)
    assert source.has_labels("dev")
    assert not source.has_labels("test")
    assert read(data, "test")[1][0].labels_T is None


def as_binary_gz(folder, labels):
    parts = list(labels)
    for job, ids in enumerate((parts[:4], parts[4:]), start=1):
        kaldiio.save_ark(str(folder / "part"), {id: labels[id] for id in ids})
        (folder / f"ali.{job}.gz").write_bytes(gzip.compress((folder / "part").read_bytes()))


def as_text_gz(folder, labels):
    lines = "".join(f"{id} {' '.join(map(str, labels[id]))} \n" for id in labels)
    (folder / "ali.1.gz").write_bytes(gzip.compress(lines.encode()))


def as_text(folder, labels):
    lines = "".join(f"{id} {' '.join(map(str, labels[id]))}\n" for id in labels)
    (folder / "ali.ark").write_text(lines)


def as_binary(folder, labels):
    kaldiio.save_ark(str(folder / "ali.ark"), labels)


@pytest.mark.parametrize("write", [as_binary_gz, as_text_gz, as_text, as_binary])
def test_alignments_may_be_archives_without_scp(data, write):
    labels = labels_of(data)
    for name in ("ali.ark", "ali.scp"):
        (data / "train" / name).unlink()
    write(data / "train", dict(reversed(labels.items())))
    for utterance in read(data)[1]:
        np.testing.assert_array_equal(utterance.labels_T, labels[utterance.id])


@pytest.mark.parametrize(("method", "tolerance"), [(2, 0.2), (3, 1e-3), (5, 0.2)])
def test_matrices_may_be_compressed(tmp_path, method, tolerance):
    matrix = np.random.default_rng(1).normal(size=(13, 7)).astype(np.float32)
    ark, scp = str(tmp_path / "c.ark"), str(tmp_path / "c.scp")
    kaldiio.save_ark(ark, {"u": matrix}, scp=scp, compression_method=method)
    found = read_matrix(read_scp(tmp_path / "c.scp")["u"])
    np.testing.assert_allclose(found, np.clip(matrix, -9, 9), atol=tolerance)


def test_matrices_may_be_text_or_double(tmp_path):
    matrix = np.random.default_rng(1).normal(size=(3, 7))
    kaldiio.save_ark(str(tmp_path / "d.ark"), {"u": matrix})
    np.testing.assert_allclose(read_matrix(Location(tmp_path / "d.ark", 2)), matrix, rtol=1e-6)
    (tmp_path / "t.ark").write_text("u  [\n  1.0 2.0\n  3.5 -4 ]\n")
    found = read_matrix(Location(tmp_path / "t.ark", 2))
    np.testing.assert_array_equal(found, [[1, 2], [3.5, -4]])


def test_scp_paths_may_be_absolute_or_from_the_working_directory(data, monkeypatch):
    folder = data / "train"
    scp = folder / "feats.scp"
    relative = scp.read_text()
    scp.write_text(relative.replace("feats.ark", str(folder / "feats.ark")))
    absolute = read(data)[1]
    scp.write_text(relative.replace("feats.ark", "data/train/feats.ark"))
    monkeypatch.chdir(data.parent)
    for left, right in zip(absolute, read(data)[1], strict=True):
        np.testing.assert_array_equal(left.features_TF, right.features_TF)


def test_pipe_is_refused_and_never_run(data):
    trace = data / "was-run"
    refused = "shell pipes are refused"
    for rest, message in (
        (f"touch {trace} |", refused),
        (f"| touch {trace}", refused),
        (f"touch {trace} |:3", "not a regular file"),
    ):
        (data / "train" / "feats.scp").write_text(f"u {rest}\n")
        with pytest.raises(BadInput, match=message):
            read(data)
    assert not trace.exists()


def test_pickle_in_an_archive_is_refused_and_never_loaded(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was-run"),)

    archive = tmp_path / "x.ark"
    archive.write_bytes(b"PKL" + pickle.dumps(Evil()))
    for reader in (read_matrix, read_int_vector):
        with pytest.raises(BadInput):
            reader(Location(archive, 0))
    assert not (tmp_path / "was-run").exists()


def test_size_in_a_header_is_checked_before_memory_is_allocated(tmp_path):
    archive = tmp_path / "x.ark"
    big = 1 << 30
    archive.write_bytes(b"\0BFM " + struct.pack("<bibi", 4, big, 4, big) + bytes(40))
    with pytest.raises(BadInput, match="truncated"):
        read_matrix(Location(archive, 0))
    archive.write_bytes(b"\0B" + struct.pack("<bi", 4, 1 << 24) + bytes(40))
    with pytest.raises(BadInput, match="truncated"):
        read_int_vector(Location(archive, 0))
    archive.write_bytes(b"\0B" + struct.pack("<bi", 4, -5) + bytes(40))
    with pytest.raises(BadInput, match="damaged"):
        read_int_vector(Location(archive, 0))


def test_archives_that_are_damaged_raise_bad_input_only(data):
    rng = np.random.default_rng(0)
    content = (data / "train" / "feats.ark").read_bytes()[:2000]
    start = content.index(b"\0B")
    damaged = data / "damaged.ark"
    for _ in range(300):
        mutated = bytearray(content[: rng.integers(1, len(content))])
        for at in rng.integers(0, min(len(mutated), start + 20), size=3):
            mutated[at] = rng.integers(256)
        damaged.write_bytes(mutated)
        for reader in (read_matrix, read_int_vector):
            with suppress(BadInput):
                reader(Location(damaged, start))


def edit(path, change):
    path.write_text(change(path.read_text()))


def change_features(data, change):
    features = dict(kaldiio.load_ark(str(data / "train" / "feats.ark")))
    write_archive(data / "train", "feats", change({k: np.array(v) for k, v in features.items()}))


def change_labels(data, change):
    write_archive(
        data / "train", "ali", change({k: np.array(v) for k, v in labels_of(data).items()})
    )


def with_nan(arrays):
    arrays["train-s1-u1"][4, 2] = np.nan
    return arrays


def out_of_range(arrays):
    arrays["train-s1-u1"][3] = 6
    return arrays


def without_last(arrays, num=2):
    arrays["train-s1-u1"] = arrays["train-s1-u1"][:-num]
    return arrays


BAD = {
    "no directory": (lambda d: d.rename(d.parent / "gone"), "not a directory"),
    "no feats.scp": (lambda d: (d / "train/feats.scp").unlink(), "feats.scp is missing"),
    "no text": (lambda d: (d / "dev/text").unlink(), "dev/text is missing"),
    "no lang": (lambda d: (d / "lang/lexicon.txt").unlink(), "lexicon.txt is missing"),
    "no archive": (lambda d: (d / "train/feats.ark").unlink(), "feats.ark is not a regular file"),
    "a directory as archive": (
        lambda d: edit(d / "train/feats.scp", lambda text: text.replace("feats.ark", "../lang")),
        "not a regular file",
    ),
    "truncated features": (
        lambda d: os.truncate(d / "train/feats.ark", 3000),
        "truncated: .* bytes wanted, 3000 found",
    ),
    "truncated labels": (lambda d: os.truncate(d / "train/ali.ark", 200), "truncated"),
    "labels for features": (
        lambda d: (d / "train/feats.scp").write_text((d / "train/ali.scp").read_text()),
        "wanted a matrix",
    ),
    "features for labels": (
        lambda d: (d / "train/ali.scp").write_text((d / "train/feats.scp").read_text()),
        "wanted a vector of int32",
    ),
    "not finite": (
        lambda d: change_features(d, with_nan),
        "'train-s1-u1', frame 4: a feature is not finite",
    ),
    "out of range": (
        lambda d: change_labels(d, out_of_range),
        r"'train-s1-u1', frame 3: label 6 is outside 0\.\.5",
    ),
    "other length": (
        lambda d: change_labels(d, without_last),
        r"'train-s1-u1': \d+ frames of features and \d+ labels",
    ),
    "id twice": (
        lambda d: edit(d / "train/text", lambda text: text + text),
        "text:12: utterance 'train-s0-u0' occurs twice",
    ),
    "not UTF-8": (lambda d: (d / "train/text").write_bytes(b"u \xff\n"), "not UTF-8"),
    "unknown words": (
        lambda d: edit(d / "test/text", lambda text: text.replace("BA", "QQ").replace("C", "Q")),
        r"words are not in the lexicon \(ABQ, Q",
    ),
    "no alignments": (
        lambda d: [(d / "dev" / name).unlink() for name in ("ali.ark", "ali.scp")],
        "dev has no alignments",
    ),
    "row range": (
        lambda d: edit(d / "train/feats.scp", lambda text: text.replace("\n", "[0:3]\n")),
        "row ranges are not supported",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_source_names_bad_input(data, case):
    spoil, message = BAD[case]
    spoil(data)
    with pytest.raises(BadInput, match=message) as caught:
        [read(data, split) for split in ("train", "dev", "test")]
    assert "\n" not in str(caught.value)


def test_fifo_is_refused_at_once(data):
    os.mkfifo(data / "train" / "pipe.ark")
    edit(data / "train/feats.scp", lambda text: text.replace("feats.ark", "pipe.ark"))
    with pytest.raises(BadInput, match="not a regular file"):
        read(data)


PIPES = [
    "num_pdfs",
    "lang/lexicon.txt",
    "train/text",
    "train/feats.scp",
    "train/ali.scp",
    "train/ali.ark",
    "train/ali.1.gz",
]


@pytest.mark.parametrize("name", PIPES)
def test_fifo_in_place_of_any_file_is_named_and_not_waited_for(data, name):
    (data / "train" / "ali.scp").unlink()
    (data / name).unlink(missing_ok=True)
    os.mkfifo(data / name)
    settings = KaldiSettings()
    with pytest.raises(BadInput, match=rf"{name}.*not a regular file"):
        kaldi_fingerprint(settings, data)
    with pytest.raises(BadInput, match=rf"{name}.*not a regular file"):
        read(data)


def test_text_matrix_is_bounded_before_memory_is_used(tmp_path, monkeypatch):
    """Kaldi's text form has no size: the bracket may never come."""
    archive = tmp_path / "t.ark"
    archive.write_text("u  [\n 1.5 2 \n -3 4e-2 ]\n")
    np.testing.assert_array_equal(
        read_matrix(Location(archive, 2)), np.array([[1.5, 2], [-3, 0.04]], np.float32)
    )
    archive.write_text("u  [\n" + "1 2 3\n" * 1000)
    with pytest.raises(BadInput, match="text ends within a matrix"):
        read_matrix(Location(archive, 2))
    monkeypatch.setattr(objects, "MAX_TEXT_BYTES", 3000)
    with pytest.raises(BadInput, match="a matrix of more than 3,000 bytes of text"):
        read_matrix(Location(archive, 2))
    archive.write_text("u  [\n 1 2 \n 3 ]\n")
    with pytest.raises(BadInput, match="not a readable Kaldi matrix"):
        read_matrix(Location(archive, 2))


def test_only_alignments_of_the_split_are_kept(data):
    """Millions of short vectors of other utterances take no memory."""
    (data / "train" / "ali.scp").unlink()
    (data / "train" / "ali.ark").unlink()
    vectors = "".join(f"other-{n} 1\n" for n in range(1000))
    with gzip.open(data / "train" / "ali.1.gz", "wt") as file:
        file.write("train-s0-u0 1 2 3\n" + vectors)
    alignments = open_alignments(data / "train", wanted={"train-s0-u0"})
    assert list(alignments.held) == ["train-s0-u0"]


def test_utterances_that_are_incomplete_are_left_out_with_the_reason(data):
    def drop(name, id):
        lines = (data / "train" / name).read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith(f"{id} ")]
        (data / "train" / name).write_text("".join(kept))

    drop("text", "train-s0-u0")
    drop("utt2spk", "train-s1-u1")
    drop("feats.scp", "train-s2-u2")
    drop("ali.scp", "train-s0-u3")
    source, utterances = read(data)
    assert source.left_out("train") == {
        "no transcript": ["train-s0-u0"],
        "no speaker": ["train-s1-u1"],
        "no features": ["train-s2-u2"],
        "no alignment": ["train-s0-u3"],
    }
    assert len(utterances) == 7


def test_dev_keeps_utterances_without_alignment(data):
    scp = data / "dev" / "ali.scp"
    scp.write_text("".join(scp.read_text().splitlines(keepends=True)[1:]))
    _, utterances = read(data, "dev")
    assert [utterance.labels_T is None for utterance in utterances] == [True, *[False] * 4]


def test_difference_of_one_frame_may_be_trimmed(data):
    change_labels(data, lambda arrays: without_last(arrays, num=1))
    with pytest.raises(BadInput, match="at most 0"):
        read(data)
    source, utterances = read(data, max_length_difference=1)
    assert all(len(u.labels_T) == len(u.features_TF) for u in utterances)
    assert source.remarks("train") == ["1 utterances trimmed by one frame"]


def test_words_that_are_unknown_may_be_kept(data):
    edit(data / "test/text", lambda text: text.replace("BA", "QQ"))
    source, _ = read(data, "test", unknown_words="keep")
    assert "1 words are not in the lexicon (QQ)" in source.remarks("test")[0]


@pytest.mark.parametrize("unknown_words", ["fail", "keep"])
def test_unknown_words_alone_are_refused(data, unknown_words):
    for split in ("train", "dev", "test"):
        path = data / split / "text"
        lines = [line.split() for line in path.read_text().splitlines()]
        path.write_text("".join(f"{id} {' '.join(words).lower()}\n" for id, *words in lines))
    message = (
        r"lang/lexicon.txt has none of the words .*: found AB, ABC, .*, wanted ab, abc, ba, c:"
    )
    with pytest.raises(BadInput, match=message):
        read(data, unknown_words=unknown_words)


def test_unknown_words_alone_in_one_split_may_be_kept(data):
    edit(data / "test/text", lambda text: re.sub(r" .*", " QQ", text))
    source, _ = read(data, "test", unknown_words="keep")
    assert "1 words are not in the lexicon (QQ)" in source.remarks("test")[0]


def test_shares_of_train_become_dev_and_test_by_whole_speakers(tmp_path):
    data = make_kaldi_directory(tmp_path / "data", sentences=40, speakers=10)
    wanted = {utterance.id: utterance for utterance in read(data)[1]}
    for split in ("dev", "test"):
        shutil.rmtree(data / split)
    settings = {"dev_share": 0.2, "test_share": 0.3}
    parts = {split: read(data, split, **settings)[1] for split in ("train", "dev", "test")}
    ids = {split: [utterance.id for utterance in part] for split, part in parts.items()}
    assert sorted(chain.from_iterable(ids.values())) == sorted(wanted)
    speakers = {split: {utterance.speaker for utterance in part} for split, part in parts.items()}
    assert len(set().union(*speakers.values())) == sum(map(len, speakers.values())) == 10
    assert {split: len(part) for split, part in ids.items()} == {"train": 20, "dev": 8, "test": 12}
    for utterance in chain.from_iterable(parts.values()):
        np.testing.assert_array_equal(utterance.labels_T, wanted[utterance.id].labels_T)


def test_share_of_a_split_depends_on_names_of_speakers_alone(tmp_path):
    data = make_kaldi_directory(tmp_path / "data", sentences=40, speakers=10)
    shutil.rmtree(data / "dev")
    first = {utterance.id for utterance in read(data, "dev", dev_share=0.2)[1]}
    lines = (data / "train" / "feats.scp").read_text().splitlines()
    (data / "train" / "feats.scp").write_text("\n".join(reversed(lines)) + "\n")
    assert {utterance.id for utterance in read(data, "dev", dev_share=0.2)[1]} == first


def test_shares_and_folders_exclude_each_other(data):
    with pytest.raises(BadInput, match=r"dev is there, and corpus.kaldi.dev_share takes dev"):
        read(data, dev_share=0.3)
    shutil.rmtree(data / "dev")
    shutil.rmtree(data / "test")
    edit(data / "train/utt2spk", lambda text: re.sub(r" \S+", " one", text))
    with pytest.raises(BadInput, match=r"train: 1 speakers, wanted more than 2 to take dev and"):
        read(data, dev_share=0.3, test_share=0.1)


def test_alignment_of_another_model_is_named(data):
    swap_lang(data)
    as_kaldi_experiment(data)
    settings = {
        "lang": "exp/graph",
        "model": "exp/final.mdl",
        "alignments": {"train": "exp/ali_train", "dev": "exp/ali_dev"},
    }
    assert len(read(data, **settings)[1]) == 11
    with gzip.open(data / "exp" / "ali_train" / "ali.1.gz", "wt") as file:
        file.write("train-s0-u0 1 2 900\n")
    with pytest.raises(BadInput, match=r"frame 2: 900 is no transition-id of exp/final.mdl \(1 to"):
        read(data, **settings)
    with pytest.raises(BadInput, match=r"has no HCLG.fst, and a model .* is of use with a graph"):
        read(make_kaldi_directory(data / "other"), model="../exp/final.mdl")
