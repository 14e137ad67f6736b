"""Bad input to the command: one line that states what was found, exit code 1, no output.

Every case damages a good Kaldi directory in one way. Each was once a traceback, a wrong result
in silence, or an error after hours of training, or is one that users meet first.
"""

import gzip
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import kaldiio
import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from pipeline.cli import main
from tests.support.makers.kaldi import make_kaldi_directory, write_archive

Damage = Callable[[Path], object]
Arrays = dict[str, NDArray[np.generic]]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_kaldi_directory(tmp_path_factory.mktemp("good") / "data")


@pytest.fixture
def data(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy for a test to damage; the command runs in its parent folder."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(good, tmp_path / "data")


def essence(command: str = "corpus", *changes: str) -> Result:
    settings = ("corpus.source=kaldi", "corpus.path=data", *changes)
    words = [word for change in settings for word in ("--set", change)]
    return CliRunner().invoke(main, [command, *words])


def refused(ran: Result) -> str:
    """Return the single line of an expected error."""
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    assert ran.exit_code == 1, ran.output
    assert not ran.stdout
    *_, line = ran.stderr.splitlines()
    assert line.startswith("essence: ")
    assert len([said for said in ran.stderr.splitlines() if said.startswith("essence")]) == 1
    assert not [place for place in Path("work").glob("*") if not place.name.endswith(".partial")]
    return line


def write(name: str, content: str | bytes) -> Damage:
    raw = content.encode() if isinstance(content, str) else content
    return lambda data: (data / name).write_bytes(raw)


def append(name: str, content: str | bytes) -> Damage:
    raw = content.encode() if isinstance(content, str) else content
    return lambda data: (data / name).write_bytes((data / name).read_bytes() + raw)


def replace(name: str, old: str, new: str) -> Damage:
    return lambda data: (data / name).write_text((data / name).read_text().replace(old, new, 1))


def cut(name: str, num_bytes: int) -> Damage:
    return lambda data: (data / name).write_bytes((data / name).read_bytes()[:-num_bytes])


def remove(name: str) -> Damage:
    return lambda data: (
        shutil.rmtree(data / name) if (data / name).is_dir() else _unlink(data / name)
    )


def _unlink(path: Path) -> None:
    path.unlink()


def each(split: str, name: str, change: Callable[[NDArray[np.generic]], object]) -> Damage:
    """Change every array of an archive."""

    def damage(data: Path) -> None:
        archive = kaldiio.load_ark(str(data / split / f"{name}.ark"))
        arrays = {id: np.array(change(np.array(array))) for id, array in archive}
        write_archive(data / split, name, arrays)

    return damage


def head(rows: int, cols: int) -> Damage:
    """Write another size into the header of the first matrix."""

    def damage(data: Path) -> None:
        path = data / "train" / "feats.ark"
        content = bytearray(path.read_bytes())
        at = content.index(b"\0BFM ") + 5
        content[at : at + 10] = struct.pack("<bibi", 4, rows, 4, cols)
        path.write_bytes(content)

    return damage


def gz(content: Callable[[bytes], bytes]) -> Damage:
    """Replace the alignment of train by one gz archive of `content(archive)`."""

    def damage(data: Path) -> None:
        archive = (data / "train" / "ali.ark").read_bytes()
        (data / "train" / "ali.scp").unlink()
        (data / "train" / "ali.ark").unlink()
        (data / "train" / "ali.1.gz").write_bytes(content(archive))

    return damage


def not_finite(features_TF: NDArray[np.generic]) -> NDArray[np.generic]:
    features_TF[2, 1] = np.nan
    return features_TF


def first_of(name: str) -> Damage:
    """Point the first utterance of train's feats.scp elsewhere."""

    def damage(data: Path) -> None:
        path = data / "train" / "feats.scp"
        first, *rest = path.read_text().splitlines()
        path.write_text("\n".join([f"{first.split()[0]} {name}", *rest]) + "\n")

    return damage


CASES: dict[str, tuple[Damage, list[str]]] = {
    "no directory": (remove("."), ["data"]),
    "a split is missing": (remove("dev"), ["dev/feats.scp is missing"]),
    "a table is missing": (remove("train/utt2spk"), ["train/utt2spk is missing"]),
    "an empty table": (write("dev/text", ""), ["dev split has no utterance", "no transcript"]),
    "an empty test": (write("test/feats.scp", ""), ["test split has no utterance"]),
    "an id twice": (append("train/text", "train-s0-u0 AB\n"), ["text:12", "occurs twice"]),
    "not UTF-8": (append("train/text", b"x \xe9\n"), ["train/text is not UTF-8"]),
    "a NUL": (append("train/utt2spk", "x\0y z\n"), ["utt2spk:12", "NUL"]),
    "an unknown word": (append("lang/lexicon.txt", "X\n"), ["lexicon.txt:6", "no units"]),
    "a word to nowhere": (replace("test/text", "u0 ", "u0 NEVER "), ["test/text", "NEVER"]),
    "a pipe": (first_of("touch ran |"), ["shell pipes are refused", "touch ran"]),
    "a device": (first_of("/dev/zero"), ["/dev/zero is not a regular file"]),
    "an offset far off": (first_of("feats.ark:99999999999"), ["truncated"]),
    "an offset too long": (first_of("feats.ark:" + "9" * 30), ["is not a regular file"]),
    "features cut": (cut("train/feats.ark", 7), ["feats.ark", "truncated"]),
    "alignment cut": (cut("train/ali.ark", 7), ["ali.ark", "truncated"]),
    "alignment gone": (write("train/ali.ark", ""), ["ali.ark", "truncated"]),
    "a bomb of rows": (head(2**31 - 1, 2**31 - 1), ["feats.ark", "truncated"]),
    "rows of nothing": (head(2**31 - 1, 0), ["2147483647 rows and 0 columns"]),
    "negative rows": (head(-1, 5), ["-1 rows"]),
    "no features at all": (each("train", "feats", lambda x: x[:, :0]), ["0 columns"]),
    "not finite": (each("train", "feats", not_finite), ["train-s0-u0", "frame 2", "not finite"]),
    "other dims in dev": (each("dev", "feats", lambda x: x[:, :3]), ["3 feature dims", "5"]),
    "other dims in test": (each("test", "feats", lambda x: x[:, :3]), ["3 feature dims", "5"]),
    "a label out of range": (each("dev", "ali", lambda x: x + 1), ["label 6", "0..5"]),
    "a label too many": (each("dev", "ali", lambda x: np.append(x, x[:1])), ["labels, wanted"]),
    "labels that are floats": (each("train", "ali", np.float32), ["vector of int32", "FV"]),
    "gz cut": (gz(lambda ark: gzip.compress(ark)[:-9]), ["ali.1.gz", "truncated"]),
    "no gz": (gz(lambda ark: ark), ["ali.1.gz", "Not a gzipped file"]),
    "text cut": (gz(lambda _: gzip.compress(b"train-s0-u0 0 0 1")), ["ends within a vector"]),
    "a number without end": (gz(lambda _: gzip.compress(b"x " + b"9" * 5000)), ["ali.1.gz"]),
    "no classes": (write("num_pdfs", "0"), ["num_pdfs: wanted 1 to"]),
    "too many classes": (write("num_pdfs", "1000000000"), ["num_pdfs", "wanted"]),
    "digits without end": (write("num_pdfs", "9" * 5000), ["num_pdfs: wanted one number"]),
    "a pdf without end": (append("lang/units.txt", "z " + "9" * 5000), ["units.txt:5", "unit z"]),
    "a reserved word": (append("lang/lexicon.txt", "<eps> a\n"), ["lexicon.txt:6", "'<eps>'"]),
    "no language model": (write("lang/lm.arpa", ""), ["lm.arpa cannot be read"]),
    "half of one": (cut("lang/lm.arpa", 90), ["lm.arpa cannot be read"]),
    "another language's": (
        write("lang/lm.arpa", "\\data\\\nngram 1=2\n\n\\1-grams:\n-1 </s>\n-9 <s>\n\n\\end\\\n"),
        ["no word of lexicon.txt"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_damaged_corpus_is_named_before_any_training(case: str, data: Path) -> None:
    damage, words = CASES[case]
    damage(data)
    line = refused(essence())
    assert all(word in line for word in words), line
    assert not Path("ran").exists()


@pytest.mark.parametrize("name", ["train/text", "train/feats.scp", "lang/lexicon.txt"])
def test_byte_order_mark_and_crlf_are_accepted(name: str, data: Path) -> None:
    text = (data / name).read_text()
    (data / name).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    ran = essence()
    assert ran.exit_code == 0, ran.output
    assert "left out of" not in ran.stderr
    assert "5 words in the lexicon" in ran.stderr


def test_features_outside_float16_are_named(data: Path) -> None:
    each("test", "feats", lambda features_TF: features_TF * np.float32(1e6))(data)
    settings = ("corpus.features.dtype=float16", "corpus.features.cmvn=none")
    assert "does not fit float16" in refused(essence("corpus", *settings))


@pytest.mark.parametrize("device", ["cuda:99", "mps"])
def test_missing_device_is_named(device: str, data: Path) -> None:
    assert essence().exit_code == 0
    ran = essence("ensemble", f"device={device}")
    assert ran.exit_code == 2
    assert f"device {device}: this machine has" in ran.stderr.splitlines()[-1]


def test_work_directory_that_is_a_file_is_named(data: Path) -> None:
    Path("work").write_text("x")
    ran = essence()
    assert ran.exit_code == 1
    assert "essence: the system says: " in ran.stderr
    assert os.fspath("work") in ran.stderr
