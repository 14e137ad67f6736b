"""Makers for the labels stage: a partly transcribed corpus, its graph, two members, one run.

    python -m tests.support.makers.labels HOUSE DIRECTORY PARTS

labels the house in small parts, and is killed (SIGKILL) when so many parts are written.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from stages.acoustic.lang.graph import build_graph
from stages.acoustic.lang.lang import read_lang
from stages.contract.progress import Progress, SilentProgress
from stages.corpus.build import build_corpus
from stages.corpus.settings import CorpusSettings
from stages.labels import label, plan
from stages.labels.settings import PathSettings
from stages.members.trained import train_member
from stages.members.trained_settings import TrainedMemberSettings
from tests.support.makers.kaldi import add_unlabelled_folder, make_kaldi_directory

FEATURES = {"cmvn": "global", "splice_left": 0, "splice_right": 0, "subsample": 1}
PATHS = PathSettings(
    combine="geometric",
    weights=None,
    input="copy",
    on_bad_posterior="fail",
    acoustic_scale=0.5,
    insertion_penalty=-0.5,
    prior_smoothing=1.0,
    beam=20.0,
    max_active=1000,
    min_active=200,
    batch_frames=300,
    threads=1,
    loaded_megabytes=64,
    processes=1,
)
SMALL_PARTS = 150  # frames: several parts of a few utterances


def make_house(root: Path) -> Path:
    """data/, corpus/ of 18 transcribed and 9 untranscribed utterances, graph/, one/, two/."""
    data = make_kaldi_directory(root / "data", sentences=18, noise=1.4)
    add_unlabelled_folder(data, "more", sentences=9, noise=1.4)
    for name in ("corpus", "graph", "one", "two"):
        (root / name).mkdir()
    settings = CorpusSettings.model_validate(
        {"source": "kaldi", "path": data, "features": FEATURES, "kaldi": {"unlabelled": ["more"]}}
    )
    build_corpus(settings, directory=root / "corpus", progress=SilentProgress())
    build_graph(read_lang(root / "corpus" / "lang"), root / "graph")
    for seed, name in enumerate(("one", "two")):
        member = TrainedMemberSettings.model_validate(
            {
                "name": name,
                "architecture": {"kind": "tdnn", "hidden": 13, "layers": 1},
                "training": {"epochs": 4, "batch_frames": 90, "learning_rate": 0.02, "seed": seed},
            }
        )
        train_member(
            member,
            corpus_directory=root / "corpus",
            directory=root / name,
            device="cpu",
            progress=SilentProgress(),
        )
    return root


def label_house(
    house: Path, directory: Path, progress: Progress | None = None, **changes: Any
) -> Path:
    """Run the stage over the house; returns `directory`, which may hold parts."""
    directory.mkdir(exist_ok=True)
    label.label_train(
        PathSettings.model_validate(PATHS.model_dump() | changes),
        members=[house / "one", house / "two"],
        corpus_directory=house / "corpus",
        graph_directory=house / "graph",
        directory=directory,
        device="cpu",
        progress=progress or SilentProgress(),
    )
    return directory


def _main(house: Path, directory: Path, num_parts: int) -> None:
    plan.PART_FRAMES = SMALL_PARTS
    write_part, written = label.write_part, []

    def write_and_die(*part: Any, **named: Any) -> None:
        write_part(*part, **named)
        written.append(part)
        if len(written) == num_parts:
            os.kill(os.getpid(), signal.SIGKILL)

    label.write_part = write_and_die
    label_house(house, directory)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
