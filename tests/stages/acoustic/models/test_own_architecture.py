"""Custom architectures: checked when built, recorded by name, imported only with permission."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from stages.acoustic.models.architectures import build_model
from stages.acoustic.models.model_file import load_model
from stages.acoustic.models.own_architecture import source_digest
from stages.acoustic.models.permission import ALLOWED, allow_factories
from stages.acoustic.models.settings import ArchitectureSettings
from stages.contract.errors import BadInput
from stages.contract.results import System
from stages.evaluate.readiness import why_not
from stages.members.kinds import open_member
from stages.training.corpus import open_training_corpus
from stages.training.inputs import TrainingInputs
from stages.training.objective import HardLabels
from stages.training.train import train_model
from storage.files.fingerprint import file_digest
from tests.support.makers.training import (
    FEATURE_DIM,
    NUM_CLASSES,
    RecordingProgress,
    make_corpus_directory,
    make_settings,
)
from tests.support.paths import DOCS

PAGE = DOCS / "training.md"


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example of docs/training.md, as a module that can be imported."""
    example = PAGE.read_text("utf-8").split("```python\n")[1].split("```")[0]
    assert len(example.strip().splitlines()) <= 16
    path = tmp_path / "my_models.py"
    path.write_text(example)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv(ALLOWED, raising=False)
    sys.modules.pop("my_models", None)
    return path


def _own(kind: str = "my_models:Window", **options: Any) -> ArchitectureSettings:
    return ArchitectureSettings.model_validate({"kind": kind, **options})


def _train(architecture: ArchitectureSettings, place: Path) -> Path:
    corpus_directory = make_corpus_directory(place / "corpus")
    directory = place / "model"
    directory.mkdir()
    with open_training_corpus(corpus_directory, needs_labels=True) as corpus:
        train_model(
            TrainingInputs(
                settings=make_settings(epochs=3),
                title="own",
                architecture=architecture,
                objective=HardLabels(),
                corpus=corpus,
                device="cpu",
                progress=RecordingProgress(),
                facts={},
            ),
            directory=directory,
        )
    return directory


def test_example_trains_and_is_loaded_by_its_name(written: Path, tmp_path: Path) -> None:
    allow_factories(["my_models:Window"])
    directory = _train(_own(width=23), tmp_path)
    about_text = json.loads((directory / "model.json").read_text())
    assert about_text["architecture"] == {"kind": "my_models:Window", "width": 23}
    assert about_text["facts"]["architecture_source"] == file_digest(written)
    model, about = load_model(directory, "cpu")
    assert about.facts["dev_frame_error"] < 0.3  # chance is 0.8
    assert about.title == "my_models:Window"
    weights = sum(values.numel() for values in model.parameters())
    member = open_member(directory, device="cpu")
    assert member.num_parameters == weights == about.facts["num_parameters"]


def test_factory_without_permission_is_not_imported(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow_factories(["my_models:Window"])
    directory = _train(_own(width=9), tmp_path)
    written.write_text("raise SystemExit('imported')")
    monkeypatch.delenv(ALLOWED)
    sys.modules.pop("my_models")
    with pytest.raises(BadInput, match="code that your settings do not name, so it is not run"):
        load_model(directory, "cpu")
    monkeypatch.setenv(ALLOWED, "other:thing, my_models")
    with pytest.raises(BadInput, match="your settings do not name"):
        load_model(directory, "cpu")
    system = System(
        name="theirs",
        kind="student",
        fingerprint="f",
        model_directories=(directory,),
        weights=(1.0,),
    )
    assert why_not(system) == (
        "its architecture my_models:Window is code that your settings do not name"
    )
    monkeypatch.setenv(ALLOWED, "my_models:Window")
    assert why_not(system) is None
    assert "my_models" not in sys.modules


def test_permission_is_added_to_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED, "a:b")
    allow_factories(["c:d"])
    allow_factories([])
    assert set(os.environ[ALLOWED].split(",")) == {"a:b", "c:d"}


@pytest.mark.parametrize(
    "kind", ["lstmm", "os.system", "os:system:x", ":f", "m:", "../m:f", "m:f()", "a-b:c", ""]
)
def test_kind_that_is_no_architecture_is_refused(kind: str) -> None:
    with pytest.raises(ValidationError, match=r"kind|expected"):
        _own(kind)


def test_option_that_a_built_in_does_not_have_is_named() -> None:
    with pytest.raises(ValidationError, match="hiden is no option of gru: did you mean 'hidden'"):
        _own("gru", hiden=3)
    with pytest.raises(ValidationError, match="hidden"):
        _own("gru", hidden=0)


def test_settings_are_read_as_written() -> None:
    for settings in (_own(width=3, names=["a"]), _own(hidden=7), _own("gru", hidden=7)):
        again = ArchitectureSettings.model_validate_json(settings.model_dump_json())
        assert again == settings
    assert _own(hidden=7).model_dump() == {"kind": "my_models:Window", "hidden": 7}


class Good(nn.Module):
    def __init__(self, width: int = NUM_CLASSES) -> None:
        super().__init__()
        self.layer = nn.Linear(FEATURE_DIM, width)

    def forward(self, features_BTF: Tensor, lengths_B: Tensor) -> Tensor:
        logits: Tensor = self.layer(features_BTF)
        return logits


class SeesPadding(Good):
    def forward(self, features_BTF: Tensor, lengths_B: Tensor) -> Tensor:
        return (
            super().forward(features_BTF, lengths_B) + features_BTF.mean(dim=(1, 2))[:, None, None]
        )


class SeesCompany(Good):
    def forward(self, features_BTF: Tensor, lengths_B: Tensor) -> Tensor:
        return super().forward(features_BTF, lengths_B) + features_BTF[0, 0, 0]


class Half(Good):
    def forward(self, features_BTF: Tensor, lengths_B: Tensor) -> Tensor:
        return super().forward(features_BTF, lengths_B).half()


class Endless(Good):
    def forward(self, features_BTF: Tensor, lengths_B: Tensor) -> Tensor:
        return super().forward(features_BTF, lengths_B) / 0


class Tuples(Good):
    def forward(self, features_BTF: Tensor, lengths_B: Tensor) -> Any:
        return (super().forward(features_BTF, lengths_B),)


class Falls(Good):
    def forward(self, features_BTF: Tensor, lengths_B: Tensor) -> Tensor:
        raise IndexError("somewhere")


class Shares(Good):
    def __init__(self) -> None:
        super().__init__()
        self.twin = self.layer


def _no_weights(**_: int) -> nn.Module:
    module = Good()
    return module.requires_grad_(requires_grad=False)


BROKEN: dict[str, tuple[Callable[..., Any], str]] = {
    "padding": (lambda **_: SeesPadding(), "has other logits when it is padded next to longer"),
    "company": (lambda **_: SeesCompany(), "has other logits when it is padded next to longer"),
    "classes": (
        lambda **_: Good(3),
        r"returned \(3, 13, 3\), expected .* = \(3, 13, 5\)",
    ),
    "type": (lambda **_: Half(), r"are torch\.float16, expected torch\.float32"),
    "infinite": (lambda **_: Endless(), "not all of its logits are finite"),
    "tuple": (lambda **_: Tuples(), "returned tuple, expected logits"),
    "raises": (lambda **_: Falls(), "failed on features .* IndexError: somewhere"),
    "shares": (lambda **_: Shares(), "no two names may share one tensor"),
    "weights": (_no_weights, "no weights to train"),
    "no module": (lambda **_: 7, "returned a int: expected a torch.nn.Module"),
    "arguments": (lambda width: Good(width), r"\(feature_dim, num_classes\) failed: TypeError"),
    "no function": (3, "has no function factory"),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("name", BROKEN)
def test_module_that_breaks_the_contract_is_refused_with_what_was_found(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    factory, message = BROKEN[name]
    module = type(sys)("broken_models")
    module.factory = factory  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "broken_models", module)
    monkeypatch.setenv(ALLOWED, "broken_models:factory")
    with pytest.raises(BadInput, match=message):
        build_model(_own("broken_models:factory"), FEATURE_DIM, NUM_CLASSES)


def test_module_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED, "nowhere.at_all:factory")
    with pytest.raises(BadInput, match=r"nowhere\.at_all cannot be imported .* PYTHONPATH"):
        source_digest("nowhere.at_all:factory")


class Late(Good):
    """Sees three frames ahead, whatever limit it is given."""

    def __init__(self, *, right_context: int, **_: int) -> None:
        super().__init__()
        self.limit = right_context

    def forward(self, features_BTF: Tensor, lengths_B: Tensor) -> Tensor:
        live_BT = torch.arange(features_BTF.shape[1]) < lengths_B[:, None]
        features_BTF = features_BTF * live_BT[:, :, None]
        later_BTF = nn.functional.pad(features_BTF, (0, 0, 0, 3))[:, 3:]
        return super().forward(features_BTF + later_BTF, lengths_B)


def test_module_that_sees_more_than_its_right_context_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind = f"{__name__}:Late"
    monkeypatch.setenv(ALLOWED, kind)
    for limit in (3, 5):
        module = build_model(_own(kind, right_context=limit), FEATURE_DIM, NUM_CLASSES).body
        assert isinstance(module, Late)
        assert module.limit == limit
    for limit in (0, 2):
        with pytest.raises(BadInput, match=rf"right_context is {limit}: let the module see fewer"):
            build_model(_own(kind, right_context=limit), FEATURE_DIM, NUM_CLASSES)


def test_module_is_unchanged_after_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(sys)("good_models")
    module.factory = lambda **_: Good()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "good_models", module)
    monkeypatch.setenv(ALLOWED, "good_models:factory")
    torch.manual_seed(0)
    model = build_model(_own("good_models:factory"), FEATURE_DIM, NUM_CLASSES)
    assert model.training
    torch.manual_seed(0)
    assert torch.equal(Good().layer.weight, model.body.layer.weight)
    assert all(weights.grad is None for weights in model.parameters())
