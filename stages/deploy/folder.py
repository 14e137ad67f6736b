"""Deployment: a folder with a model and all that it takes to transcribe speech. No torch is loaded.

model.onnx, onnx.json   the acoustic model (acoustic/models/onnx_model.py)
export.json             front end, decoding, checks, metrics: ExportAbout
priors.npy              log-priors of the classes (C,) float32, which decoding subtracts
cmvn.json               sums over the training speech, for speakers of whom little is known
graph/                  HLG.fst and words.txt
lang/                   lexicon.txt, units.txt, lm.arpa; none for a graph of Kaldi
README.md               the model card
files.sha256, made.json digests of all this, and what it was made from
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.features.cmvn_file import CMVN_FILE, read_moments
from stages.acoustic.features.filterbank import HIGH_HERTZ, LOW_HERTZ
from stages.acoustic.features.front_end import Moments
from stages.acoustic.features.front_end_settings import FrontEndSettings
from stages.acoustic.features.rates import FRAME_SHIFT_MS, SAMPLE_RATE
from stages.acoustic.lang.beam_search import SearchLimits
from stages.acoustic.lang.lang_folder import read_lang_folder
from stages.acoustic.lang.word_spans import Spellings
from stages.acoustic.models.onnx_model import ONNX_ABOUT_FILE, OnnxModel
from stages.contract.description import read_description
from stages.contract.errors import BadInput, MissingPart
from stages.contract.settings import Settings

EXPORT_FILE = "export.json"
PRIORS_FILE = "priors.npy"
GRAPH_FOLDER = "graph"
LANG_FOLDER = "lang"
CARD_FILE = "README.md"
STUDENT_FILE = "model.json"  # of acoustic/models/model_file.py, which loads torch
ADVICE = "copy the folder again, or export again"


class SoundSettings(Settings):
    """Samples -> log-mel features; all but `num_mel_bins` are constants of this program."""

    sample_rate: int = SAMPLE_RATE
    num_mel_bins: int
    frame_shift_ms: float = FRAME_SHIFT_MS
    low_hertz: float = LOW_HERTZ
    high_hertz: float = HIGH_HERTZ


class DecodingSettings(Settings):
    """The search, at the scale and penalty that were chosen on dev."""

    acoustic_scale: float
    insertion_penalty: float
    beam: float
    max_active: int
    min_active: int

    @property
    def limits(self) -> SearchLimits:
        """The states that survive a frame."""
        return SearchLimits(beam=self.beam, max_active=self.max_active, min_active=self.min_active)


class WordErrorRate(Settings):
    """A word error rate with its 95 % interval over speakers, as fractions."""

    rate: float
    low: float
    high: float


class Metrics(Settings):
    """Of this model on one split, by the code of 'essence evaluate'."""

    split: str
    word_error_rate: WordErrorRate
    float32_word_error_rate: float  # of the student in torch
    frame_error: float | None
    num_utterances: int
    num_words: int


class Equality(Settings):
    """How the exported float32 model agrees with the one in torch, on features of dev and test."""

    tolerance: float
    largest_difference: float  # of two log-probabilities
    num_batches: int
    num_frames: int


class ExportAbout(Settings):
    """The content of export.json. `sound` is None if the features were computed elsewhere."""

    format: Literal["essence export 1"] = "essence export 1"
    name: str
    sound: SoundSettings | None
    features: FrontEndSettings
    row_ms: float  # from one row of the model's input to the next
    decoding: DecodingSettings
    equality: Equality
    metrics: tuple[Metrics, ...]


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """An opened folder. `cmvn` are sums over the training speech; None if they are not known."""

    directory: Path
    about: ExportAbout
    sound: SoundSettings
    model: OnnxModel
    log_prior_C: NDArray[np.float32]
    spellings: Spellings | None
    cmvn: Moments | None

    @classmethod
    def open(cls, directory: Path, *, threads: int = 1) -> Self:
        """Read all but the graph.

        Raises:
            MissingPart: if this is no export, or one whose features cannot be computed here.
            BadInput: if a file is missing or damaged, or its features are those of a version of the
                program that computes them in another way.
        """
        about = read_export_about(directory)
        if about.sound is None:
            raise MissingPart(
                f"{directory}: the features of this model were computed by another program, which "
                "'essence transcribe' cannot repeat: run model.onnx on features of that program"
            )
        if about.sound != SoundSettings(num_mel_bins=about.sound.num_mel_bins):
            raise BadInput(
                f"{directory}: its features ({about.sound}) are not those of this version: use the "
                "version of the program that made.json names"
            )
        lang = directory / LANG_FOLDER
        return cls(
            directory=directory,
            about=about,
            sound=about.sound,
            model=OnnxModel(directory, threads=threads),
            log_prior_C=_read_priors(directory / PRIORS_FILE),
            spellings=Spellings.of(read_lang_folder(lang)) if lang.is_dir() else None,
            cmvn=read_moments(path) if (path := directory / CMVN_FILE).is_file() else None,
        )


def is_export(directory: Path) -> bool:
    """Does the folder hold an exported model?"""
    return (directory / ONNX_ABOUT_FILE).is_file()


def refuse_other_folder(directory: Path) -> None:
    """Make sure that a directory that is no export may be a student, before torch is loaded.

    Raises:
        MissingPart: if it is neither.
    """
    if directory.is_file():
        raise MissingPart(f"{directory} is a file: name the folder that 'essence export' made")
    if directory.is_dir() and not (directory / STUDENT_FILE).is_file():
        raise MissingPart(
            f"{directory} holds no exported model ({ONNX_ABOUT_FILE}) and no student "
            f"({STUDENT_FILE}): name a folder that 'essence export' made"
        )


def read_export_about(directory: Path) -> ExportAbout:
    """export.json of a folder.

    Raises:
        MissingPart: if there is none.
        BadInput: if it is damaged.
    """
    path = directory / EXPORT_FILE
    if not path.is_file():
        raise MissingPart(f"{path} is missing: {ADVICE}")
    return read_description(ExportAbout, path, advice=ADVICE)


def _read_priors(path: Path) -> NDArray[np.float32]:
    try:
        priors: NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as cause:
        raise BadInput(f"{path} is missing or damaged ({cause}): {ADVICE}") from cause
    return priors
