"""ONNX session: a model file, opened by onnxruntime on the processor. No torch is loaded."""

from pathlib import Path
from typing import Any

from stages.contract.errors import BadInput


def open_session(path: Path, *, threads: int) -> Any:
    """An onnxruntime.InferenceSession with so many threads, whatever the machine has.

    The number of threads is fixed, since sums in another order have other last bits. With one
    thread the calling thread computes, and processes side by side do not get in each other's way.

    Raises:
        BadInput: if onnxruntime cannot load the file.
    """
    import onnxruntime  # here: exports and ONNX members alone need it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as cause:  # its exceptions have no common class of their own
        reason = " ".join(str(cause).split())
        raise BadInput(
            f"{path}: onnxruntime cannot load the model ({reason[:300]}): wanted an ONNX model, "
            "with the files of its external data next to it"
        ) from cause
