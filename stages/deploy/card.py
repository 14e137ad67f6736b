"""Model card: README.md of a student or an export, with the head that the Hugging Face Hub reads.

No clock and no machine is in it: the same model gives the same bytes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from stages.acoustic.models.onnx_model import OnnxAbout
from stages.contract.latency import Latency
from stages.contract.settings import Settings
from stages.deploy.folder import ExportAbout, Metrics

TASK = "automatic-speech-recognition"
POINT = 0.01  # of a rate: one percentage point


class CardSettings(Settings):
    """What a card states that only its user can know. Part of the recipe of an export."""

    language: str = "en"
    license: str = "unknown"  # of the model: an identifier of the Hub, as apache-2.0
    data: str = ""  # in words; empty: what is known of the source
    data_license: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What is known of a model before it is measured."""

    name: str  # of its directory
    architecture: str
    distilled_from: tuple[str, ...]  # lines
    source: str  # of the corpus, in words
    source_license: str
    hours: tuple[tuple[str, float], ...]  # of each split
    latency: Latency | None  # None: unknown


def export_card(
    facts: CardFacts,
    settings: CardSettings,
    *,
    onnx: OnnxAbout,
    about: ExportAbout,
    num_bytes: int,
) -> str:
    """The card of an export."""
    head = _head(facts, settings, about.metrics, library="onnx")
    lines = [
        f"# {facts.name}, {onnx.precision}",
        "",
        f"An acoustic model with its decoding graph, to transcribe speech: {facts.architecture}, "
        f"{onnx.num_parameters:,} parameters, {num_bytes:,} bytes of ONNX (opset {onnx.opset}"
        + (f"; int8, {onnx.quantisation})." if onnx.quantisation else ")."),
        "",
        "    essence transcribe THIS-FOLDER audio.wav",
        "",
        *_common(facts, settings),
        "## Metrics",
        "",
        *_metrics(about),
        "## Files",
        "",
        (
            f"- `model.onnx`: `features` (B, T, {onnx.feature_dim}) float32 and `lengths` (B,) "
            f"int64 -> `log_posteriors` (B, T, {onnx.num_classes}) float32, natural logarithms. "
            "B and T are free; rows past a length mean nothing."
        ),
        "- `export.json`: front end, decoding, metrics; `onnx.json`: what model.onnx is.",
        "- `priors.npy`: log-priors of the classes, which decoding subtracts.",
        "- `cmvn.json`: sums over train, for `--cmvn-stats`, if the corpus has them.",
        (
            "- `graph/`: decoding graph (OpenFst; input label c + 1 is class c) and its words; "
            "`lang/`: lexicon, units, language model."
        ),
        "- `files.sha256`: digests, for `sha256sum -c`; `made.json`: settings and inputs.",
        "",
        *_use(),
    ]
    return head + "\n".join(lines)


def student_card(
    facts: CardFacts,
    settings: CardSettings,
    *,
    num_parameters: int,
    frame_error: float,
) -> str:
    """The card of a student as it was trained, before its words were measured."""
    lines = [
        f"# {facts.name}",
        "",
        (
            f"An acoustic model, a student: {facts.architecture}, {num_parameters:,} parameters, "
            f"{frame_error:.1%} frame error on dev. `essence evaluate` measures its word errors; "
            "`essence export` writes it as ONNX with all that transcribing needs, and a card with "
            "metrics."
        ),
        "",
        *_common(facts, settings),
        *_use(),
    ]
    return _head(facts, settings, (), library="safetensors") + "\n".join(lines)


def _head(
    facts: CardFacts, settings: CardSettings, metrics: tuple[Metrics, ...], *, library: str
) -> str:
    head: dict[str, Any] = {
        "license": settings.license,
        "language": [settings.language],
        "library_name": library,
        "pipeline_tag": TASK,
        "tags": [TASK, "knowledge-distillation", "acoustic-model", "essence"],
    }
    if metrics:
        dataset = settings.data or facts.source
        head["metrics"] = ["wer"]
        head["model-index"] = [
            {"name": facts.name, "results": [_result(each, dataset) for each in metrics]}
        ]
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=1000)}---\n"


def _result(metrics: Metrics, dataset: str) -> dict[str, Any]:
    percent = round(metrics.word_error_rate.rate / POINT, 2)
    kind = re.sub(r"[^a-z0-9]+", "-", dataset.lower()).strip("-")
    return {
        "task": {"type": TASK},
        "dataset": {"name": dataset, "type": kind, "split": metrics.split},
        "metrics": [{"type": "wer", "value": percent, "name": f"WER {metrics.split}, %"}],
    }


def _common(facts: CardFacts, settings: CardSettings) -> Iterator[str]:
    yield from ("## Distilled from", "")
    yield from (f"- {line}" for line in facts.distilled_from)
    yield from ("", "## Data", "")
    yield f"- Speech: {settings.data or facts.source}"
    yield f"- Licence of the data: {settings.data_license or facts.source_license}"
    yield "- Hours: " + ", ".join(f"{split} {hours:.2f}" for split, hours in facts.hours)
    yield from ("", "## Latency", "", _latency(facts.latency), "")


def _latency(latency: Latency | None) -> str:
    if latency is None:
        return "Unknown: the architecture is custom code."
    over = latency.front_end.normalised_over
    needs = f" Features are normalised over the {over}: that speech must be there." if over else ""
    if not latency.is_limited:
        return f"The model reads the whole utterance before its first output.{needs}"
    return (
        f"{latency.milliseconds:.0f} ms of speech after a frame, without the time of computation."
        f"{needs}"
    )


def _metrics(about: ExportAbout) -> Iterator[str]:
    yield "| split | utterances | words | WER | 95 % interval | WER of the student in torch |"
    yield "|---|---|---|---|---|---|"
    for each in about.metrics:
        rate = each.word_error_rate
        yield (
            f"| {each.split} | {each.num_utterances} | {each.num_words} | {rate.rate:.2%} | "
            f"{rate.low:.2%} to {rate.high:.2%} | {each.float32_word_error_rate:.2%} |"
        )
    same = about.equality
    yield from (
        "",
        (
            f"Scale {about.decoding.acoustic_scale:g} and penalty "
            f"{about.decoding.insertion_penalty:g} "
            "were chosen on dev. Intervals are over speakers."
        ),
        "",
        (
            f"The float32 model agrees with torch within {same.largest_difference:.1e} in "
            f"log-probability on {same.num_batches} batches ({same.num_frames:,} frames of dev and "
            f"test, padded, alone, and of one frame on); more than {same.tolerance:g} is an error."
        ),
        "",
    )


def _use() -> tuple[str, ...]:
    return (
        "## Intended use and limits",
        "",
        (
            "Speech like the training speech: the same language, vocabulary, channel and kind of "
            "noise; measure other speech before use. Words that are not in the lexicon cannot be "
            "recognised. Whole recordings or utterances are transcribed; there is no streaming. "
            "Speech of groups of speakers that the training data lack has not been measured."
        ),
        "",
    )
