"""Exported models equal those in torch: all architectures, batches of all shapes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stages.acoustic.models import pieces
from stages.acoustic.models.architectures import build_model
from stages.acoustic.models.onnx_model import ONNX_FILE, OnnxAbout, OnnxModel
from stages.acoustic.models.permission import allow_factories
from stages.acoustic.models.settings import ArchitectureSettings
from stages.contract.errors import BadInput
from stages.deploy import equality
from stages.deploy.equality import PREFIXES, compare, compared_batches
from stages.deploy.make_onnx import OPSET, LogPosteriors, make_onnx
from storage.corpus.corpus_file import CorpusFile
from storage.files.fingerprint import file_digest
from tests.support.makers.training import FEATURE_DIM, INVENTORY, NUM_CLASSES, make_corpus

pytest.importorskip("onnx", reason="needs the extra 'export'")
ARCHITECTURES = [
    {"kind": "tdnn", "hidden": 11, "layers": 5},
    {"kind": "tdnn", "hidden": 11, "layers": 3, "right_context": 4},
    {"kind": "conv", "hidden": 10, "layers": 2},
    {"kind": "conv", "hidden": 10, "layers": 2, "right_context": 0},
    {"kind": "gru", "hidden": 9, "layers": 2},
    {"kind": "gru", "hidden": 9, "layers": 1, "right_context": 3},
    {"kind": "lstm", "hidden": 9, "layers": 2},
    {"kind": "lstm", "hidden": 9, "layers": 2, "right_context": 0},
]


def made(settings: dict[str, object]) -> LogPosteriors:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = build_model(ArchitectureSettings.model_validate(settings), FEATURE_DIM, NUM_CLASSES)
    model.set_normalisation(torch.full((FEATURE_DIM,), 5.0), torch.full((FEATURE_DIM,), 3.0))
    return LogPosteriors(model).eval()


def exported(model: LogPosteriors, directory: Path) -> OnnxModel:
    (directory / ONNX_FILE).write_bytes(make_onnx(model.model))
    about = OnnxAbout(
        architecture="any",
        precision="float32",
        opset=OPSET,
        feature_dim=FEATURE_DIM,
        num_classes=NUM_CLASSES,
        class_inventory=INVENTORY,
        num_parameters=1,
        fingerprint=file_digest(directory / ONNX_FILE),
    )
    (directory / "onnx.json").write_text(about.model_dump_json())
    return OnnxModel(directory)


@pytest.fixture
def corpus(tmp_path: Path) -> CorpusFile:
    return CorpusFile(make_corpus(tmp_path / "dev.h5", lengths=(31, 0, 140, 7, 1, 64)))


@pytest.mark.parametrize("settings", ARCHITECTURES, ids=lambda s: " ".join(map(str, s.values())))
def test_exported_model_equals_the_one_in_torch(
    corpus: CorpusFile, settings: dict[str, object], tmp_path: Path
) -> None:
    model = made(settings)
    found = compare(model, exported(model, tmp_path), [corpus])
    assert found.largest_difference < 1e-5
    assert found.num_frames > 2 * corpus.num_frames


def test_compared_batches_have_padding_one_frame_and_every_utterance(corpus: CorpusFile) -> None:
    batches = list(compared_batches(corpus))
    lengths = [sorted(lengths_B.tolist()) for _, _, lengths_B in batches]
    assert [1, 7, 31, 64, 140] in lengths
    assert [1] in lengths
    assert sorted(PREFIXES) in lengths
    padded_BTF = batches[-1][1]
    assert padded_BTF[0, 1:].all()  # padding that is not zero: a model that reads it differs


def test_same_model_gives_the_same_bytes() -> None:
    for settings in ARCHITECTURES[::3]:
        assert make_onnx(made(settings).model) == make_onnx(made(settings).model)


def test_long_utterance_in_pieces_equals_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = exported(made({"kind": "tdnn", "hidden": 11, "layers": 2}), tmp_path)
    features_TF = np.random.default_rng(1).normal(size=(200, FEATURE_DIM)).astype(np.float32)
    whole_TC = found.of_utterance(features_TF)
    monkeypatch.setattr(pieces, "PIECE_FRAMES", 37)
    monkeypatch.setattr(pieces, "CONTEXT_FRAMES", 9)
    np.testing.assert_allclose(found.of_utterance(features_TF), whole_TC, atol=1e-5)


class Counted(nn.Module):
    """Divides by the number of frames: in a trace that number is a constant, or the input's."""

    def __init__(self, *, feature_dim: int, num_classes: int, frozen: bool = True) -> None:
        super().__init__()
        self.output = nn.Linear(feature_dim, num_classes)
        self.frozen = frozen

    def forward(self, features_BTF: Tensor, lengths_B: Tensor) -> Tensor:
        logits_BTC: Tensor = self.output(features_BTF)
        if self.frozen and int(lengths_B.min()) > 30:  # a decision of Python: lost in a trace
            return logits_BTC * 2
        return logits_BTC


class Strange(nn.Module):
    """Uses an operator that ONNX does not have."""

    def __init__(self, *, feature_dim: int, num_classes: int) -> None:
        super().__init__()
        self.output = nn.Linear(feature_dim, num_classes)

    def forward(self, features_BTF: Tensor, lengths_B: Tensor) -> Tensor:
        logits_BTC: Tensor = torch.special.bessel_j0(self.output(features_BTF))
        return logits_BTC


def test_custom_architecture_is_exported(corpus: CorpusFile, tmp_path: Path) -> None:
    kind = f"{__name__}:Counted"
    allow_factories([kind])
    model = made({"kind": kind, "frozen": False})
    compare(model, exported(model, tmp_path), [corpus])


def test_model_whose_trace_is_another_model_is_refused(corpus: CorpusFile, tmp_path: Path) -> None:
    kind = f"{__name__}:Counted"
    allow_factories([kind])
    model = made({"kind": kind})
    with pytest.raises(BadInput, match=r"differs from the one in torch by .*dev, utterance"):
        compare(model, exported(model, tmp_path), [corpus])


def test_operator_that_onnx_lacks_is_named() -> None:
    kind = f"{__name__}:Strange"
    allow_factories([kind])
    with pytest.raises(BadInput, match=r"Strange cannot be exported to ONNX .*bessel"):
        make_onnx(made({"kind": kind}).model)


def test_changed_model_file_is_refused(tmp_path: Path) -> None:
    exported(made(ARCHITECTURES[0]), tmp_path)
    with (tmp_path / ONNX_FILE).open("ab") as file:
        file.write(b"x")
    with pytest.raises(BadInput, match="names"):
        OnnxModel(tmp_path)


def test_difference_that_is_nan_is_refused(
    corpus: CorpusFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = made(ARCHITECTURES[0])
    found = exported(model, tmp_path)
    monkeypatch.setattr(equality, "_difference", lambda *_: float("nan"))
    with pytest.raises(BadInput, match="differs"):
        compare(model, found, [corpus])
