"""examples/pocketsphinx: senone logs become log-posteriors, alignments become hard labels."""

import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.examples.loading import load_example

NUM_SENONES = 7
TESTDATA = Path("/usr/share/pocketsphinx/test/data")


@pytest.fixture(scope="module")
def member() -> ModuleType:
    pytest.importorskip("pocketsphinx", reason="pip install pocketsphinx")
    return load_example("pocketsphinx/sphinx_member.py")


@pytest.fixture
def prepare(member: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setitem(sys.modules, "sphinx_member", member)  # as a program finds it next to it
    return load_example("pocketsphinx/prepare.py")


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The member's module; the reader of logs works without pocketsphinx."""
    if "pocketsphinx" not in sys.modules:
        try:
            import pocketsphinx  # noqa: F401
        except ImportError:
            monkeypatch.setitem(sys.modules, "pocketsphinx", ModuleType("pocketsphinx"))
    return load_example("pocketsphinx/sphinx_member.py")


def senone_log(scores_NC: NDArray[np.int16], *, order: str = "<") -> bytes:
    num_senones = scores_NC.shape[1]
    head = f"s3\nversion 0.1\nmdef_file /m d/mdef\nn_sen {num_senones}\nlogbase 1.000100\nendhdr\n"
    counts_N1 = np.full((len(scores_NC), 1), num_senones)
    records = np.hstack([counts_N1, scores_NC]).astype(f"{order}i2")
    return head.encode() + np.array([0x11223344], f"{order}u4").tobytes() + records.tobytes()


def some_scores() -> NDArray[np.int16]:
    return np.random.default_rng(3).integers(0, 900, (11, NUM_SENONES)).astype(np.int16)


@pytest.mark.parametrize("order", ["<", ">"])
def test_scores_become_natural_logarithms(reader: ModuleType, tmp_path: Path, order: str) -> None:
    path = tmp_path / "0.sen"
    path.write_bytes(senone_log(some_scores(), order=order))
    wanted = -1024 * math.log(1.0001) * some_scores().astype(np.float64)
    np.testing.assert_allclose(reader.read_senone_log(path), wanted, rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda log: log[:-2], "no whole number of records"),
        (lambda log: log[:-1], "no whole number of records"),
        (lambda log: log.replace(b"endhdr", b"endhxx"), "no senone log"),
        (lambda log: log.replace(b"n_sen", b"n_xxx"), "no senone log"),
        (lambda log: log.replace(b"\x44\x33\x22\x11", b"\x00\x33\x22\x11"), "0x11223344"),
        (lambda log: log.replace(b"n_sen 7", b"n_sen 3"), "lacks senones"),
    ],
)
def test_damaged_logs_are_refused(
    reader: ModuleType, tmp_path: Path, change: object, message: str
) -> None:
    assert callable(change)
    path = tmp_path / "0.sen"
    path.write_bytes(change(senone_log(some_scores())))
    with pytest.raises(ValueError, match=message):
        reader.read_senone_log(path)


def test_posteriors_are_bayes_rule(reader: ModuleType) -> None:
    loglik = np.array([[0.0, -1.0, -900.0], [-2.0, 0.0, 0.0]])
    prior = np.array([0.5, 0.3, 0.2])
    found = reader.log_posteriors(loglik, np.log(prior), scale=0.5)
    joint = np.exp(0.5 * loglik) * prior
    wanted = np.log(joint) - np.log(joint.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert np.isfinite(found).all()
    assert found.dtype == np.float32


def test_rows_have_the_senone_of_the_nearest_frame(prepare: ModuleType) -> None:
    # Frame n is centred at 12.8 ms + n * 10 ms, row r at 5 ms + r * 10 ms.
    senones_N = np.arange(100, 109, dtype=np.int32)
    rows_T = prepare.rows_of_frames(senones_N, num_rows=10)
    centres_N = 12.8 + 10 * np.arange(9)
    wanted = [100 + np.abs(centres_N - (5 + 10 * row)).argmin() for row in range(10)]
    assert rows_T.tolist() == wanted


def samples_of(name: str, prepare: ModuleType) -> NDArray[np.int16]:
    path = TESTDATA / name
    if not path.is_file():
        pytest.skip("Debian's pocketsphinx-testdata is not installed")
    samples: NDArray[np.int16] = prepare.read_samples(path)
    return samples


def test_the_member_gives_all_senones_whatever_came_before(
    member: ModuleType, prepare: ModuleType, tmp_path: Path
) -> None:
    samples = samples_of("cards/001.wav", prepare) / np.float32(32768)
    other = samples_of("cards/004.wav", prepare) / np.float32(32768)
    priors = tmp_path / "priors.txt"
    priors.write_text("1\n" * prepare.NUM_SENONES)
    model = member.load({"priors": str(priors)})
    first = model.posteriors(samples)
    model.posteriors(other)
    assert np.array_equal(first, model.posteriors(samples))
    assert first.shape[1] == prepare.NUM_SENONES
    assert abs(first.shape[0] - len(samples) / 160) <= 2
    np.testing.assert_allclose(np.exp(first.astype(np.float64)).sum(axis=1), 1, atol=1e-5)
    assert not list(model._folder.iterdir())  # logs are deleted
    uniform = member.load({"priors": "uniform"})
    np.testing.assert_allclose(uniform.posteriors(samples), first, atol=1e-5)


def test_alignments_and_senone_log_agree(
    member: ModuleType, prepare: ModuleType, tmp_path: Path
) -> None:
    """The aligned senone is far likelier than others: ids of both mean the same."""
    samples = samples_of("cards/005.wav", prepare)
    words = "eight of spades four of clubs seven of hearts".split()  # noqa: SIM905
    aligned = member.align(member.new_decoder(), samples, words)
    assert [word for word, _ in aligned if not prepare.FILLER.fullmatch(word)] == words
    senones = [
        s for _, phones in aligned for _, states in phones for s, n in states for _ in range(n)
    ]
    priors = tmp_path / "priors.txt"
    priors.write_text("1\n" * prepare.NUM_SENONES)
    logp_NC = member.load({"priors": str(priors)}).posteriors(samples / np.float32(32768))
    assert len(senones) == len(logp_NC)
    ranks = (logp_NC > logp_NC[np.arange(len(senones)), senones][:, np.newaxis]).sum(axis=1)
    assert np.median(ranks) < 60  # of 5126; half the inventory if ids were others


def test_a_corpus_is_prepared_from_recordings(prepare: ModuleType, tmp_path: Path) -> None:
    samples_of("cards/001.wav", prepare)
    found = list(prepare.recordings_of_testdata(TESTDATA))
    assert len(found) == 10
    cards = [prepare.Recording(e.id, e.path, e.speaker, "train", e.words) for e in found[5:]]
    odd = prepare.Recording("odd", cards[0].path, "cards", "train", ("xyzzyq",))
    lines = prepare.write_all([*cards, odd], tmp_path)
    assert lines[-1].startswith("left out: 1: Failed to set up alignment")
    alignments = dict(
        line.split(" ", 1) for line in (tmp_path / "ali" / "ali.ark").read_text().splitlines()
    )
    assert set(alignments) == {each.id for each in cards}
    counts = np.loadtxt(tmp_path / "priors.txt")
    frames = sum(len(line.split()) for line in alignments.values())
    assert counts.sum() == prepare.NUM_SENONES + frames
    from stages.acoustic.lang.lang import read_lang
    from stages.acoustic.lang.phones import phones_of

    lang = read_lang(tmp_path / "lang")
    assert lang.num_classes == prepare.NUM_SENONES
    assert set(lang.words) == {word for each in cards for word in each.words}
    phones = phones_of(lang)
    assert phones is not None
    assert ("K", "W", "IY", "N") in phones.of_word["queen"]
