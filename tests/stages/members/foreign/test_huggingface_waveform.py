"""Hugging Face folders that read the waveform, through their own feature extractors."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.contract.errors import StageError
from stages.members.kinds import open_member
from storage.corpus.corpus_file import CorpusFile
from tests.support.makers.foreign_members import log_softmax64, make_foreign
from tests.support.makers.posteriors import posteriors_of
from tests.support.makers.waveform import (
    RATE,
    TINY_WAV2VEC2,
    make_audio_corpus_directory,
    samples_of,
)

transformers: Any = pytest.importorskip("transformers")
pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")
EXTRACTOR = {"do_normalize": True, "sampling_rate": RATE}
FRAMES = {"output": "logits", "input": "waveform", "frames": "nearest"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_audio_corpus_directory(tmp_path_factory.mktemp("corpus"))


def save_model(folder: Path, kind: str = "Wav2Vec2ForCTC", **changes: Any) -> Any:
    """A small model of random weights, frames of 10 ms, in a folder of safetensors."""
    family = kind.partition("For")[0]
    config = getattr(transformers, f"{family}Config")(**{**TINY_WAV2VEC2, **changes})
    torch.manual_seed(3)
    model = getattr(transformers, kind)(config).eval()
    model.save_pretrained(folder)
    return model


def save_extractor(folder: Path, **changes: Any) -> Any:
    extractor = transformers.Wav2Vec2FeatureExtractor(**{**EXTRACTOR, **changes})
    extractor.save_pretrained(folder)
    return extractor


def compare(directory: Path, corpus: Path, model: Any, *, normal: bool) -> None:
    """The member's posteriors of dev are those of the library in float64."""
    model, compared = model.double(), 0
    with CorpusFile(corpus / "dev.h5") as dev, torch.no_grad():
        for index, logp_TC in posteriors_of(
            open_member(directory, device="cpu").load(), dev
        ).items():
            row = dev.utterances[index]
            assert row.audio is not None
            wave = samples_of(row.audio)
            if normal:
                wave = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
            logits = model(input_values=torch.from_numpy(wave)[None]).logits[0]
            wanted_NC = log_softmax64(logits)
            assert abs(len(wanted_NC) - row.num_frames) <= 1
            frames_T = np.minimum(np.arange(row.num_frames), len(wanted_NC) - 1)
            np.testing.assert_allclose(logp_TC, wanted_NC[frames_T], atol=1e-4)
            compared += row.num_frames
    assert compared > 100


KINDS = [
    "Wav2Vec2ForCTC",
    "Wav2Vec2ForAudioFrameClassification",
    "HubertForCTC",
    "WavLMForCTC",
    "WavLMForAudioFrameClassification",
]


@pytest.mark.parametrize("kind", KINDS)
def test_posteriors_are_those_of_the_library_in_float64(
    tmp_path: Path, corpus: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    model = save_model(tmp_path / "theirs", kind)
    save_extractor(tmp_path / "theirs")
    capfd.readouterr()
    member = make_foreign(tmp_path / "m", corpus, {"huggingface": tmp_path / "theirs", **FRAMES})
    shutil.rmtree(tmp_path / "theirs")  # the artefact has a copy
    compare(member, corpus, model, normal=True)
    assert capfd.readouterr().err == ""


def test_extractor_of_the_folder_is_used_as_it_is_saved(tmp_path: Path, corpus: Path) -> None:
    theirs = tmp_path / "theirs"
    model = save_model(theirs)
    settings = {"huggingface": theirs, **FRAMES}
    bare = make_foreign(tmp_path / "bare", corpus, settings)
    compare(bare, corpus, model, normal=False)
    declared = {**settings, "normalise": "zero_mean_unit_variance"}
    compare(make_foreign(tmp_path / "declared", corpus, declared), corpus, model, normal=True)
    save_extractor(theirs, do_normalize=False, return_attention_mask=True)
    plain = make_foreign(tmp_path / "plain", corpus, settings)
    compare(plain, corpus, model, normal=False)
    save_extractor(theirs)
    normal = make_foreign(tmp_path / "normal", corpus, settings)
    compare(normal, corpus, model, normal=True)
    names = {open_member(each, device="cpu").about.fingerprint for each in (bare, plain, normal)}
    assert len(names) == 3  # the extractor's file is part of the identity


def test_extractor_in_a_processor_is_found(tmp_path: Path, corpus: Path) -> None:
    theirs = tmp_path / "theirs"
    model = save_model(theirs)
    extractor = save_extractor(theirs)
    (theirs / "preprocessor_config.json").unlink()
    (theirs / "vocab.json").write_text(json.dumps({"<pad>": 0, "<unk>": 1, "|": 2, "A": 3}))
    tokenizer = transformers.Wav2Vec2CTCTokenizer(str(theirs / "vocab.json"))
    processor = transformers.Wav2Vec2Processor(feature_extractor=extractor, tokenizer=tokenizer)
    processor.save_pretrained(theirs)
    member = make_foreign(tmp_path / "m", corpus, {"huggingface": theirs, **FRAMES})
    compare(member, corpus, model, normal=True)


def test_extractor_may_compute_features(tmp_path: Path, corpus: Path) -> None:
    """Wav2Vec2-BERT: mel bands of 10 ms, two of them a frame of 20 ms."""
    theirs = tmp_path / "theirs"
    config = transformers.Wav2Vec2BertConfig(
        vocab_size=5,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        feature_projection_input_dim=160,
        conv_depthwise_kernel_size=5,
    )
    model = transformers.Wav2Vec2BertForCTC(config).eval()
    model.save_pretrained(theirs)
    extractor = transformers.SeamlessM4TFeatureExtractor()
    extractor.save_pretrained(theirs)
    settings = {"huggingface": theirs, **FRAMES, "stride": 2}
    member = make_foreign(tmp_path / "m", corpus, settings)
    with CorpusFile(corpus / "dev.h5") as dev, torch.no_grad():
        found = posteriors_of(open_member(member, device="cpu").load(), dev)
        audio = dev.utterances[2].audio
        assert audio is not None
        values = extractor(samples_of(audio), sampling_rate=RATE, return_tensors="pt")
        wanted_NC = log_softmax64(model(**values).logits[0])
        np.testing.assert_allclose(found[2][:40:2], wanted_NC[:20], atol=1e-3)


def refused(tmp_path: Path, corpus: Path, **changes: Any) -> str:
    """The message with which the folder is refused; it is one line, and there is no member."""
    settings = {"huggingface": tmp_path / "theirs", **FRAMES, **changes}
    with pytest.raises(StageError) as caught:
        make_foreign(tmp_path / "m", corpus, settings)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "m").glob("*.json"))
    return str(caught.value)


def test_unfit_extractors_are_refused_in_one_line(tmp_path: Path, corpus: Path) -> None:
    theirs = tmp_path / "theirs"
    save_model(theirs)
    save_extractor(theirs, sampling_rate=8_000)
    assert "wants 8000 Hz, sample_rate is 16000: set sample_rate: 8000" in refused(tmp_path, corpus)
    save_extractor(theirs)
    message = refused(tmp_path, corpus, normalise="zero_mean_unit_variance")
    assert "its feature extractor normalises the waveform or leaves it: remove norm" in message
    transformers.SeamlessM4TFeatureExtractor().save_pretrained(theirs)
    message = refused(tmp_path, corpus)
    assert "Wav2Vec2ForCTC reads input_values, its SeamlessM4TFeatureExtractor gives" in message
    (theirs / "preprocessor_config.json").write_text("{")
    assert "transformers cannot load the model" in refused(tmp_path, corpus)


def test_features_model_needs_its_extractor(tmp_path: Path, corpus: Path) -> None:
    config = transformers.Wav2Vec2BertConfig(
        vocab_size=5, hidden_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    transformers.Wav2Vec2BertForCTC(config).save_pretrained(tmp_path / "theirs")
    message = refused(tmp_path, corpus)
    assert "reads input_features, and the folder has no preprocessor_config.json" in message
