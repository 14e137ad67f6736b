"""The onnx kind of member: a model in ONNX, run by onnxruntime on the processor.

Shapes: T rows of the corpus, F feature dims, S samples, N frames and M classes of the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.acoustic.models.onnx_session import open_session
from stages.contract.errors import BadInput
from stages.members.foreign.make import ForeignKind
from stages.members.foreign.onnx_settings import MODEL, OnnxMemberSettings

DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxRunner:
    """A session, and which of its inputs and outputs are used."""

    session: Any
    features: Any  # onnxruntime.NodeArg; it may take samples
    lengths: Any | None
    output: Any

    num_parameters = None  # weights and other constants look the same

    @property
    def feature_dim(self) -> int | None:
        """The last dimension of the input, unless it is free."""
        last = self.features.shape[-1] if self.features.shape else None
        return last if isinstance(last, int) else None

    @property
    def class_inventory(self) -> str | None:
        """The value of `class_inventory` in the model's metadata."""
        found = self.session.get_modelmeta().custom_metadata_map.get("class_inventory")
        return None if found is None else str(found)

    def run(self, values: Tensor) -> Tensor:
        """The chosen output (1, N, M) of features (T, F) or samples (S,), on their device."""
        batch = values[None].cpu().numpy().astype(DTYPES[self.features.type])
        inputs = {self.features.name: batch}
        if self.lengths is not None:
            inputs[self.lengths.name] = np.array([len(values)], DTYPES[self.lengths.type])
        (output,) = self.session.run([self.output.name], inputs)
        return torch.from_numpy(output).to(values.device)


def load_onnx(settings: OnnxMemberSettings, folder: Path, _device: str) -> OnnxRunner:
    """The model in the artefact.

    Raises:
        BadInput: if onnxruntime cannot load it, or it has no input or output of that name.
    """
    path = folder / MODEL
    session = open_session(path, threads=settings.threads)
    where = f"{settings.onnx} (copied to {path})"
    inputs, outputs = session.get_inputs(), session.get_outputs()
    lengths = None
    if settings.lengths_input is not None:
        lengths = _choose(inputs, settings.lengths_input, "lengths_input", where)
        inputs = [each for each in inputs if each is not lengths]
    features = _choose(inputs, settings.features_input, "features_input", where)
    unused = [each.name for each in inputs if each is not features]
    if unused:
        raise BadInput(
            f"{where}: its input {unused[0]!r} gets no value: wanted a model of features, and of "
            "lengths (lengths_input), alone"
        )
    for each in filter(None, (features, lengths)):
        if each.type not in DTYPES:
            known = ", ".join(DTYPES)
            raise BadInput(f"{where}: its input {each.name!r} is {each.type}, wanted {known}")
    _refuse_other_axes(features, settings, where)
    output = _choose(outputs, settings.output_name, "output_name", where)
    return OnnxRunner(session=session, features=features, lengths=lengths, output=output)


def _refuse_other_axes(node: Any, settings: OnnxMemberSettings, where: str) -> None:
    reads_audio = settings.input == "waveform"
    wanted = ("1", "samples") if reads_audio else ("1", "frames", "dims")
    if node.shape and len(node.shape) != len(wanted):
        cure = "features" if reads_audio else "waveform"
        raise BadInput(
            f"{where}: its input {node.name!r} has {len(node.shape)} axes, wanted "
            f"({', '.join(wanted)}) with input: {settings.input}: set input: {cure}, or export "
            "the model for one utterance"
        )
    if reads_audio and node.shape and isinstance(node.shape[1], int):
        raise BadInput(
            f"{where}: its input {node.name!r} takes {node.shape[1]} samples, no more and no less: "
            "export it with a free length"
        )


def _choose(found: Sequence[Any], name: str | None, setting: str, where: str) -> Any:
    """The node of this name; without a name the only one there is."""
    names = ", ".join(each.name for each in found) or "none"
    chosen = [each for each in found if name in (None, each.name)]
    what = "output" if setting == "output_name" else "input"
    if not chosen:
        raise BadInput(f"{where} has no {what} {name!r}, it has {names}: set {setting} to one")
    if len(chosen) > 1:
        raise BadInput(f"{where} has several {what}s ({names}): set {setting} to one of them")
    return chosen[0]


ONNX = ForeignKind(settings=OnnxMemberSettings, load=load_onnx).row()
