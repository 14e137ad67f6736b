"""Model file: it is loaded as saved; damage is refused by name."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stages.acoustic.models.model_file import ModelAbout, load_model, read_model_about, save_model
from stages.contract.errors import BadInput, MissingPart
from storage.files.fingerprint import file_digest
from tests.support.makers.training import FEATURE_DIM, INVENTORY, NUM_CLASSES, make_model


def _saved(directory: Path, kind: str = "tdnn") -> ModelAbout:
    model = make_model(kind)
    model.set_normalisation(torch.arange(7.0), torch.arange(1.0, 8.0))
    about = ModelAbout(
        architecture=model.settings,
        feature_dim=FEATURE_DIM,
        num_classes=NUM_CLASSES,
        class_inventory=INVENTORY,
        corpus_fingerprint="c0ffee",
        facts={"seed": 3},
    )
    return save_model(directory, model, about)


@pytest.mark.parametrize("kind", ["tdnn", "gru", "lstm", "conv"])
def test_model_is_loaded_as_saved(tmp_path: Path, kind: str) -> None:
    about = _saved(tmp_path, kind)
    loaded, again = load_model(tmp_path, "cpu")
    assert again == about == read_model_about(tmp_path)
    assert about.fingerprint == file_digest(tmp_path / "model.safetensors")
    original = make_model(kind).eval()
    original.set_normalisation(torch.arange(7.0), torch.arange(1.0, 8.0))
    features = torch.randn(2, 9, FEATURE_DIM, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([9, 4])
    assert torch.equal(loaded(features, lengths), original(features, lengths))
    assert not loaded.training


def test_load_draws_no_random_number(tmp_path: Path) -> None:
    _saved(tmp_path, "gru")
    before = torch.get_rng_state()
    load_model(tmp_path, "cpu")
    assert torch.equal(before, torch.get_rng_state())


def test_model_file_is_the_same_for_the_same_weights(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert _saved(tmp_path / "a").fingerprint == _saved(tmp_path / "b").fingerprint


def test_model_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingPart, match=r"model\.json is not there"):
        load_model(tmp_path, "cpu")
    _saved(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(MissingPart, match=r"model\.safetensors is not there"):
        load_model(tmp_path, "cpu")


def test_weights_with_any_changed_byte_are_refused(tmp_path: Path) -> None:
    _saved(tmp_path)
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    for place in (0, 9, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(BadInput, match="the file was changed"):
            load_model(tmp_path, "cpu")
    path.write_bytes(whole[:-5])
    with pytest.raises(BadInput, match="the file was changed"):
        load_model(tmp_path, "cpu")


def _rewrite(directory: Path, **changes: object) -> None:
    path = directory / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_weights_of_another_shape_are_refused_before_memory_is_allocated(tmp_path: Path) -> None:
    _saved(tmp_path)
    _rewrite(tmp_path, num_classes=10**9)
    with pytest.raises(BadInput, match="does not hold the tdnn"):
        load_model(tmp_path, "cpu")


def test_weights_that_are_no_safetensors_are_refused(tmp_path: Path) -> None:
    _saved(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\x80\x04cposix\nsystem\n(S'true'\ntR.")
    _rewrite(tmp_path, fingerprint=file_digest(path))
    with pytest.raises(BadInput, match="does not hold"):
        load_model(tmp_path, "cpu")


def test_weights_without_a_tensor_are_refused(tmp_path: Path) -> None:
    _saved(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    del tensors["output.bias"]
    save_file(tensors, path)
    _rewrite(tmp_path, fingerprint=file_digest(path))
    with pytest.raises(BadInput, match="does not hold"):
        load_model(tmp_path, "cpu")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": "essence model 2"}', "\x00"])
def test_description_that_is_damaged_is_refused(tmp_path: Path, text: str) -> None:
    _saved(tmp_path)
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(BadInput, match=r"model\.json"):
        load_model(tmp_path, "cpu")
