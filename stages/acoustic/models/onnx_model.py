"""OnnxModel: an acoustic model in ONNX, run by onnxruntime. No torch is loaded.

    model.onnx   features (B, T, F) float32, lengths (B,) int64 -> log_posteriors (B, T, C) float32
    onnx.json    what it is: OnnxAbout, with the SHA-256 of model.onnx

The output is the natural log of the posterior over the classes. B and T are free; every length is
at least 1; rows past a length mean nothing.

Shapes: B utterances, T frames of the longest, F feature dims, C classes.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stages.acoustic.models.onnx_session import open_session
from stages.acoustic.models.pieces import cut_frames
from stages.contract.description import read_description
from stages.contract.errors import BadInput, MissingPart
from stages.contract.settings import Settings
from storage.files.fingerprint import SHORT, file_digest

ONNX_FILE = "model.onnx"
ONNX_ABOUT_FILE = "onnx.json"
FEATURES, LENGTHS, LOG_POSTERIORS = "features", "lengths", "log_posteriors"
Precision = Literal["float32", "int8"]


class OnnxAbout(Settings):
    """What model.onnx is. `fingerprint` is the SHA-256 of the file."""

    format: Literal["essence onnx 1"] = "essence onnx 1"
    architecture: str  # in words
    precision: Precision
    quantisation: str = ""  # in words; empty for float32
    opset: int
    feature_dim: int = Field(ge=1)
    num_classes: int = Field(ge=1)
    class_inventory: str
    num_parameters: int
    fingerprint: str

    @property
    def title(self) -> str:
        """A few words for messages."""
        return f"{self.architecture}, ONNX, {self.precision}"


class OnnxModel:
    """model.onnx of a directory, on one thread of the processor unless more are asked for."""

    def __init__(self, directory: Path, *, threads: int = 1) -> None:
        """Raises BadInput if the file is damaged, or is not the one that onnx.json describes."""
        self.about = read_onnx_about(directory)
        path = directory / ONNX_FILE
        found = file_digest(path) if path.is_file() else "no file"
        if found != self.about.fingerprint:
            raise BadInput(
                f"{path}: found {found[:SHORT]}, {ONNX_ABOUT_FILE} names "
                f"{self.about.fingerprint[:SHORT]}: copy the folder again, or export again"
            )
        self._session = open_session(path, threads=threads)

    def log_posteriors(
        self, features_BTF: NDArray[np.float32], lengths_B: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Natural-log posteriors (B, T, C) of a padded batch."""
        inputs = {FEATURES: features_BTF, LENGTHS: lengths_B}
        (logp_BTC,) = self._session.run([LOG_POSTERIORS], inputs)
        found: NDArray[np.float32] = logp_BTC
        return found

    def of_utterance(self, features_TF: NDArray[np.float32]) -> NDArray[np.float32]:
        """Natural-log posteriors (T, C) of one utterance of any length, in pieces if it is long."""
        found_TC = np.empty((len(features_TF), self.about.num_classes), np.float32)
        for first, start, stop, last in cut_frames(len(features_TF)):
            piece_BTF = np.ascontiguousarray(features_TF[None, first:last])
            logp_BTC = self.log_posteriors(piece_BTF, np.array([last - first], np.int64))
            found_TC[start:stop] = logp_BTC[0, start - first : stop - first]
        return found_TC


def read_onnx_about(directory: Path) -> OnnxAbout:
    """The description of the model in `directory`; the model is not read.

    Raises:
        MissingPart: if no exported model is there.
        BadInput: if onnx.json is damaged.
    """
    path = directory / ONNX_ABOUT_FILE
    if not path.is_file():
        raise MissingPart(f"{path} is missing: run 'essence export' to make such a folder")
    return read_description(OnnxAbout, path, advice="copy the folder again, or export again")
