"""int8: what is quantised, how far it moves, and the same bytes twice."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from stages.acoustic.models.onnx_model import ONNX_FILE
from stages.deploy.quantise import quantise
from storage.corpus.corpus_file import CorpusFile
from tests.stages.deploy.test_make_onnx import exported, made
from tests.support.makers.training import make_corpus


@pytest.mark.parametrize(
    ("kind", "how", "operator"),
    [
        ("tdnn", "convolutions static", "QuantizeLinear"),
        ("conv", "convolutions static", "QuantizeLinear"),
        ("gru", "dynamic", "MatMulInteger"),
        ("lstm", "dynamic", "DynamicQuantizeLSTM"),
    ],
)
def test_int8_is_close_to_float32_smaller_and_the_same_twice(
    tmp_path: Path, kind: str, how: str, operator: str
) -> None:
    model = made({"kind": kind, "hidden": 64, "layers": 2})
    with CorpusFile(make_corpus(tmp_path / "train.h5")) as train:
        whole = exported(model, tmp_path)
        features_TF = train.features(0)
        wanted_TC = whole.of_utterance(features_TF)
        content = (tmp_path / ONNX_FILE).read_bytes()
        found, described = quantise(content, train)
        assert quantise(content, train)[0] == found
    assert described.startswith(how)
    assert operator in {node.op_type for node in onnx.load_from_string(found).graph.node}
    assert len(found) < 0.6 * len(content) or kind == "gru"  # onnxruntime quantises no GRU
    (tmp_path / ONNX_FILE).write_bytes(found)
    import onnxruntime

    session = onnxruntime.InferenceSession(found)
    inputs = {"features": features_TF[None], "lengths": np.array([len(features_TF)])}
    found_TC = session.run(None, inputs)[0][0]
    assert 0 < np.abs(found_TC - wanted_TC).mean() < 0.1
