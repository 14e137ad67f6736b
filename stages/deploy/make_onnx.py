"""model -> model.onnx: log-posteriors of a padded batch, with free batch size and length.

The exporter is torch's older one (TorchScript). It exports packed sequences, so that GRU and LSTM
read the lengths, and takes 0.3 seconds; the newer one (dynamo) refuses packed sequences, takes 6 to
14 seconds, and gives the same operators for convolutions once onnxruntime has simplified both.
It traces one batch: what a model decides by the values or the length of its input is lost. So every
export is compared with the model on batches of other shapes (equality.py).

Shapes: B utterances, T frames of the longest, F feature dims, C classes.
"""

import io
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import torch
from torch import Tensor, nn

from stages.acoustic.models.architectures import AcousticModel
from stages.acoustic.models.onnx_model import FEATURES, LENGTHS, LOG_POSTERIORS
from stages.contract.errors import BadInput

OPSET = 17  # the first with LayerNormalization
TRACED_LENGTHS = (11, 7)  # longest first: any lengths give the same graph


class LogPosteriors(nn.Module):
    """A model whose output is normalised: (B, T, C), natural log, float32."""

    def __init__(self, model: AcousticModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, features_BTF: Tensor, lengths_B: Tensor) -> Tensor:
        """Log-posteriors of a padded batch."""
        return torch.log_softmax(self.model(features_BTF, lengths_B).float(), dim=2)


def make_onnx(model: AcousticModel) -> bytes:
    """The model as an ONNX file. The same model gives the same bytes.

    Raises:
        BadInput: if the exporter does not support what the model does, as may be with custom code.
    """
    lengths_B = torch.tensor(TRACED_LENGTHS)
    features_BTF = torch.zeros(len(TRACED_LENGTHS), max(TRACED_LENGTHS), model.feature_dim)
    free = {0: "B", 1: "T"}
    file = io.BytesIO()
    try:
        with torch.no_grad(), _quiet():
            torch.onnx.export(
                LogPosteriors(model).eval(),
                (features_BTF, lengths_B),
                file,  # type: ignore[arg-type]  # a file object is taken too
                dynamo=False,
                opset_version=OPSET,
                input_names=[FEATURES, LENGTHS],
                output_names=[LOG_POSTERIORS],
                dynamic_axes={FEATURES: free, LENGTHS: {0: "B"}, LOG_POSTERIORS: free},
            )
    except Exception as cause:
        reason = " ".join(str(cause).split())
        raise BadInput(
            f"the architecture {model.settings.kind} cannot be exported to ONNX "
            f"({type(cause).__name__}: {reason[:300]}): use operators of ONNX opset {OPSET}"
        ) from cause
    exported = onnx.load_from_string(file.getvalue())
    if LENGTHS not in {each.name for each in exported.graph.input}:
        # The exporter drops it where custom code does not read it; callers give it to any model.
        lengths = onnx.helper.make_tensor_value_info(LENGTHS, onnx.TensorProto.INT64, ["B"])
        exported.graph.input.append(lengths)
    onnx.checker.check_model(exported)
    content: bytes = exported.SerializeToString(deterministic=True)
    return content


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on its age and on shapes that it need not know.

    The C++ part writes them to file descriptor 2, past Python's stderr.
    """
    kept = os.dup(2)
    with warnings.catch_warnings(), tempfile.TemporaryFile() as nowhere:
        warnings.simplefilter("ignore")
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
