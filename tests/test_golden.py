"""What users have on disk keeps its identity: store bytes, corpus fingerprints, recipe names.

tests/data/golden.json was written by the version before the folders were rearranged. A value
that differs means that every store, corpus, member or student made earlier would be made again.
A deliberate change of a format updates the file in the commit that explains it:

    ESSENCE_WRITE_GOLDEN=1 pytest tests/test_golden.py
"""

import json
import os
import wave
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import kaldiio
import numpy as np
import pytest
import yaml

from pipeline.job import Job
from pipeline.settings.read import read_settings
from pipeline.terminal.progress import TerminalProgress
from storage.corpus.corpus_file import CorpusAbout, CorpusFile
from storage.corpus.corpus_writer import CorpusWriter
from tests.support.makers.golden_stores import LENGTHS, STORES, store_digest
from tests.support.makers.kaldi import ARPA
from tests.support.paths import ROOT

GOLDEN = ROOT / "tests" / "data" / "golden.json"
PINNED = ("numpy", "zarr", "numcodecs", "h5py", "kaldiio")


def corpus_fingerprint(path: Path) -> str:
    about = CorpusAbout(
        split="train",
        frame_shift_ms=10.0,
        subsampling=3,
        feature_dim=3,
        num_classes=11,
        class_inventory="d" * 64,
        has_labels=True,
        feature_settings={"splice_left": 1},
    )
    with CorpusWriter(path, about) as writer:
        for number, length in enumerate(LENGTHS):
            frames_T = np.arange(length)
            writer.add(
                f"utt-{number}",
                speaker=f"speaker {number % 3}",
                transcript="ZERO ÖNE",
                features_TF=(frames_T[:, np.newaxis] / 4 + np.arange(3)).astype(np.float32),
                labels_T=(frames_T % 11) if number % 2 else None,
            )
    with CorpusFile(path) as corpus:
        return corpus.fingerprint


def integer_archive(folder: Path, name: str, arrays: dict[str, Any]) -> None:
    ark, scp = folder / f"{name}.ark", folder / f"{name}.scp"
    kaldiio.save_ark(str(ark), arrays, scp=str(scp))
    scp.write_text(scp.read_text().replace(f"{folder}/", ""))


def kaldi_directory(directory: Path) -> Path:
    """A Kaldi directory from integers alone, with posteriors and an untranscribed folder."""
    lang, post = directory / "lang", directory / "post"
    for folder in (lang, post):
        folder.mkdir(parents=True)
    (lang / "lexicon.txt").write_text("AB a b\nBA b a\nC c\nSEE c\nABC a b c\n")
    (lang / "units.txt").write_text("SIL 0\na 1 2\nb 3\nc 4 5\n")
    (lang / "lm.arpa").write_text(ARPA)
    (directory / "num_pdfs").write_text("6\n")
    for split in ("train", "dev", "test", "more"):
        folder = directory / split
        folder.mkdir()
        ids = [f"{split}-s{n % 2}-u{n}" for n in range(5)]
        shapes = {id: 7 + 3 * n for n, id in enumerate(ids)}
        feats = {i: np.arange(n * 4, dtype=np.float32).reshape(n, 4) for i, n in shapes.items()}
        integer_archive(folder, "feats", feats)
        (folder / "utt2spk").write_text("".join(f"{id} {id[:-3]}\n" for id in ids))
        if split != "more":
            (folder / "text").write_text("".join(f"{id} AB C\n" for id in ids))
            labels = {id: np.arange(n, dtype=np.int32) % 6 for id, n in shapes.items()}
            integer_archive(folder, "ali", labels)
            logp = {id: np.full((n, 6), -1.75, np.float32) for id, n in shapes.items()}
            integer_archive(post, split, logp)
    return directory


def audio_table(directory: Path) -> Path:
    """A table of three recordings, of integers alone."""
    directory.mkdir()
    lines = ["id\tpath\tspeaker\ttext"]
    for number in range(3):
        with wave.open(str(directory / f"{number}.wav"), "wb") as written:
            written.setnchannels(1)
            written.setsampwidth(2)
            written.setframerate(16_000)
            written.writeframes(np.arange(16_000, dtype="<i2").tobytes())
        lines.append(f"u{number}\t{number}.wav\ts{number}\tAB C")
    path = directory / "speech.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def settings_files(directory: Path) -> Iterator[tuple[str, list[str], Path]]:
    """Name, changes, file: the settings that the repository ships, and some odd ones."""
    kaldi = [f"corpus.path={directory}"]
    of_source = {"kaldi": kaldi, "audio": [f"corpus.path={audio_table(directory / 'audio')}"]}
    for path in (ROOT / "pipeline.yaml", *sorted((ROOT / "examples").glob("*.yaml"))):
        own = yaml.safe_load(path.read_text(encoding="utf-8"))
        yield path.name, of_source.get(own["corpus"].get("source"), []), path
    odd = {
        "corpus": {"source": "kaldi", "kaldi": {"unlabelled": ["more"], "labelled_share": 0.5}},
        "ensemble": {
            "members": [
                {"name": "given", "posteriors": "post", "posteriors_are": "log"},
                {"name": "folded", "folds": 2, "training": {"augmentation": {"noise": 0.1}}},
                {"name": "lstm", "architecture": {"kind": "lstm", "hidden": 33}},
            ]
        },
        "teacher": {
            "kept": 6,
            "combine": "arithmetic",
            "weights": [1, 2, 1],
            "temperatures": [2.0],
            "threads": 3,
        },
        "student": {
            "k": 3,
            "hard_weight": 0.5,
            "tail": "bucket",
            "temperature": 2.0,
            "name": "called",
            "training": {"epochs": 6, "seed": 0},
        },
        "compare": [{"hard_weight": 1.0, "label_smoothing": 0.1}, {"k": 1, "hard_weight": 0.0}],
    }
    path = directory / "odd.yaml"
    path.write_text(yaml.safe_dump(odd), encoding="utf-8")
    yield "odd.yaml", [*kaldi, f"ensemble.members.0.posteriors={directory / 'post'}"], path


def recipe_names(config: Path, changes: list[str], work: Path) -> dict[str, Any]:
    settings = read_settings(config, [*changes, f"work_dir={work}"])
    recipes = Job(settings, TerminalProgress()).recipes
    return {
        "corpus": recipes.corpus.fingerprint,
        "members": [member.fingerprint for member in recipes.members],
        "teacher": recipes.teacher.fingerprint,
        "students": [student.fingerprint for student in recipes.students],
    }


def found(tmp_path: Path) -> dict[str, Any]:
    directory = kaldi_directory(tmp_path / "kaldi")
    return {
        "stores": {n: store_digest(tmp_path / n, **changes) for n, changes in STORES.items()},
        "corpus": corpus_fingerprint(tmp_path / "corpus.h5"),
        "recipes": {
            name: recipe_names(path, changes, tmp_path / "work")
            for name, changes, path in settings_files(directory)
        },
    }


def pinned() -> bool:
    """Are the packages that make bytes those of constraints.txt?"""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    exact = dict(line.split("==") for line in lines if "==" in line)
    return all(metadata.version(name) == exact[name] for name in PINNED)


@pytest.mark.skipif(not pinned(), reason=f"needs the versions of constraints.txt: {PINNED}")
def test_golden_identities_are_those_of_the_version_before(tmp_path: Path) -> None:
    values = found(tmp_path)
    if "ESSENCE_WRITE_GOLDEN" in os.environ:
        GOLDEN.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    assert values == json.loads(GOLDEN.read_text(encoding="utf-8"))
