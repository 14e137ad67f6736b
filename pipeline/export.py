"""student -> export: a folder that transcribes speech without torch, measured and described.

The words of the exported model are measured by the code of 'essence evaluate', at the scale and
penalty that were chosen for the student.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from pipeline.cards import card_facts
from pipeline.errors import Changed, NotMadeYet
from pipeline.evaluation import decode_system, decoding_graph
from pipeline.job import Job
from pipeline.shelf.record import read_record
from pipeline.systems import students_of
from stages.acoustic.features.cmvn_file import CMVN_FILE
from stages.acoustic.models.model_file import read_model_about
from stages.acoustic.models.onnx_model import ONNX_FILE, Precision, read_onnx_about
from stages.contract.errors import MissingPart
from stages.contract.results import Evaluation, SplitResult, System
from stages.deploy.card import CardFacts, CardSettings, export_card
from stages.deploy.folder import (
    CARD_FILE,
    EXPORT_FILE,
    DecodingSettings,
    Equality,
    ExportAbout,
    Metrics,
    SoundSettings,
    WordErrorRate,
)
from stages.deploy.write import write_decoding, write_model
from stages.evaluate.evaluate import evaluate_system
from stages.report.statistics.bootstrap import Bootstrap
from storage.corpus.corpus_file import CorpusFile
from storage.files.leftovers import scratch_folder, unfinished
from storage.files.publish import publish_copy, publish_directory, publish_file

MOST_LOST = 0.002  # of the word error rate, by int8: more is worth a note


def find_student(job: Job, named: str) -> System:
    """The student with this name in tables, or in this directory.

    Raises:
        NotMadeYet: listing those that are here.
    """
    found = list(students_of(job))
    for system in found:
        place = system.model_directories[0]
        if named in (system.name, place.name) or _is_same(Path(named), place):
            return system
    names = ", ".join(f"{each.name!r} ({each.model_directories[0].name})" for each in found)
    raise NotMadeYet(
        f"{named} is no student of these settings; here are: {names or 'none'}: name one of them, "
        "or give the settings that it was made with (--config)"
    )


def _is_same(path: Path, place: Path) -> bool:
    return path.exists() and path.samefile(place)


def make_export(job: Job, student: System, precision: Precision, card: CardSettings) -> Path:
    """The export of a student, made if it is not there."""
    evaluation = decode_system(job, student)  # scale and penalty, and the errors to compare with
    settings = {"precision": precision, "card": card.model_dump()}
    recipe = job.recipes.export(student, settings)
    return job.make(
        recipe,
        lambda: _Filling(
            job=job,
            student=student,
            precision=precision,
            card=card,
            evaluation=evaluation,
            corpus_directory=job.need(job.recipes.corpus),
            graph_directory=decoding_graph(job),
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Filling:
    """Fills the directory of an export."""

    job: Job
    student: System
    precision: Precision
    card: CardSettings
    evaluation: Evaluation
    corpus_directory: Path
    graph_directory: Path

    def __call__(self, *, directory: Path) -> None:
        self._refuse_missing_sums()
        equality = write_model(
            directory,
            student=self.student.model_directories[0],
            corpus_directory=self.corpus_directory,
            precision=self.precision,
        )
        write_decoding(
            directory,
            corpus_directory=self.corpus_directory,
            graph_directory=self.graph_directory,
            prior_smoothing=self.job.settings.evaluate.prior_smoothing,
        )
        about = self._about(equality, self._measure(directory))
        publish_file(directory / EXPORT_FILE, about.model_dump_json(indent=2).encode() + b"\n")
        text = export_card(
            self._facts(),
            self.card,
            onnx=read_onnx_about(directory),
            about=about,
            num_bytes=(directory / ONNX_FILE).stat().st_size,
        )
        publish_file(directory / CARD_FILE, text.encode())

    def _facts(self) -> CardFacts:
        place = self.student.model_directories[0]
        return card_facts(
            read_record(place).recipe,
            read_model_about(place),
            corpus=self.job.settings.corpus,
            corpus_directory=self.corpus_directory,
        )

    def _refuse_missing_sums(self) -> None:
        """A model whose features are normalised by those of train needs the sums over train."""
        path = self.corpus_directory / CMVN_FILE
        if self.job.settings.corpus.features.cmvn == "global" and not path.is_file():
            raise MissingPart(
                f"{path} is missing: the corpus was made by an earlier version: remove "
                f"{self.corpus_directory} and run 'essence corpus' again: the same corpus"
            )

    def _measure(self, directory: Path) -> tuple[Metrics, ...]:
        """Word errors of the exported model, by the code that evaluates every system."""
        point = {
            "acoustic_scales": (self.evaluation.acoustic_scale,),
            "insertion_penalties": (self.evaluation.insertion_penalty,),
        }
        system = System(
            name=f"{self.student.name} as ONNX, {self.precision}",
            kind="student",
            fingerprint=read_onnx_about(directory).fingerprint,
            model_directories=(directory,),
            weights=(1.0,),
        )
        with scratch_folder(directory / "evaluation") as scratch:
            found = evaluate_system(
                self.job.settings.evaluate.model_copy(update=point),
                system=system,
                corpus_directory=self.corpus_directory,
                graph_directory=self.graph_directory,
                directory=scratch,
                device="cpu",
                progress=self.job.progress,
            )
        pairs = ((found.dev, self.evaluation.dev), (found.test, self.evaluation.test))
        metrics = tuple(self._metrics(*pair) for pair in pairs)
        self._note_losses(metrics)
        return metrics

    def _metrics(self, found: SplitResult, wanted: SplitResult) -> Metrics:
        how = self.job.settings.report
        draws = Bootstrap(found.utterances, samples=how.bootstrap_samples, seed=how.seed)
        interval = draws.interval(draws.pool([found]))
        return Metrics(
            split=found.split,
            word_error_rate=WordErrorRate(
                rate=found.words.rate, low=interval.low, high=interval.high
            ),
            float32_word_error_rate=wanted.words.rate,
            frame_error=found.frames.frame_error,
            num_utterances=len(found.utterances),
            num_words=found.words.reference_words,
        )

    def _note_losses(self, metrics: tuple[Metrics, ...]) -> None:
        for each in metrics:
            lost = each.word_error_rate.rate - each.float32_word_error_rate
            if abs(lost) > MOST_LOST:
                self.job.progress.note(
                    f"{self.student.name}: {each.split}: {self.precision} makes {lost:+.2%} word "
                    "errors next to the student in torch"
                )

    def _about(self, equality: Equality, metrics: tuple[Metrics, ...]) -> ExportAbout:
        settings = self.job.settings
        bins = settings.corpus.num_mel_bins
        with CorpusFile(self.corpus_directory / "test.h5") as corpus:
            row_ms = corpus.about.frame_shift_ms
        how = settings.evaluate
        return ExportAbout(
            name=self.student.model_directories[0].name,
            sound=None if bins is None else SoundSettings(num_mel_bins=bins),
            features=settings.corpus.features,
            row_ms=row_ms,
            decoding=DecodingSettings(
                acoustic_scale=self.evaluation.acoustic_scale,
                insertion_penalty=self.evaluation.insertion_penalty,
                beam=how.beam,
                max_active=how.max_active,
                min_active=how.min_active,
            ),
            equality=equality,
            metrics=metrics,
        )


def copy_export(export: Path, target: Path) -> Path:
    """A copy of an export at `target`, whole or not at all.

    Raises:
        Changed: if something is there already.
    """
    if os.path.lexists(target):
        raise Changed(f"{target} exists already: name another directory, or remove it")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = unfinished(target)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        for source in sorted(export.rglob("*")):  # a folder before what is in it
            copy = partial / source.relative_to(export)
            if source.is_dir():
                copy.mkdir()
            else:
                publish_copy(source, copy)
        publish_directory(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target
