"""Makers of results, histories and a corpus with store and student: made up, for the report."""

import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from stages.acoustic.models.model_file import ModelAbout, save_model
from stages.contract.results import (
    Calibration,
    CorpusSummary,
    EpochMetrics,
    Evaluation,
    Fidelity,
    FrameErrors,
    FrameQuality,
    GradientMatch,
    ReliabilityBin,
    SplitResult,
    SplitSummary,
    System,
    SystemFacts,
    SystemKind,
    SystemResult,
    TeacherSummary,
    UtteranceResult,
    WordErrors,
)
from stages.evaluate.score import add_up
from stages.report.inputs import Made, ReportInputs
from storage.care.store_audit import StoreAudit
from storage.corpus.corpus_file import CorpusAbout, CorpusFile
from storage.corpus.corpus_writer import CorpusWriter
from storage.format.layout import StoreUtterance
from storage.write.top_k import keep_top_k
from storage.write.writer import StoreWriter
from tests.support.makers.store import make_about
from tests.support.makers.training import make_model

WORDS = 2000
UTTERANCE_WORDS, SPEAKERS = 20, 9
VOCABULARY = ("A", "B", "SEVEN", "NINE", "TWENTY", "CALL", "PLEASE", "STREET", "E", "MARY")


@cache
def make_utterances(errors: int, seed: int) -> tuple[UtteranceResult, ...]:
    """100 utterances of 20 words with `errors` errors, more in those that are hard for all."""
    difficulty = np.random.default_rng(0).gamma(1.0, size=WORDS // UTTERANCE_WORDS) + 0.2
    drawn = np.random.default_rng([errors, seed]).gamma(5.0, size=len(difficulty)) * difficulty
    shares = np.minimum(errors * drawn / drawn.sum(), UTTERANCE_WORDS - 1)
    counts = np.floor(shares).astype(int)
    for number in np.argsort(counts - shares, kind="stable")[: errors - counts.sum()]:
        counts[number] += 1
    while missing := errors - counts.sum():  # what was cut off above
        counts[np.argsort(counts, kind="stable")[:missing]] += 1
    return tuple(_utterance(number, int(count)) for number, count in enumerate(counts))


def _utterance(number: int, errors: int) -> UtteranceResult:
    """Errors of one kind, with words of their own, so that the alignment is unambiguous."""
    said = [VOCABULARY[(number + 3 * place) % len(VOCABULARY)] for place in range(UTTERANCE_WORDS)]
    hypothesis = list(said)
    kind = ("insertions", "substitutions", "substitutions", "deletions")[number % 4]
    for place in range(errors):
        if kind == "insertions":
            hypothesis.insert(0, "UH")
        elif kind == "substitutions":
            hypothesis[place] = "EIGHTY"
        else:
            del hypothesis[0]
    none = {"insertions": 0, "deletions": 0, "substitutions": 0}
    return UtteranceResult(
        id=f"utt-{number:03}",
        speaker=f"speaker {number % SPEAKERS}",
        reference=" ".join(said),
        hypothesis=" ".join(hypothesis),
        words=WordErrors(reference_words=UTTERANCE_WORDS, **(none | {kind: errors})),
    )


def make_split(split: str, errors: int, *, seed: int = 1, **changes: Any) -> SplitResult:
    """`errors` of 2000 words."""
    utterances = make_utterances(errors, seed)
    words = add_up([item.words for item in utterances])
    fields: dict[str, Any] = {
        "split": split,
        "frames": FrameErrors(
            num_frames=61_000, frame_error=0.2 + errors / 4000, cross_entropy=0.6 + errors / 900
        ),
        "words": words,
        "utterances": utterances,
    }
    return SplitResult(**(fields | changes))


def make_frames(nearness: float) -> FrameQuality:
    """Frame metrics of a system; `nearness` to the teacher is 0 to 1."""
    bins = tuple(
        ReliabilityBin(
            num_frames=300 + 100 * number,
            confidence=(number + 0.5) / 15,
            accuracy=min(1.0, (number + 0.5) / 15 + 0.1 * (1 - nearness)),
        )
        for number in range(15)
    )
    return FrameQuality(
        calibration=Calibration(expected_error=0.1 * (1 - nearness), bins=bins),
        fidelity=Fidelity(
            store="7" * 64,
            num_frames=60_000,
            agreement=0.7 + 0.25 * nearness,
            divergence=0.4 * (1 - nearness),
            by_rank={
                k: GradientMatch(overall=1 - 0.4 / k**1.5, mean=1 - 0.5 / k) for k in (1, 2, 4, 8)
            },
            hard_labels=GradientMatch(overall=0.5, mean=0.3),
        ),
    )


def make_result(
    name: str, *, errors: int = 260, kind: SystemKind = "student", **facts: Any
) -> SystemResult:
    """A system with `errors` on test and some more on dev."""
    seed = int(facts.get("seed", 1))
    words = [word for word in name.split() if not word.startswith("seed=")]
    same = {key: value for key, value in facts.items() if key != "seed"}
    return SystemResult(
        system=System(
            name=name,
            kind=kind,
            fingerprint=hashlib.sha256(name.encode()).hexdigest(),
            model_directories=(Path("models") / name,),
            weights=(1.0,),
            facts=SystemFacts(**facts),
            group=f"{words} {same}" if kind == "student" else "",
            group_name=" ".join(words) if kind == "student" else "",
        ),
        evaluation=Evaluation(
            num_parameters=820_000 * (4 if kind == "ensemble" else 1),
            acoustic_scale=0.7,
            insertion_penalty=-0.5,
            dev=make_split("dev", errors + 11, seed=seed),
            test=make_split("test", errors, seed=seed),
        ),
        frames=make_frames(1.0 if kind == "ensemble" else max(0.0, 1 - errors / 400)),
    )


def make_hard(name: str = "hard labels", *, errors: int = 262, seed: int = 1) -> SystemResult:
    facts = {"architecture": "tdnn 5x128", "tail": "renormalize", "temperature": 1.0, "seed": seed}
    return make_result(name, errors=errors, k=8, hard_weight=1.0, **facts)


def make_essence(k: int, *, errors: int, tail: str = "renormalize") -> SystemResult:
    name = f"k={k}" if tail == "renormalize" else f"k={k} tail={tail}"
    facts = {"architecture": "tdnn 5x128", "temperature": 1.0, "seed": 1}
    return make_result(name, errors=errors, k=k, hard_weight=0.2, tail=tail, **facts)


def make_sweep(*, num_settings: int = 30, num_seeds: int = 5) -> list[SystemResult]:
    """What a sweep leaves: settings of students, each with several seeds."""
    rng = np.random.default_rng(3)
    results = []
    for number in range(num_settings):
        k, weight = 2 ** (number % 6), (0.0, 0.2, 0.5, 0.8, 0.9)[number // 6 % 5]
        for seed in range(1, num_seeds + 1):
            name = f"k={k}" + ("" if weight == 0.2 else f" hard={weight}") + f" seed={seed}"
            errors = 200 + 12 * abs(number % 6 - 3) + int(60 * weight) + int(rng.normal(0, 7))
            facts = {"architecture": "tdnn 5x128", "tail": "renormalize", "seed": seed}
            results.append(make_result(name, errors=errors, k=k, hard_weight=weight, **facts))
    hard = [
        make_hard(f"hard labels seed={seed}", errors=250 + 3 * seed, seed=seed)
        for seed in range(1, num_seeds + 1)
    ]
    return [*results, *hard, *make_members()]


def make_members() -> list[SystemResult]:
    kinds = {"tdnn": 251, "gru": 243, "lstm": 236, "conv": 262}
    members = [
        make_result(name, errors=errors, kind="member", architecture=f"{name} 5x256", seed=number)
        for number, (name, errors) in enumerate(kinds.items())
    ]
    return [*members, make_result("ensemble", errors=205, kind="ensemble")]


def make_all_results() -> list[SystemResult]:
    """In no order."""
    errors = {8: 221, 1: 248, 16: 218, 2: 239, 32: 224, 4: 226}
    students = [make_essence(k, errors=count) for k, count in errors.items()]
    others = [make_essence(k, errors=count + 9, tail="bucket") for k, count in errors.items()]
    return [*students[:3], make_hard(), *others[:3], *make_members(), *students[3:]]


def make_teacher_summary() -> TeacherSummary:
    mass = {1: 0.712, 2: 0.843, 4: 0.931, 8: 0.972, 16: 0.990, 32: 0.9968}
    size = {1: 2.6, 2: 10.1, 4: 10.1, 8: 18.9, 16: 35.2, 32: 62.4}
    stores = [
        StoreAudit(
            split=split,
            digest=f"{index + 7:064x}",
            num_utterances=900 - 700 * index,
            num_frames=310_000 - 250_000 * index,
            num_classes=600,
            kept=32,
            kept_mass={k: value - 0.012 * index * (1 - value) * 9 for k, value in mass.items()},
            bytes_per_frame={k: value * (1 + 0.08 * index) for k, value in size.items()},
            kept_mass_percentiles={
                k: tuple(value ** (4 / (n + 1)) for n in range(5)) for k, value in mass.items()
            },
            entropy={k: 0.61 * value for k, value in mass.items()},
            hard_label_inside={} if index else {k: 0.769 + 0.2 * v for k, v in mass.items()},
            num_labelled=0 if index else 309_000,
        )
        for index, split in enumerate(("train", "dev"))
    ]
    return TeacherSummary(members=("tdnn", "gru", "lstm", "conv"), stores=tuple(stores))


def make_corpus_summary() -> CorpusSummary:
    left_out = {"no alignment": ("utt-7", "utt-9"), "a word that the lexicon lacks": ("utt-12",)}
    return CorpusSummary(
        source="spoken",
        num_classes=600,
        num_words=182,
        splits=tuple(
            SplitSummary(
                split=split,
                num_utterances=utterances,
                num_speakers=speakers,
                num_frames=utterances * 345,
                hours=utterances / 1043,
                num_words=utterances * 8,
                left_out=left_out if split == "train" else {},
            )
            for split, utterances, speakers in (
                ("train", 902, 44),
                ("dev", 200, 9),
                ("test", 251, 9),
            )
        ),
    )


def write_history(path: Path, *, epochs: int, seed: int) -> Path:
    """A metrics.jsonl that looks like training."""
    rng = np.random.default_rng(seed)
    lines = []
    for epoch in range(1, epochs + 1):
        fall = float(np.exp(-epoch / 5))
        lines.append(
            EpochMetrics(
                epoch=epoch,
                train_loss=0.9 + 2.8 * fall + float(rng.normal()) * 0.03,
                dev_frame_error=0.27 + 0.4 * fall + float(rng.normal()) * 0.004,
                dev_cross_entropy=1.1 + 2 * fall,
                learning_rate=1e-3,
            ).model_dump_json()
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def make_histories(directory: Path, results: list[SystemResult]) -> dict[str, Path]:
    trained = [result.system.name for result in results if result.system.kind != "ensemble"]
    return {
        name: write_history(directory / f"{index}.jsonl", epochs=12 + index % 5, seed=index)
        for index, name in enumerate(trained)
    }


def make_dev_corpus(
    directory: Path, *, feature_dim: int = 7, num_classes: int = 5, seconds: float = 2.4
) -> CorpusFile:
    """dev.h5 whose features wander over time; one utterance of about the wanted length."""
    rng = np.random.default_rng(4)
    about = CorpusAbout(
        split="dev",
        feature_dim=feature_dim,
        num_classes=num_classes,
        class_inventory="an inventory",
        frame_shift_ms=30.0,
        subsampling=3,
        has_labels=True,
        feature_settings={},
    )
    with CorpusWriter(directory / "dev.h5", about) as writer:
        for index, length in enumerate((9, round(seconds * 1000 / 30), 0, 31)):
            labels = np.sort(rng.integers(num_classes, size=length // 6 + 1)).repeat(6)[:length]
            centres = np.random.default_rng(1).normal(size=(num_classes, feature_dim)) * 2
            features = centres[labels] + 0.5 * rng.normal(size=(length, feature_dim))
            writer.add(
                f"dev-{index}",
                speaker="s",
                transcript="please call <b>seven & nine</b>",
                features_TF=features.astype(np.float32),
                labels_T=labels,
            )
    return CorpusFile(directory / "dev.h5")


def make_dev_store(path: Path, corpus: CorpusFile, *, kept: int = 3) -> Path:
    """A teacher that mostly hears the hard label, and blurs where it changes."""
    rng = np.random.default_rng(8)
    num_classes = corpus.about.num_classes
    about = make_about(
        split="dev",
        corpus_fingerprint=corpus.fingerprint,
        class_inventory=corpus.about.class_inventory,
        num_classes=num_classes,
        kept=kept,
        shard_frames=200,
        chunk_frames=50,
    )
    rows = [
        StoreUtterance(id=row.id, num_frames=row.num_frames, digest=row.digest)
        for row in corpus.utterances
    ]
    writer = StoreWriter.create(path, about, utterances=rows)
    for shard in writer.missing_shards():
        labels = np.concatenate([corpus.labels(index) for index in writer.shard(shard)])
        logits_TC = rng.normal(size=(len(labels), num_classes))
        logits_TC[np.arange(len(labels)), labels] += 5
        blurred_TC = (
            logits_TC + np.roll(logits_TC, 1, axis=0) + np.roll(logits_TC, -1, axis=0)
        ) / 2
        logp_TC = blurred_TC - np.log(np.exp(blurred_TC).sum(axis=1, keepdims=True))
        writer.write_shard(shard, keep_top_k(logp_TC.astype(np.float32), kept, tiers=about.tiers))
    writer.seal()
    return path


def save_student(directory: Path) -> Path:
    """An untrained student of the training makers' sizes (7 feature dims, 5 classes)."""
    directory.mkdir(parents=True, exist_ok=True)
    model = make_model("tdnn")
    about = ModelAbout(
        architecture=model.settings,
        feature_dim=7,
        num_classes=5,
        class_inventory="an inventory",
        corpus_fingerprint="c" * 64,
    )
    save_model(directory, model, about)
    return directory


def make_inputs(directory: Path, results: list[SystemResult] | None = None) -> ReportInputs:
    """All that a report can show, drawn from small files in `directory`."""
    results = make_all_results() if results is None else results
    model = save_student(directory / "model")
    results = [replace(r, system=replace(r.system, model_directories=(model,))) for r in results]
    with make_dev_corpus(directory) as corpus:
        store = make_dev_store(directory / "dev.zarr", corpus)
    return ReportInputs(
        results=tuple(results),
        histories=make_histories(directory, results),
        teacher=make_teacher_summary(),
        corpus=make_corpus_summary(),
        corpus_directory=directory,
        store=store,
        made=(Made(name="student k=8", fingerprint="ab" * 32, settings='{"k": 8, "tail": "<&>"}'),),
        program="essence 0.1.0, commit 123",
    )
