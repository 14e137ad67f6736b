"""system, corpus, soft labels -> calibration, fidelity to the teacher and speed, on dev.

Separate from the word errors, since it depends on the teacher: soft labels of another teacher need
another pass over dev, but no decoding.
"""

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from stages.contract.progress import Progress
from stages.contract.results import SPEED_FILE, FrameQuality, Speed, System
from stages.evaluate.calibration import CalibrationTally
from stages.evaluate.fidelity import FidelityTally
from stages.evaluate.likelihoods import average_members, run_members
from stages.evaluate.speed import real_time_factor
from storage.care.match import match_corpus
from storage.corpus.corpus_file import CorpusFile
from storage.files.leftovers import scratch_folder
from storage.files.publish import publish_file
from storage.format.tiers import ranks_to_show
from storage.read.reader import SoftLabelStore, open_store

QUALITY_FILE = "frames.json"
SPLIT = "dev"


def measure_frames(
    system: System,
    *,
    corpus_directory: Path,
    store: Path | None,
    directory: Path,
    batch_frames: int,
    device: str,
    progress: Progress,
) -> FrameQuality:
    """Calibration and fidelity to the labels in `store`; also written to frames.json.

    The speed goes into speed.json: the same inputs give the same bytes of frames.json.

    Raises:
        BadInput, BadPosterior, MissingPart: if a model does not fit the corpus or its output is
            no distribution.
        StoreError: if the store cannot be read, or was made from another corpus.
    """
    with ExitStack() as stack:
        corpus = stack.enter_context(CorpusFile(corpus_directory / f"{SPLIT}.h5"))
        labels = open_store(store) if store is not None and corpus.num_frames else None
        if labels is not None:
            match_corpus(labels, corpus)
        scratch = stack.enter_context(scratch_folder(directory / "posteriors"))
        run_members(
            system,
            {SPLIT: corpus},
            scratch,
            batch_frames=batch_frames,
            device=device,
            progress=progress,
        )
        quality = _measure(system, corpus, labels, scratch)
        speed = Speed(real_time_factor=real_time_factor(system.model_directories, corpus))
    publish_file(directory / SPEED_FILE, speed.model_dump_json().encode() + b"\n")
    publish_file(directory / QUALITY_FILE, quality.model_dump_json(indent=2).encode() + b"\n")
    return quality


def _measure(
    system: System, corpus: CorpusFile, labels: SoftLabelStore | None, scratch: Path
) -> FrameQuality:
    calibration, fidelity = CalibrationTally(), None
    if labels is not None:
        ranks = sorted({*ranks_to_show(labels.about.kept), *_own_rank(system, labels)})
        fidelity = FidelityTally(ranks=ranks, temperature=labels.about.temperature)
    for index, logp_TC in enumerate(average_members(system, SPLIT, corpus, scratch)):
        labels_T = corpus.labels(index)
        calibration.count(logp_TC, labels_T)
        row = corpus.utterances[index]
        if labels is not None and fidelity is not None and row.num_frames and row.id in labels:
            soft = labels.read_utterance(row.id, labels.about.kept)
            fidelity.count(np.asarray(logp_TC), soft, labels_T)
    return FrameQuality(
        calibration=calibration.result(),
        fidelity=fidelity.result(labels.digest) if fidelity and labels is not None else None,
    )


def _own_rank(system: System, labels: SoftLabelStore) -> list[int]:
    k = system.facts.k
    return [k] if k is not None and k <= labels.about.kept else []
