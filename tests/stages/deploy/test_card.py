"""Model cards: a head that the Hub reads, what it must state, and the same bytes twice."""

import re

import pytest
import yaml

from stages.acoustic.features.front_end_settings import FrontEndSettings
from stages.acoustic.models.onnx_model import OnnxAbout
from stages.contract.latency import FrontEnd, Latency
from stages.deploy.card import CardFacts, CardSettings, export_card, student_card
from stages.deploy.folder import (
    DecodingSettings,
    Equality,
    ExportAbout,
    Metrics,
    WordErrorRate,
)

DIGEST = "d1" * 32


def make_facts(*, right_context: float = float("inf")) -> CardFacts:
    front_end = FrontEnd(frame_ms=10.0, frames_per_row=2, look_ahead=1, normalised_over="speaker")
    return CardFacts(
        name="student-0123456789ab",
        architecture="tdnn 3x64",
        distilled_from=("soft labels of an ensemble: k=8", f"store {DIGEST}"),
        source="telephone: speech #1",  # a colon and a hash: YAML must quote them
        source_license="CC-BY-4.0",
        hours=(("train", 1.234), ("test", 0.3)),
        latency=Latency(right_context=right_context, front_end=front_end),
    )


def make_about() -> ExportAbout:
    rate = WordErrorRate(rate=0.1371, low=0.0902, high=0.1836)
    return ExportAbout(
        name="student-0123456789ab",
        sound=None,
        features=FrontEndSettings(),
        row_ms=20.0,
        decoding=DecodingSettings(
            acoustic_scale=0.3, insertion_penalty=0.0, beam=8, max_active=300, min_active=20
        ),
        equality=Equality(
            tolerance=1e-4, largest_difference=7.6e-6, num_batches=41, num_frames=11_859
        ),
        metrics=(
            Metrics(
                split="test",
                word_error_rate=rate,
                float32_word_error_rate=0.135,
                frame_error=None,
                num_utterances=53,
                num_words=248,
            ),
        ),
    )


def make_card(**changes: str) -> str:
    onnx = OnnxAbout(
        architecture="tdnn 3x64",
        precision="int8",
        quantisation="static",
        opset=17,
        feature_dim=120,
        num_classes=115,
        class_inventory="i",
        num_parameters=52_787,
        fingerprint="f",
    )
    settings = CardSettings.model_validate(changes)
    return export_card(make_facts(), settings, onnx=onnx, about=make_about(), num_bytes=79_597)


def head_of(card: str) -> dict[str, object]:
    _, head, _ = card.split("---\n", 2)
    return yaml.safe_load(head)


def test_head_has_what_the_hub_reads() -> None:
    head = head_of(make_card(language="de", license="apache-2.0"))
    assert head["license"] == "apache-2.0"
    assert head["language"] == ["de"]
    assert "automatic-speech-recognition" in head["tags"]
    assert head["metrics"] == ["wer"]
    (model,) = head["model-index"]
    (result,) = model["results"]
    assert result["task"] == {"type": "automatic-speech-recognition"}
    assert result["dataset"] == {
        "name": "telephone: speech #1",
        "type": "telephone-speech-1",
        "split": "test",
    }
    assert result["metrics"][0]["type"] == "wer"
    assert result["metrics"][0]["value"] == 13.71


def test_card_states_origin_data_metrics_size_latency_and_limits() -> None:
    card = make_card(data="AN4", data_license="any use")
    for words in (
        DIGEST,
        "Speech: AN4",
        "Licence of the data: any use",
        "13.71% | 9.02% to 18.36% | 13.50%",
        "79,597 bytes of ONNX (opset 17; int8, static)",
        "52,787 parameters",
        "agrees with torch within 7.6e-06",
        "the whole utterance before its first output",
        "Intended use and limits",
        "no streaming",
    ):
        assert words in card, words


def test_latency_with_a_limit_is_in_milliseconds() -> None:
    facts = make_facts(right_context=4)
    card = student_card(facts, CardSettings(), num_parameters=7, frame_error=0.41)
    assert f"{facts.latency.milliseconds:.0f} ms of speech after a frame" in card
    assert "normalised over the speaker" in card


def test_same_facts_give_the_same_card_without_a_clock() -> None:
    assert make_card() == make_card()
    assert not re.search(r"20\d\d-\d\d-\d\d|\d\d:\d\d:\d\d", make_card())


@pytest.mark.parametrize("language", ["en", "no"])  # unquoted, `no` is false in YAML
def test_language_stays_text(language: str) -> None:
    assert head_of(make_card(language=language))["language"] == [language]
