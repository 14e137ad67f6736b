"""Makers of foreign members: small models of torch, as the files that other programs write."""

import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from stages.acoustic.models.permission import allow_factories
from stages.ensemble.make import make_member
from stages.ensemble.settings import EnsembleSettings
from stages.members.settings import MemberSettings
from tests.support.makers.training import FEATURE_DIM, NUM_CLASSES, RecordingProgress

MOST_ROWS = 20000  # that the exported programs take
MODULE = """
import numpy as np

class Model:
    num_parameters = 40

    def __init__(self, options):
        rng = np.random.default_rng(options.get("seed", 0))
        self.weights_DC = rng.normal(size=(options["dim"], options["classes"]))

    def posteriors(self, features_TD):
        return features_TD @ self.weights_DC
"""


class Net(nn.Module):
    """One convolution in time: logits (B, N, M) of features (B, T, F), with odd sizes."""

    def __init__(
        self,
        *,
        classes: int = NUM_CLASSES,
        dim: int = FEATURE_DIM,
        kernel: int = 3,
        stride: int = 1,
        padding: int = 1,
        dropout: float = 0.0,
        seed: int = 3,
    ) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.conv = nn.Conv1d(dim, classes, kernel, stride=stride, padding=padding)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features_BTF: Tensor) -> Tensor:
        """Logits."""
        logits_BMN = self.conv(self.dropout(features_BTF).transpose(1, 2))
        return logits_BMN.transpose(1, 2)


class WithLengths(nn.Module):
    """A net that takes lengths, and returns them after the logits."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, features_BTF: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and lengths."""
        return self.net(features_BTF), lengths_B + 0


class Normalised(nn.Module):
    """A net with another output than logits."""

    def __init__(self, net: nn.Module, output: str) -> None:
        super().__init__()
        self.net, self.output = net, output

    def forward(self, features_BTF: Tensor) -> Tensor:
        """Log-probabilities or probabilities."""
        logits_BTC = self.net(features_BTF)
        if self.output == "probs":
            return logits_BTC.softmax(2)
        return logits_BTC.log_softmax(2) if self.output == "log_probs" else logits_BTC


def write_onnx(
    path: Path,
    net: nn.Module,
    *,
    dim: int = FEATURE_DIM,
    takes_lengths: bool = False,
    example: Tensor | None = None,
    is_free: bool = True,
) -> Path:
    """The net in ONNX, with free length, of features or of inputs like the example."""
    inputs: tuple[Tensor, ...] = (torch.zeros(1, 23, dim) if example is None else example,)
    names = ["x"]
    if takes_lengths:
        inputs, names = (*inputs, torch.tensor([23])), ["x", "x_lens"]
    outputs = ["y", "y_lens"] if takes_lengths else ["y"]
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that exporter is the quicker one
        torch.onnx.export(
            net.eval(),
            inputs,
            file,  # type: ignore[arg-type]  # a file object is taken too
            dynamo=False,
            opset_version=17,
            input_names=names,
            output_names=outputs,
            dynamic_axes={"x": {1: "T"}, "y": {1: "N"}} if is_free else {},
        )
    path.write_bytes(file.getvalue())
    return path


def move_weights_out(path: Path, *, name: str) -> None:
    """Move the weights of an ONNX file into a file of their own next to it."""
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location=name, size_threshold=0)


def write_torchscript(path: Path, net: nn.Module, *inputs: Tensor, training: bool = False) -> Path:
    """The net, scripted; or traced, if there are inputs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        jit: Any = torch.jit
        net = net.train(training)
        jit.save(jit.trace(net, inputs) if inputs else jit.script(net), path)
    return path


def write_exported(
    path: Path,
    net: nn.Module,
    *,
    dim: int = FEATURE_DIM,
    training: bool = False,
    least_rows: int = 1,
    most_rows: int = MOST_ROWS,
    example: Tensor | None = None,
) -> Path:
    """The net as a program of torch.export, with free length: see `write_onnx`."""
    rows = torch.export.Dim("T", min=least_rows, max=most_rows)
    inputs = (torch.zeros(1, 23, dim) if example is None else example,)
    program = torch.export.export(net.train(training), inputs, dynamic_shapes=({1: rows},))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, path)
    return path


def write_module(folder: Path, *, name: str = "their_model", text: str = MODULE) -> str:
    """A module with a factory; returns `module:factory`. Its folder must be in sys.path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(text)
    return f"{name}:Model"


def read_member(**written: Any) -> MemberSettings:
    """Settings of one member, as a settings file has them; what they trust is permitted."""
    members = [{"name": "theirs", **written}]
    (member,) = EnsembleSettings.model_validate({"members": members}).members
    allow_factories(member.own_architectures())
    return member


def make_foreign(
    directory: Path, corpus: Path, settings: Mapping[str, Any] | MemberSettings
) -> Path:
    """A member in `directory`, as `essence ensemble` makes it."""
    directory.mkdir(parents=True, exist_ok=True)
    make_member(
        settings if isinstance(settings, MemberSettings) else read_member(**settings),
        corpus_directory=corpus,
        directory=directory,
        device="cpu",
        progress=RecordingProgress(),
    )
    return directory


def log_softmax64(logits: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Log-posteriors of logits over the last axis, in float64."""
    logits = np.asarray(logits, np.float64)
    logits = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True)))
