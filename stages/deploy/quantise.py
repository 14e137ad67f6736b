"""model.onnx -> the same with weights and products of 8 bits, by onnxruntime.

    convolutions          static: ranges of the activations are measured on features of train
    matrices, LSTM        dynamic: ranges are found at run time (GRU stays float32)

Dynamic convolutions were twice as slow as float32; static matrices moved log-posteriors by half as
much again, most of it in the first and the last one, and were no faster.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from stages.acoustic.models.onnx_model import FEATURES, LENGTHS
from storage.corpus.corpus_file import CorpusFile

CALIBRATION_UTTERANCES = 100
Inputs = dict[str, NDArray[np.generic]]
STATIC, DYNAMIC = ("Conv",), ("MatMul", "Gemm", "LSTM")


def quantise(content: bytes, train: CorpusFile) -> tuple[bytes, str]:
    """The file in int8, and how it was quantised in a few words. The same input, the same bytes."""
    with tempfile.TemporaryDirectory() as folder:
        whole, prepared, half, done = (Path(folder) / f"{n}.onnx" for n in range(4))
        whole.write_bytes(content)
        quant_pre_process(whole, prepared, skip_symbolic_shape=True)
        how = "dynamic"
        if any(node.op_type in STATIC for node in onnx.load(prepared).graph.node):
            calibration = _Calibration(train)
            quantize_static(
                prepared,
                half,
                calibration,
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(STATIC),
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
            )
            utterances = f"{calibration.num_utterances} utterances of train"
            how = f"convolutions static, calibrated on {utterances}; matrices dynamic"
            prepared = half
        quantize_dynamic(
            prepared,
            done,
            op_types_to_quantize=list(DYNAMIC),
            weight_type=QuantType.QInt8,
            per_channel=True,
        )
        return done.read_bytes(), how


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Utterances spread evenly over train, one a batch."""

    def __init__(self, train: CorpusFile) -> None:
        rows = [index for index, row in enumerate(train.utterances) if row.num_frames]
        step = max(1, len(rows) // CALIBRATION_UTTERANCES)
        chosen = rows[::step][:CALIBRATION_UTTERANCES]
        self.num_utterances = len(chosen)
        self._batches = self._read(train, chosen)

    def _read(self, train: CorpusFile, chosen: list[int]) -> Iterator[Inputs]:
        for index in chosen:
            features_TF = train.features(index)
            yield {FEATURES: features_TF[None], LENGTHS: np.array([len(features_TF)])}

    def get_next(self) -> Inputs | None:
        """The next batch; None after the last."""
        return next(self._batches, None)
