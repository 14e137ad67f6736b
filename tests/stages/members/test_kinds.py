"""The table of kinds: settings and directories of a member choose their row."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from stages.contract.errors import MissingPart
from stages.ensemble.settings import EnsembleSettings
from stages.members.any_settings import SETTINGS
from stages.members.archived import ARCHIVED
from stages.members.archived_settings import ArchivedMemberSettings
from stages.members.foreign.exported_runner import EXPORTED
from stages.members.foreign.onnx_runner import ONNX
from stages.members.foreign.python_runner import PYTHON
from stages.members.foreign.torchscript_runner import TORCHSCRIPT
from stages.members.kinds import KINDS, kind_in, kind_of, open_member, why_not
from stages.members.settings import MemberSettings
from stages.members.trained import TRAINED
from stages.members.trained_settings import TrainedMemberSettings


def read(*members: Any) -> tuple[MemberSettings, ...]:
    return EnsembleSettings.model_validate({"members": members}).members


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ({}, TRAINED),
        ({"kind": "trained"}, TRAINED),
        ({"architecture": {"kind": "gru"}, "folds": 3}, TRAINED),
        ({"posteriors": None}, TRAINED),
        ({"posteriors": "post"}, ARCHIVED),
        ({"kind": "archived", "posteriors": "post", "posteriors_are": "prob"}, ARCHIVED),
        ({"posteriors": "post", "architecture": None}, ARCHIVED),
        ({"onnx": "a.onnx", "output": "logits"}, ONNX),
        ({"torchscript": "a.pt", "output": "probs", "trust": True}, TORCHSCRIPT),
        ({"exported": "a.pt2", "output": "log_probs", "trust": True}, EXPORTED),
        ({"python": "a.b:c", "output": "probs", "trust": True, "version": "1"}, PYTHON),
    ],
)
def test_kind_follows_from_the_given_settings(written: dict[str, Any], kind: Any) -> None:
    (member,) = read({"name": "m", **written})
    assert type(member) is kind.settings
    assert kind_of(member) is kind


def test_kind_is_kept_when_settings_are_dumped_and_read_again() -> None:
    members = read(
        {"name": "a"},
        {"name": "b", "posteriors": "post", "max_length_difference": 1},
        {"name": "c", "onnx": "x", "output": "logits", "external_data": ["weights"]},
    )
    whole = EnsembleSettings(members=members)
    assert EnsembleSettings.model_validate(whole.model_dump()) == whole
    assert EnsembleSettings.model_validate_json(whole.model_dump_json()) == whole


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"kind": "kaldi"}, "kind 'kaldi': expected one of trained, archived, onnx, torchscript"),
        ({"kind": "archived"}, "Field required"),
        ({"posteriors": "p", "architecture": {}}, "remove architecture, or remove posteriors"),
        ({"posteriors": "p", "training": {}}, "kind archived, found settings of kind trained: rem"),
        ({"posteriors": "p", "training": {}, "folds": 4}, ": remove folds and training, or"),
        ({"posteriors": "p", "posteriors_are": "log10"}, "'log' or 'prob'"),
        ({"posteriors_are": "prob"}, "remove posteriors_are, or give posteriors"),
        (
            {"max_length_difference": 1},
            "found settings of kind archived: remove max",
        ),
        ({"kind": "trained", "posteriors": "p"}, "remove posteriors, or remove kind"),
        ({"posteriors": "p", "max_length_difference": 2}, "Input should be 0 or 1"),
        ({"onnx": "a.onnx"}, r"onnx.output\n  Field required"),
        ({"onnx": "a.onnx", "output": "softmax"}, "'logits', 'log_probs' or 'probs'"),
        ({"onnx": "a", "exported": "b"}, "kind exported, found settings of kind onnx: remove onnx"),
        ({"onnx": "a", "output": "probs", "folds": 2}, "settings of kind trained: remove folds"),
        ({"onnx": "a", "output": "probs", "stride": 2}, "stride 2 and offset 0 with frames: exact"),
        (
            {"onnx": "a", "output": "probs", "external_data": ["../b"]},
            "external_data '../b': wanted names of files next to the model",
        ),
        ({"torchscript": "a", "output": "probs"}, "a TorchScript model can run any code"),
        ({"exported": "a", "output": "probs", "trust": False}, r"a \.pt2 program can run any code"),
        ({"python": "a:b", "output": "probs", "version": "1"}, "a Python factory can run any code"),
        (
            {"python": "a.b", "output": "probs", "version": "1", "trust": True},
            "python 'a.b': wanted package.module:factory",
        ),
        ({"layers": 3}, "Extra inputs are not permitted"),
    ],
)
def test_settings_of_two_kinds_are_refused(written: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        read({"name": "m", **written})


def test_settings_other_than_a_mapping_are_refused() -> None:
    with pytest.raises(ValidationError, match="valid dictionary"):
        read("tdnn")


def test_both_tables_have_the_same_kinds() -> None:
    assert {kind.name: kind.settings for kind in KINDS} == SETTINGS


def test_kinds_have_unique_names_keys_and_descriptions() -> None:
    for values in (
        [kind.name for kind in KINDS],
        [kind.settings.key for kind in KINDS],
        [name for kind in KINDS for name in kind.descriptions],
    ):
        assert len(set(values)) == len(values)
    for kind in KINDS:
        assert kind.settings.key in kind.settings.model_fields


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_kind_is_recognised_by_each_of_its_descriptions(tmp_path: Path, kind: Any) -> None:
    assert kind_in(tmp_path) is None
    for name in kind.descriptions:
        (tmp_path / name).write_text("{}")
        assert kind_in(tmp_path) is kind
        (tmp_path / name).unlink()


def test_directory_without_a_member_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingPart, match=r"holds no member: expected one of folds.json, model"):
        open_member(tmp_path, device="cpu")
    assert why_not(tmp_path, ("dev",)) == f"{tmp_path} holds no member"
    assert why_not(tmp_path / "nothing", ("dev",)) == "its models are not here"


def test_recipe_does_not_depend_on_how_the_kind_was_chosen() -> None:
    short, explicit = read(
        {"name": "a", "posteriors": "post"}, {"name": "b", "kind": "archived", "posteriors": "x"}
    )
    assert short.identity() == explicit.identity()
    assert ArchivedMemberSettings(name="c", posteriors=Path("y")).identity() == short.identity()
    assert "kind" not in TrainedMemberSettings(name="d").identity()
