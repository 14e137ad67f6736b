"""House: a work directory with artefacts of every stage, twice: other corpora, teachers, students.

Made by the commands, in this process, from a small Kaldi directory.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml
from click.testing import CliRunner, Result

from pipeline.cli import main
from tests.support.makers.kaldi import make_kaldi_directory

SMALL = {"kind": "tdnn", "hidden": 8, "layers": 1}
QUICK = {"epochs": 1, "batch_frames": 100}
SETTINGS = {
    "ensemble": {
        "members": [
            {"name": name, "architecture": SMALL, "training": {**QUICK, "seed": seed}}
            for name, seed in (("one", 1), ("two", 2))
        ]
    },
    "teacher": {"kept": 5, "combine": "arithmetic", "shard_frames": 256, "chunk_frames": 64},
    "student": {
        "k": 3,
        "hard_weight": 0.5,
        "architecture": SMALL,
        "training": {**QUICK, "seed": 3},
    },
    "compare": [{"hard_weight": 1.0}],
    "evaluate": {
        "beam": 8.0,
        "max_active": 300,
        "acoustic_scales": [0.2],
        "insertion_penalties": [0.0],
        "processes": 1,
    },
    "report": {"bootstrap_samples": 100},
}


@dataclass(frozen=True, slots=True)
class House:
    """A directory with pipeline.yaml and the work directory `work`."""

    directory: Path

    @property
    def work(self) -> Path:
        """The work directory."""
        return self.directory / "work"

    def run(self, *words: str) -> Result:
        """A command of `essence` with the house's settings."""
        settings = ["--config", str(self.directory / "pipeline.yaml")]
        work = ["--set", f"work_dir={self.work}"]
        return CliRunner().invoke(main, [words[0], *settings, *work, *words[1:]])

    def copy(self, directory: Path) -> "House":
        """The same in another directory, to be damaged."""
        shutil.copytree(self.directory, directory, symlinks=True)
        return House(directory)

    def all(self, stage: str) -> list[Path]:
        """The artefacts of a stage."""
        return sorted(self.work.glob(f"{stage}-*"))


def make_house(directory: Path) -> House:
    """`essence run`; then teachers of another K, and the corpus with other features."""
    data = make_kaldi_directory(directory / "data")
    settings = {"corpus": {"source": "kaldi", "path": str(data)}, **SETTINGS}
    (directory / "pipeline.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    house = House(directory)
    for words in (
        ("teacher", "--set", "teacher.kept=4"),
        ("corpus", "--set", "corpus.features.deltas=1"),
        ("run",),
    ):
        if words[0] == "teacher":
            for first in ("corpus", "ensemble"):
                assert house.run(first).exit_code == 0
        done = house.run(*words)
        assert done.exit_code == 0, done.output
    return house


def make_early(place: Path) -> None:
    """Turn the record and list of an artefact into those that earlier versions wrote."""
    record = json.loads((place / "made.json").read_text())
    del record["files"], record["digest"]
    (place / "made.json").write_text(json.dumps(record))
    digest = hashlib.sha256((place / "made.json").read_bytes()).hexdigest()
    with (place / "files.sha256").open("a") as file:
        file.write(f"{digest}  made.json\n")
