"""Exported students next to torch: size, real-time factor of one core, word error rate.

    OMP_NUM_THREADS=1 python benchmarks/deploy.py WORK --audio WORK/audio-*/test.tsv [--rounds 7]

Reads every export in a work directory, the student of each, and their evaluations. The model's
factor is of log-posteriors alone, one utterance after the other, torch and ONNX in turns on the
same features; the whole one is of 'essence transcribe': reading files, features (twice, where they
are normalised by speaker), model, search. Time is processor time of all threads. The ratio is
torch's time divided by that of the ONNX model within a round: median (lowest to highest).
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from side_by_side import machine

from pipeline.shelf.record import read_record
from pipeline.transcription import open_transcriber
from stages.acoustic.models.model_file import WEIGHTS_FILE, load_model
from stages.acoustic.models.onnx_model import ONNX_FILE, OnnxModel
from stages.acoustic.sound.speech_table import read_speech
from stages.contract.progress import SilentProgress
from stages.deploy.folder import read_export_about
from stages.deploy.make_onnx import LogPosteriors
from stages.deploy.transcribe import Transcript
from storage.corpus.corpus_file import CorpusFile

SECONDS = 60.0  # of speech in a round


def main() -> None:
    """Print one table for the work directory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--audio", type=Path, help="test.tsv of `essence corpus --keep-audio`")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{machine()}; torch {torch.__version__}\n")
    print(
        "| model | precision | bytes | torch / ONNX | model RTF | whole RTF | WER dev | WER test |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, test in ensembles(options.work):
        print(f"| {name} | float32 | {bytes_of(options.work, 'member'):,} | | | | | {test:.2%} |")
    for export in sorted(options.work.glob("export-*")):
        print_export(export, options.audio, rounds=options.rounds)


def ensembles(work: Path) -> Iterator[tuple[str, float]]:
    """Word error rate of the ensemble on test, where it was evaluated."""
    for place in sorted(work.glob("evaluation-*")):
        if read_record(place).remarks.get("system") == "ensemble":
            words = json.loads((place / "result.json").read_text())["test"]["words"]
            errors = words["insertions"] + words["deletions"] + words["substitutions"]
            yield "ensemble", errors / words["reference_words"]


def bytes_of(work: Path, stage: str) -> int:
    """Size of all weights of a stage."""
    return sum(path.stat().st_size for path in work.glob(f"{stage}-*/{WEIGHTS_FILE}"))


def print_export(export: Path, audio: Path | None, *, rounds: int) -> None:
    """One line for the student in torch, one for its export."""
    about, inputs = read_export_about(export), read_record(export).inputs
    student = export.parent / about.name
    corpus = next(export.parent.glob(f"corpus-{inputs['corpus'][:12]}"))
    exported = OnnxModel(export)
    module = LogPosteriors(load_model(student, "cpu")[0]).eval()
    with CorpusFile(corpus / "test.h5") as test:
        per_row = test.about.frame_shift_ms / 1000
        wanted = round(SECONDS / per_row)
        features = [test.features(index) for index in range(len(test.utterances))]
        ends = np.cumsum([len(each) for each in features])
        features = features[: 1 + int(np.searchsorted(ends, wanted))]
    speech = sum(map(len, features)) * per_row
    times = in_turns(
        {
            "torch": lambda: [run_torch(module, each) for each in features],
            "onnx": lambda: [exported.of_utterance(each) for each in features],
        },
        rounds,
    )
    ratios = [a / b for a, b in zip(times["torch"], times["onnx"], strict=True)]
    whole = "" if audio is None else f"{transcribing_factor(export, audio):.4f}"
    dev, test_rate = (each.word_error_rate.rate for each in about.metrics)
    of_torch = [each.float32_word_error_rate for each in about.metrics]
    what = exported.about.architecture
    print(
        f"| {what} | torch | {(student / WEIGHTS_FILE).stat().st_size:,} | 1 | "
        f"{statistics.median(times['torch']) / speech:.5f} | | {of_torch[0]:.2%} | "
        f"{of_torch[1]:.2%} |"
    )
    print(
        f"| | {exported.about.precision} | {(export / ONNX_FILE).stat().st_size:,} | "
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) | "
        f"{statistics.median(times['onnx']) / speech:.5f} | {whole} | {dev:.2%} | "
        f"{test_rate:.2%} |",
        flush=True,
    )


@torch.no_grad()
def run_torch(module: LogPosteriors, features_TF: np.ndarray) -> torch.Tensor:
    """Log-posteriors of one utterance."""
    found: torch.Tensor = module(
        torch.from_numpy(features_TF[None]), torch.tensor([len(features_TF)])
    )
    return found


def in_turns(acts: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Processor seconds of each act in each round; the first round is not counted."""
    times: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(rounds + 1):
        for name, act in acts.items():
            begun = time.process_time()
            act()
            times[name].append(time.process_time() - begun)
    return {name: taken[1:] for name, taken in times.items()}


def transcribing_factor(export: Path, audio: Path) -> float:
    """Processor seconds of transcribing the table, for each second of speech."""
    transcriber = open_transcriber(export, cmvn_stats=None, threads=1)
    begun = time.process_time()
    with SilentProgress().task("", total=1, unit="") as task:
        found = list(transcriber.transcribe(read_speech([audio]), task))
    taken = time.process_time() - begun
    return taken / sum(each.seconds for each in found if isinstance(each, Transcript))


if __name__ == "__main__":
    main()
