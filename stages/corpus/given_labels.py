"""GivenLabels: alignments that Kaldi made, as pdf ids of a lang.

Labels out of range are errors. Steps that the HMMs of the lang do not have are counted: many mean
that alignment and graph were made with different trees.

Shapes: T frames, F feature dims.
"""

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.lang.kaldi_graph import KaldiGraph
from stages.acoustic.lang.lang_folder import AnyLang
from stages.contract.errors import BadInput
from stages.corpus.hmm_steps import HmmSteps
from stages.corpus.kaldi_alignments import Alignments
from stages.corpus.source import SPLITS
from storage.corpus.corpus_file import NO_LABEL

FITTING = 0.99  # share of HMM steps in an alignment; 1 if it was made with the graph's tree


class GivenLabels:
    """Reads alignments of a lang. `model` names its final.mdl: they are transition-ids then.

    `lang_name` and `settings`, the place of the settings, are for messages.
    """

    def __init__(self, lang: AnyLang, *, model: str | None, lang_name: str, settings: str) -> None:
        self._num_classes = lang.num_classes
        self._model = model
        self._transitions_file = model or f"{lang_name}/transitions.txt"
        self._settings = settings
        self._steps: dict[str, HmmSteps] = {}
        self._pdf_of_label: NDArray[np.int32] | None = None  # by transition-id, from 1
        if isinstance(lang, KaldiGraph):
            transitions, num_classes = lang.transitions, lang.num_classes
            self._steps = {s: HmmSteps(transitions, num_classes=num_classes) for s in SPLITS}
            if model:
                self._pdf_of_label = np.array([NO_LABEL, *transitions.pdfs], np.int32)

    def read(
        self, id: str, alignments: Alignments, *, split: str, where: object
    ) -> NDArray[np.int32]:
        """Pdf ids (T,) of an utterance that is aligned; `where` is the folder of its split.

        Raises:
            BadInput: naming utterance and frame, if a label is out of range.
        """
        labels_T = self._as_pdfs(alignments.read(id), f"{where}: utterance {id!r}")
        wrong_T = (labels_T < 0) | (labels_T >= self._num_classes)
        if wrong_T.any():
            frame = int(np.argmax(wrong_T))
            raise BadInput(
                f"{where}: utterance {id!r}, frame {frame}: label {int(labels_T[frame])} is "
                f"outside 0..{self._num_classes - 1}: are these pdf ids (not transition ids), and "
                "is num_pdfs right?"
            )
        if split in self._steps:
            self._steps[split].count(labels_T)
        return labels_T

    def remarks(self, split: str) -> list[str]:
        """A warning if the alignments of the split do not fit the HMMs of the lang."""
        if split not in self._steps or self._steps[split].share >= FITTING:
            return []
        remark = (
            f"{self._steps[split].share:.0%} of the changes of pdf in the alignment are "
            f"transitions of the HMMs in {self._transitions_file}, wanted all: alignment and graph "
            "were made with different trees, and all decoded words will be wrong: make both with "
            "the same final.mdl"
        )
        return [remark]

    def _as_pdfs(self, labels_T: NDArray[np.int32], where: str) -> NDArray[np.int32]:
        """The pdfs of an alignment: its transition-ids are looked up if there is a model."""
        pdf_of = self._pdf_of_label
        if pdf_of is None:
            return labels_T
        wrong_T = (labels_T < 1) | (labels_T >= len(pdf_of))
        if wrong_T.any():
            frame = int(np.argmax(wrong_T))
            raise BadInput(
                f"{where}, frame {frame}: {int(labels_T[frame])} is no transition-id of "
                f"{self._model} (1 to {len(pdf_of) - 1}): are alignment and model of one system? "
                f"Alignments of pdf ids go without {self._settings}.model, with "
                "lang/transitions.txt"
            )
        return pdf_of[labels_T]


def trimmed(
    features_TF: NDArray[np.float32],
    labels_T: NDArray[np.int32],
    *,
    id: str,
    allowed: int,
    settings: str,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Both, cut to the length of the shorter if they differ by at most `allowed` frames.

    Raises:
        BadInput: naming both lengths, if they differ by more.
    """
    num_frames = min(len(features_TF), len(labels_T))
    if max(len(features_TF), len(labels_T)) - num_frames > allowed:
        raise BadInput(
            f"utterance {id!r}: {len(features_TF)} frames of features and {len(labels_T)} "
            f"labels, wanted a difference of at most {allowed}: align again, "
            f"or set {settings}.max_length_difference (at most 1)"
        )
    return features_TF[:num_frames], labels_T[:num_frames]
