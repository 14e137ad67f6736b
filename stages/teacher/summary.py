"""Summary: a sealed store in figures, from reading it back.

Shapes: T frames, K kept ranks.
"""

from dataclasses import dataclass

import numpy as np

from stages.contract.results import StoreSummary
from storage.corpus.corpus_file import NO_LABEL, CorpusFile
from storage.read.reader import SoftLabelStore
from storage.read.soft_labels import SoftLabels


@dataclass(slots=True)
class _Tally:
    mass: dict[int, float]
    entropy: float = 0.0
    num_labelled: int = 0
    num_wrong: int = 0
    num_frames: int = 0

    def add(self, labels: SoftLabels) -> None:
        prob_TK = np.exp(labels.logp_TK.astype(np.float64))
        self.num_frames += labels.num_frames
        for k in self.mass:
            self.mass[k] += float(prob_TK[:, :k].sum())
        q_TK = prob_TK / prob_TK.sum(axis=1, keepdims=True)
        self.entropy -= float((q_TK * np.log(q_TK)).sum())


def ranks_to_show(kept: int) -> tuple[int, ...]:
    """1, 2, 4, ... and K itself."""
    powers = [1 << power for power in range(kept.bit_length()) if 1 << power < kept]
    return (*powers, kept)


def summarise_store(store: SoftLabelStore, corpus: CorpusFile) -> StoreSummary:
    """Kept mass, bytes, frame error of the teacher, entropy: one pass, shard by shard."""
    ranks = ranks_to_show(store.about.kept)
    tally = _Tally(mass=dict.fromkeys(ranks, 0.0))
    for shard in range(store.num_shards):
        for index in store.shard(shard):
            row = store.utterances[index]
            labels = store.read_utterance(row.id, store.about.kept)
            tally.add(labels)
            hard_T = corpus.labels(corpus.index_of(row.id))
            known_T = hard_T != NO_LABEL
            tally.num_labelled += int(known_T.sum())
            tally.num_wrong += int((labels.ids_TK[:, 0] != hard_T)[known_T].sum())
    frames = max(1, tally.num_frames)
    opened = store.bytes_by_tier()
    return StoreSummary(
        split=store.about.split,
        digest=store.digest,
        num_utterances=len(store.utterances),
        num_frames=store.num_frames,
        num_classes=store.about.num_classes,
        kept=store.about.kept,
        kept_mass={k: min(1.0, mass / frames) for k, mass in tally.mass.items()},
        bytes_per_frame={
            k: min(size for last, size in opened.items() if last >= k) / frames for k in ranks
        },
        teacher_frame_error=tally.num_wrong / tally.num_labelled if tally.num_labelled else None,
        mean_entropy=tally.entropy / frames,
        left_out=store.about.left_out,
    )


def describe(summary: StoreSummary, frames_per_second: float) -> str:
    """One line for the person who waits."""
    mass = ", ".join(f"k={k}: {mass:.4f}" for k, mass in summary.kept_mass.items())
    left_out = f", {len(summary.left_out)} utterances left out" if summary.left_out else ""
    pace = f"{frames_per_second:.0f} frames a second" if frames_per_second else "was there already"
    return (
        f"{summary.split}: {pace}, "
        f"{summary.bytes_per_frame[summary.kept]:.1f} bytes a frame, kept mass {mass}{left_out}"
    )
