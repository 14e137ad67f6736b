"""Hugging Face folders as members: a Wav2Vec2-BERT that reads features, and every unfit folder."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.contract.errors import BadInput, StageError
from stages.members.kinds import open_member
from storage.corpus.corpus_file import CorpusFile
from tests.support.makers.foreign_members import log_softmax64, make_foreign
from tests.support.makers.posteriors import posteriors_of
from tests.support.makers.training import FEATURE_DIM, NUM_CLASSES, make_corpus_directory
from tests.support.makers.waveform import TINY_WAV2VEC2

transformers: Any = pytest.importorskip("transformers")
pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus_directory(tmp_path_factory.mktemp("corpus"))


def save_model(
    folder: Path, *, head: str = "ForCTC", classes: int = NUM_CLASSES, dim: int = FEATURE_DIM
) -> Any:
    """A small Wav2Vec2-BERT of random weights, in a folder of safetensors."""
    config = transformers.Wav2Vec2BertConfig(
        vocab_size=classes,
        num_labels=classes,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        feature_projection_input_dim=dim,
        conv_depthwise_kernel_size=5,
    )
    torch.manual_seed(3)
    model = getattr(transformers, f"Wav2Vec2Bert{head}")(config).eval()
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("head", ["ForCTC", "ForAudioFrameClassification"])
def test_posteriors_are_those_of_the_library_in_float64(
    tmp_path: Path, corpus: Path, head: str, capfd: pytest.CaptureFixture[str]
) -> None:
    model = save_model(tmp_path / "theirs", head=head).double()
    settings = {"huggingface": tmp_path / "theirs", "output": "logits"}
    capfd.readouterr()
    directory = make_foreign(tmp_path / "m", corpus, settings)
    shutil.rmtree(tmp_path / "theirs")  # the artefact has a copy
    member = open_member(directory, device="cpu")
    assert member.num_parameters == sum(weights.numel() for weights in model.parameters())
    with CorpusFile(corpus / "dev.h5") as dev, torch.no_grad():
        for index, logp_TC in posteriors_of(member.load(), dev).items():
            if len(logp_TC):
                features_1TF = torch.from_numpy(dev.features(index)).double()[None]
                wanted_TC = log_softmax64(model(input_features=features_1TF).logits[0])
                np.testing.assert_allclose(logp_TC, wanted_TC, atol=5e-5)
    assert capfd.readouterr().err == ""  # no bars


def test_weights_in_half_precision_are_run_in_float32(tmp_path: Path, corpus: Path) -> None:
    save_model(tmp_path / "theirs").half().save_pretrained(tmp_path / "half")
    settings = {"huggingface": tmp_path / "half", "output": "logits"}
    member = open_member(make_foreign(tmp_path / "m", corpus, settings), device="cpu")
    with CorpusFile(corpus / "dev.h5") as dev:
        for logp_TC in posteriors_of(member.load(), dev).values():
            np.testing.assert_allclose(np.exp(logp_TC.astype(np.float64)).sum(axis=1), 1, atol=1e-5)


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def refused(tmp_path: Path, corpus: Path) -> str:
    """The message with which the folder is refused; it is one line, and there is no member."""
    with pytest.raises(StageError) as caught:
        make_foreign(
            tmp_path / "m", corpus, {"huggingface": tmp_path / "theirs", "output": "logits"}
        )
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "m").glob("*.json"))
    return str(caught.value)


def test_unfit_folders_are_refused_in_one_line(tmp_path: Path, corpus: Path) -> None:
    theirs = tmp_path / "theirs"
    assert "config.json: the model cannot be read" in refused(tmp_path, corpus)
    save_model(theirs, classes=6)
    assert "gives 6 classes, the corpus has 5" in refused(tmp_path, corpus)
    save_model(theirs, dim=8)
    assert "the model reads 8 features, the corpus has 7" in refused(tmp_path, corpus)
    save_model(theirs)
    change_config(theirs, architectures=["Wav2Vec2BertForXVector"])
    assert "holds Wav2Vec2BertForXVector, wanted ...ForCTC or" in refused(tmp_path, corpus)
    save_model(theirs)
    (theirs / "model.safetensors").write_bytes(b"nonsense" * 9)
    assert "transformers cannot load the model" in refused(tmp_path, corpus)
    (theirs / "model.safetensors").unlink()
    assert "with weights in safetensors" in refused(tmp_path, corpus)


def test_weights_that_would_be_drawn_at_random_are_an_error(tmp_path: Path, corpus: Path) -> None:
    save_model(tmp_path / "theirs", head="Model")
    change_config(tmp_path / "theirs", architectures=["Wav2Vec2BertForCTC"])
    message = refused(tmp_path, corpus)
    assert "lacks 2 of the model's weights (lm_head.bias, lm_head.weight): save the" in message


def test_models_of_the_waveform_need_to_be_declared(tmp_path: Path, corpus: Path) -> None:
    config = transformers.Wav2Vec2Config(**TINY_WAV2VEC2)
    transformers.Wav2Vec2ForCTC(config).save_pretrained(tmp_path / "theirs")
    message = refused(tmp_path, corpus)
    assert "Wav2Vec2ForCTC reads input_values, wanted input_features with input: feat" in message
    assert "set input: waveform if the corpus has audio" in message


def test_code_and_pickles_in_the_folder_are_neither_copied_nor_run(
    tmp_path: Path, corpus: Path
) -> None:
    theirs, ran = tmp_path / "theirs", tmp_path / "ran"
    save_model(theirs)
    (theirs / "their_code.py").write_text(f"open({str(ran)!r}, 'w').close()")
    (theirs / "pytorch_model.bin").write_bytes(b"a pickle")
    change_config(
        theirs, model_type="theirs", auto_map={"AutoConfig": "their_code.C", "AutoModelForCTC": "x"}
    )
    with pytest.raises(BadInput, match="transformers cannot load the model"):
        make_foreign(tmp_path / "m", corpus, {"huggingface": theirs, "output": "logits"})
    assert not ran.exists()
    copied = {path.name for path in (tmp_path / "m" / "foreign").iterdir()}
    assert copied == {"config.json", "model.safetensors"}
