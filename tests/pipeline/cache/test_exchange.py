"""essence cache import | export, as a user calls them."""

import gzip
import json
import re
import shlex
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="the core is installed without the extra 'train'")
pytest.importorskip("kaldiio", reason="the core is installed without the extra 'speech'")
import kaldiio

from stages.acoustic.kaldi.objects import read_int_vector, read_matrix
from stages.acoustic.kaldi.posterior import binary_posterior
from stages.acoustic.kaldi.posterior_export import Export
from stages.acoustic.kaldi.tables import read_scp
from storage.care.match import match_corpus
from storage.corpus.corpus_file import CorpusFile
from storage.exchange.compare import BOUND_NATS
from storage.exchange.frames import Advance, DenseFrames, SourceUtterance
from storage.exchange.plan import Identity, plan_import
from storage.exchange.survey import survey
from storage.exchange.take_in import take_in
from storage.format.recorded import NOT_RECORDED, digest_of_id
from storage.read.reader import open_store
from storage.read.soft_labels import SoftLabels
from tests.support.makers.cache import cache
from tests.support.makers.kaldi import AN4
from tests.support.makers.store import make_logp, tree_digest
from tests.support.makers.training import make_corpus
from tests.support.paths import DOCS
from tests.support.stores import head_of

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

C = 23
GIVEN = {f"utt-{n}": make_logp(length, C, seed=n) for n, length in enumerate((7, 30, 11, 1))}


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    """The same log-posteriors as m.ark and m.scp, m.txt, m.ark.gz, m.npz and arrays/."""
    kaldiio.save_ark(str(tmp_path / "m.ark"), GIVEN, scp=str(tmp_path / "m.scp"))
    text = "".join(
        f"{id}  [\n  " + "\n  ".join(" ".join(map(str, row)) for row in logp.tolist()) + " ]\n"
        for id, logp in GIVEN.items()
    )
    (tmp_path / "m.txt").write_text(text)
    (tmp_path / "m.ark.gz").write_bytes(gzip.compress((tmp_path / "m.ark").read_bytes()))
    np.savez(tmp_path / "m.npz", **GIVEN)
    (tmp_path / "arrays").mkdir()
    for id, logp_TC in GIVEN.items():
        np.save(tmp_path / f"arrays/{id}.npy", logp_TC)
    return tmp_path


def imported(*words: str | Path) -> str:
    """The digest of an import that succeeds."""
    done = cache("import", *words)
    assert done.exit_code == 0, done.output
    (digest,) = re.findall(r"^sealed: (\w{64})$", done.stdout, flags=re.MULTILINE)
    return digest


def test_all_forms_of_the_same_posteriors_give_the_same_store(archives: Path) -> None:
    forms = ("m.ark", "ark:m.ark", "scp:m.scp", "m.txt", "m.ark.gz", "m.npz", "arrays")
    digests = set()
    for number, form in enumerate(forms):
        head, colon, name = form.rpartition(":")
        source = f"{head}{colon}{archives / name}"
        digests.add(imported(source, archives / f"{number}.zarr", "--k", "7"))
    assert digests == {head_of(archives / "0.zarr")}
    open_store(archives / "0.zarr").verify()
    labels = open_store(archives / "0.zarr").read(["utt-1"], k=7)
    wanted_TK = np.take_along_axis(GIVEN["utt-1"], labels.ids_TK.astype(int), axis=1)
    assert np.abs(labels.logp_TK - np.maximum(wanted_TK, -16)).max() <= BOUND_NATS


def test_several_archives_are_one_store(archives: Path) -> None:
    for n, ids in enumerate((("utt-0", "utt-1"), ("utt-2", "utt-3"))):
        kaldiio.save_ark(str(archives / f"part.{n}.ark"), {id: GIVEN[id] for id in ids})
    parts = [archives / "part.0.ark", archives / "part.1.ark"]
    assert imported(*parts, archives / "a.zarr") == imported(
        archives / "m.ark", archives / "b.zarr"
    )
    done = cache("import", parts[0], parts[0], archives / "c.zarr")
    assert done.exit_code == 1
    assert "utterance 'utt-0': the id comes twice" in done.output


@pytest.mark.parametrize("target", ["ark:p", "ark,t:p", "ark,scp:p,p.scp", "ark,t,scp:p,p.scp"])
def test_pairs_come_back_as_they_were(archives: Path, target: str) -> None:
    """Class ids and probabilities are exact; the tail is what the pairs leave to 1."""
    imported(archives / "m.ark", archives / "a.zarr", "--k", "7")
    kind, _, names = target.partition(":")
    files = ",".join(str(archives / name) for name in names.split(","))
    done = cache("export", archives / "a.zarr", f"{kind}:{files}")
    assert done.exit_code == 0, done.output
    assert "not in the archive: the mass outside the k ranks" in done.stdout
    back = archives / ("p.scp" if "scp" in target else "p")
    imported(back, archives / "b.zarr", "--num-classes", str(C))
    first, again = (open_store(archives / name) for name in ("a.zarr", "b.zarr"))
    for id in GIVEN:
        wanted, found = (store.read([id], k=7) for store in (first, again))
        np.testing.assert_array_equal(found.ids_TK, wanted.ids_TK)
        np.testing.assert_array_equal(found.logp_TK, wanted.logp_TK)
        outside_T = np.maximum(0, 1 - np.exp(wanted.logp_TK.astype("f8")).sum(axis=1))
        np.testing.assert_allclose(found.tail_T, outside_T, rtol=0.065, atol=1e-6)


@pytest.mark.parametrize("kind", ["ark", "ark,t"])
def test_pruned_store_is_exported_with_as_many_pairs_as_ranks(archives: Path, kind: str) -> None:
    """And imported again with the same ranks; as matrices, other classes share the tail."""
    few = ("--k", "7", "--keep-mass", "0.9", "--keep-min-prob", "0.02")
    imported(archives / "m.ark", archives / "a.zarr", *few)
    for words, target in (([], "p"), (["--dense"], "d")):
        done = cache("export", *words, archives / "a.zarr", f"{kind}:{archives / target}")
        assert done.exit_code == 0, done.output
    shown = cache("info", archives / "a.zarr").stdout
    assert "23, of which 1 to 7 (mass 0.9, probability 0.02) are kept a frame" in shown
    assert re.search("ranks a frame +frames with k", cache("audit", archives / "a.zarr").stdout)
    bound = ("--keep-min-prob", "1e-6")
    imported(archives / "p", archives / "b.zarr", "--k", "7", *bound, "--num-classes", str(C))
    first, again = (open_store(archives / name) for name in ("a.zarr", "b.zarr"))
    with (archives / "d").open("rb") as file:
        matrices = {id: matrix.copy() for id, matrix in kaldiio.load_ark(file)}
    for id in GIVEN:
        wanted, found = (store.read([id], k=7) for store in (first, again))
        for field in ("ids_TK", "logp_TK", "count_T"):
            np.testing.assert_array_equal(getattr(found, field), getattr(wanted, field))
        prob_TK, tail_T = wanted.distribution(num_classes=C)
        assert wanted.count_T is not None
        for row, count in enumerate(wanted.count_T):
            share = tail_T[row] / (C - count)
            dense_C = np.full(C, share)
            dense_C[wanted.ids_TK[row, :count]] = prob_TK[row, :count]
            np.testing.assert_allclose(matrices[id][row], np.log(dense_C), atol=1e-5)


@pytest.mark.parametrize("target", ["ark:d", "ark,t:d"])
def test_matrices_have_the_tail_spread_evenly(archives: Path, target: str) -> None:
    imported(archives / "m.ark", archives / "a.zarr", "--k", "7")
    words = ["export", "--dense", "--k", "5", archives / "a.zarr"]
    done = cache(*words, target.replace(":d", f":{archives}/d"), "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert (facts["k"], facts["num_frames"]) == (5, sum(map(len, GIVEN.values())))
    store = open_store(archives / "a.zarr")
    with (archives / "d").open("rb") as file:
        exported = {id: matrix.copy() for id, matrix in kaldiio.load_ark(file)}
    assert list(exported) == list(GIVEN)
    for id, found_TC in exported.items():
        labels = store.read([id], k=5)
        np.testing.assert_allclose(np.exp(found_TC.astype("f8")).sum(axis=1), 1, atol=1e-5)
        prob_TK, tail_T = labels.distribution(num_classes=C)
        columns = labels.ids_TK.astype(int)
        np.testing.assert_allclose(
            np.take_along_axis(found_TC, columns, axis=1), np.log(prob_TK), atol=1e-5
        )
        np.put_along_axis(found_TC, columns, np.nan, axis=1)
        others_TC = np.exp(found_TC[~np.isnan(found_TC)].reshape(-1, C - 5))
        np.testing.assert_allclose(others_TC, np.repeat(tail_T[:, None] / (C - 5), C - 5, 1), 1e-4)
    imported(archives / "d", archives / "b.zarr", "--k", "5")  # it is a distribution


def test_export_again_changes_nothing_and_another_one_is_refused(archives: Path) -> None:
    imported(archives / "m.ark", archives / "a.zarr", "--k", "7")
    target = f"ark,scp:{archives}/p.ark,{archives}/p.scp"
    assert cache("export", archives / "a.zarr", target).exit_code == 0
    before = (archives / "p.ark").stat().st_mtime_ns
    (archives / "p.scp").unlink()  # killed between the two files
    assert cache("export", archives / "a.zarr", target).exit_code == 0
    assert (archives / "p.ark").stat().st_mtime_ns == before
    assert (archives / "p.scp").is_file()
    done = cache("export", archives / "a.zarr", archives / "p.ark", "--k", "3")
    assert done.exit_code == 1
    assert "p.ark is there, and is not this export: remove it" in done.output


@pytest.mark.parametrize("words", [[], ["--dense"]])
def test_archive_with_other_values_is_not_published(
    archives: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """What is read again is compared with the store: here one frame is written with other ids."""
    imported(archives / "m.ark", archives / "a.zarr", "--k", "7")
    encoded = Export.encoded

    def encode_wrongly(self: Export, labels: SoftLabels, num_classes: int) -> bytes:
        ids_TK = labels.ids_TK.copy()
        ids_TK[0] = ids_TK[0, ::-1]
        return encoded(self, replace(labels, ids_TK=ids_TK), num_classes)

    with monkeypatch.context() as patch:
        patch.setattr(Export, "encoded", encode_wrongly)
        done = cache("export", *words, archives / "a.zarr", archives / "p.ark")
    assert done.exit_code == 1
    assert "utterance 'utt-0': what is read is not what was written" in done.output
    assert not (archives / "p.ark").exists()
    assert cache("export", *words, archives / "a.zarr", archives / "p.ark").exit_code == 0


def test_store_without_a_corpus_records_neither_classes_nor_inputs(archives: Path) -> None:
    """As a store of essence.record: a trainer's `match` then compares neither."""
    imported(archives / "m.ark", archives / "a.zarr")
    store = open_store(archives / "a.zarr")
    assert store.about.class_inventory == NOT_RECORDED
    assert {row.id: row.digest for row in store.utterances} == {
        id: digest_of_id(id) for id in GIVEN
    }


def test_store_of_a_corpus_fits_it(tmp_path: Path) -> None:
    with CorpusFile(make_corpus(tmp_path / "train.h5", seed=3)) as corpus:
        classes = corpus.about.num_classes
        given = {
            row.id: make_logp(row.num_frames, classes, seed=n)
            for n, row in enumerate(corpus.utterances)
            if row.num_frames
        }
        kaldiio.save_ark(str(tmp_path / "m.ark"), given)
        words = [tmp_path / "m.ark", tmp_path / "a.zarr", "--corpus", tmp_path / "train.h5"]
        imported(*words, "--k", "2")
        store = open_store(tmp_path / "a.zarr")
        match = match_corpus(store, corpus)
        assert set(match.without_soft_labels) <= {
            row.id for row in corpus.utterances if not row.num_frames
        }
        assert store.about.split == corpus.about.split
        id = next(iter(given))
        for odd, message in (
            ({id: make_logp(99, classes)}, f"utterance {id!r}: 99 frames, the corpus has"),
            ({"other": make_logp(9, classes)}, "utterance 'other': the corpus has no such"),
            ({id: make_logp(len(given[id]), classes + 1)}, f"{classes + 1} columns, wanted one"),
        ):
            kaldiio.save_ark(str(tmp_path / "odd.ark"), odd)
            done = cache("import", tmp_path / "odd.ark", tmp_path / "b.zarr", *words[2:])
            assert done.exit_code == 1
            assert message in done.output
            assert not (tmp_path / "b.zarr").exists()


PAIRS = binary_posterior(np.array([[1, 2]], "u4"), np.array([[0.5, 0.25]], "f4"))


@pytest.mark.parametrize(
    ("content", "words", "code", "message"),
    [
        (b"u " + PAIRS, [], 1, "do not state the number of classes: add --num-classes"),
        (b"u " + PAIRS, ["--num-classes", "2"], 1, "byte 2, utterance 'u', frame 0: class 2, want"),
        (b"u " + PAIRS, ["--num-classes", "9", "--k", "10"], 1, "cannot keep 10 of 9 classes"),
        (b"u " + PAIRS[:-1], ["--num-classes", "9"], 1, "utterance 'u', frame 0: the file is trun"),
        (b"u " + PAIRS + b"u " + PAIRS, ["--num-classes", "9"], 1, "'u': the id comes twice"),
        (b"u [ 1 0.9 2 0.9 ]\n", ["--num-classes", "9"], 1, "'u', frame 0: .* sum to 1.8"),
        (b"u [ 1 nan ]\n", ["--num-classes", "9"], 1, "'u', frame 0: the weight of class 1 is nan"),
        (b"", ["--num-classes", "9"], 1, "holds no frame"),
        (b"\x89PNG\r\n\x1a\n" * 999, ["--num-classes", "9"], 1, "is this a Kaldi archive|no utter"),
        (None, [], 1, "bad.ark cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_made(
    tmp_path: Path, content: bytes | None, words: list[str], code: int, message: str
) -> None:
    """RELIABILITY 39: what is no distribution is refused with utterance and frame."""
    if content is not None:
        (tmp_path / "bad.ark").write_bytes(content)
    done = cache("import", tmp_path / "bad.ark", tmp_path / "a.zarr", *words)
    assert done.exit_code == code, done.output
    lines = [line for line in done.output.splitlines() if "bytes/s" not in line]
    assert len(lines) == 1
    assert re.search(message, lines[0]), done.output
    assert not (tmp_path / "a.zarr").exists()


def test_dry_run_checks_and_makes_nothing(archives: Path) -> None:
    done = cache("import", archives / "m.ark", archives / "a.zarr", "--dry-run")
    assert done.exit_code == 0
    assert "the source is sound; not made: this is a dry run" in done.stdout
    assert not (archives / "a.zarr").exists()


def test_lossy_steps_are_named(archives: Path) -> None:
    pairs = [[(1, 0.5), (2, 0.25), (3, 0.125)], [(4, 0.75)]]
    text = " ".join("[ " + " ".join(f"{id} {p}" for id, p in frame) + " ]" for frame in pairs)
    (archives / "p.txt").write_text(f"u {text}\n")
    words = ["import", archives / "p.txt", archives / "a.zarr", "--num-classes", "9", "--k", "2"]
    done = cache(*words)
    assert done.exit_code == 0, done.output
    assert "ranks beyond K, 6.250% of the mass, are part of the tail" in done.stdout
    assert "what pairs leave to 1, 18.750% on average, is the tail" in done.stdout
    assert "1 frames with fewer than K pairs, by other classes at p = e^-16" in done.stdout
    labels = open_store(archives / "a.zarr").read(["u"], k=2)
    assert labels.ids_TK.tolist() == [[1, 2], [4, 0]]
    np.testing.assert_allclose(labels.tail_T, [0.25, 0.25], rtol=0.03)


@pytest.mark.parametrize("command", ["import", "export"])
def test_examples_of_the_help_run_as_printed(
    archives: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    kaldiio.save_ark(str(archives / "logp.1.ark"), {"utt-0": GIVEN["utt-0"]})
    for number, ids in ((1, ("utt-0", "utt-1")), (2, ("utt-2", "utt-3"))):
        path = archives / f"logp.{number}.ark"
        kaldiio.save_ark(str(path), {id: GIVEN[id] for id in ids})
        (archives / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    store = "work/teacher-5a7227487ef6/train.zarr"
    imported(archives / "m.ark", archives / store, "--k", "17")
    if command == "import":
        (archives / "post.ark").write_bytes(b"u " + PAIRS)
    monkeypatch.chdir(archives)
    lines = re.findall(r"essence cache (\w+ .*)", cache(command, "--help").stdout)
    assert len(lines) == 2
    for number, line in enumerate(lines):
        words = shlex.split(line)
        if command == "import":
            words = [word.replace("train.zarr", f"{number}.zarr") for word in words]
        if command == "export" and number:
            imported("m.ark", "train.zarr", "--k", "17")
        done = cache(*words)
        assert done.exit_code == 0, done.output


def test_examples_of_the_page_run_as_printed(
    archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (archives / "post.1.gz").write_bytes(gzip.compress(b"a " + PAIRS))
    (archives / "post.2.gz").write_bytes(gzip.compress(b"b " + PAIRS))
    (archives / "logp.scp").write_text((archives / "m.scp").read_text())
    monkeypatch.chdir(archives)
    page = (DOCS / "exchange.md").read_text("utf-8")
    lines = re.findall(r"^essence cache (.*?)(?: +#.*)?$", page, flags=re.MULTILINE)
    assert len(lines) >= 5
    for line in lines:
        done = cache(*shlex.split(line))
        assert done.exit_code == 0, (line, done.output)


def test_memory_is_that_of_an_utterance_and_a_shard(tmp_path: Path) -> None:
    """RELIABILITY 15: of 48 MB of matrices that come one after the other, a few MB are held."""

    @dataclass(frozen=True)
    class Long:
        num_utterances: int
        name: str = "long"
        num_bytes: int = 1

        def utterances(self, advance: Advance) -> Iterator[SourceUtterance]:
            for number in range(self.num_utterances):
                logp_TC = np.roll(LONG, number, axis=0)
                yield SourceUtterance(id=f"u{number}", where=self.name, frames=DenseFrames(logp_TC))

    peaks = []
    for count in (6, 48):
        tracemalloc.start()
        found = survey(Long(count))
        plan = plan_import(
            found,
            Identity(split="train", frame_shift_ms=10.0),
            k=4,
            normalise=False,
            program_version="0.1.0",
        )
        take_in(tmp_path / f"{count}.zarr", plan, Long(count))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 6 << 20, peaks


LONG = make_logp(500, 500)  # 1 MB


def an4_posteriors(num_utterances: int) -> dict[str, NDArray[np.float32]]:
    """Log-posteriors of AN4's training speech by a Gaussian for each pdf of its alignment."""
    assert AN4 is not None
    features = read_scp(AN4 / "train/feats.scp")
    labels = read_scp(AN4 / "train/ali.scp")
    ids = [id for id in features if id in labels][:num_utterances]
    feats = {id: read_matrix(features[id]).astype("f8") for id in ids}
    x_TF = np.concatenate([feats[id] for id in ids])
    y_T = np.concatenate([read_int_vector(labels[id]) for id in ids])
    num_pdfs = int((AN4 / "num_pdfs").read_text())
    counts_C = np.bincount(y_T, minlength=num_pdfs)[:, None]
    means_CF = np.zeros((num_pdfs, x_TF.shape[1]))
    np.add.at(means_CF, y_T, x_TF)
    means_CF /= np.maximum(counts_C, 1)
    variance_F = np.square(x_TF - means_CF[y_T]).mean(axis=0)
    posteriors = {}
    for id in ids:
        distance_TC = np.square(feats[id][:, None] - means_CF[None]) @ (1 / variance_F)
        logits_TC = np.log(counts_C[:, 0] + 1e-3) - distance_TC / 2
        best_T1 = logits_TC.max(axis=1, keepdims=True)
        norm_T1 = best_T1 + np.log(np.exp(logits_TC - best_T1).sum(axis=1, keepdims=True))
        posteriors[id] = (logits_TC - norm_T1).astype(np.float32)
    return posteriors


@pytest.mark.an4
@pytest.mark.skipif(AN4 is None, reason="the AN4 data directory is not here")
def test_an4_posteriors_make_the_round_trip_within_the_bound(tmp_path: Path) -> None:
    """archive -> store -> archive -> store, of real speech: pairs, and matrices."""
    given = an4_posteriors(60)
    kaldiio.save_ark(str(tmp_path / "m.ark"), given, scp=str(tmp_path / "m.scp"))
    imported(f"scp:{tmp_path}/m.scp", tmp_path / "a.zarr", "--k", "16")
    for form, words in (("pairs", []), ("matrices", ["--dense"])):
        assert cache("export", *words, tmp_path / "a.zarr", tmp_path / form).exit_code == 0
    num_classes = str(next(iter(given.values())).shape[1])
    imported(tmp_path / "pairs", tmp_path / "b.zarr", "--num-classes", num_classes)
    imported(tmp_path / "matrices", tmp_path / "c.zarr", "--k", "16")
    first, pairs = open_store(tmp_path / "a.zarr"), open_store(tmp_path / "b.zarr")
    for id, logp_TC in given.items():
        labels = first.read([id], k=16)
        wanted_TK = -np.sort(-logp_TC, axis=1)[:, :16]
        assert np.abs(labels.logp_TK - np.maximum(wanted_TK, -16)).max() <= BOUND_NATS
        again = pairs.read([id], k=16)
        np.testing.assert_array_equal(again.ids_TK, labels.ids_TK)
        np.testing.assert_array_equal(again.logp_TK, labels.logp_TK)
    digests = [tree_digest(tmp_path / name) for name in ("a.zarr", "b.zarr")]
    imported(f"scp:{tmp_path}/m.scp", tmp_path / "a.zarr", "--k", "16")
    assert tree_digest(tmp_path / "a.zarr") == digests[0]
