"""What a model card states of a student, from its recipe and its files, and the student's own card.

All of it follows from the recipe and from what training made: names in tables depend on settings
that do not count, and are not on a card.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.job import Job
from pipeline.shelf.contents import read_json
from pipeline.shelf.freshness import Fill
from pipeline.shelf.record import Recipe
from stages.acoustic.models.description import describe_architecture, right_context_of
from stages.acoustic.models.model_file import ModelAbout, read_model_about
from stages.contract.latency import Latency
from stages.contract.results import CorpusSummary
from stages.corpus.settings import CorpusSettings
from stages.deploy.card import CardFacts, CardSettings, student_card
from stages.deploy.folder import CARD_FILE
from storage.files.fingerprint import SHORT
from storage.files.publish import publish_file

SPOKEN = "the built-in spoken corpus: English sentences, synthesised by espeak-ng"
SPOKEN_LICENSE = "none needed: it is made from the program's settings, without any recording"
SOURCES = {"kaldi": "a Kaldi data directory", "audio": "audio files with transcripts"}
OTHER_LICENSE = "unknown to the program: state it with 'essence export --data-license'"


def card_facts(
    recipe: Recipe, model: ModelAbout, *, corpus: CorpusSettings, corpus_directory: Path
) -> CardFacts:
    """What is known of a student without measuring it."""
    is_spoken = corpus.source == "spoken"
    summary = read_json(CorpusSummary, corpus_directory / "summary.json")
    architecture = model.architecture.model_dump(mode="json")
    right_context = right_context_of(architecture)
    latency = None
    if right_context is not None:
        latency = Latency(right_context=right_context, front_end=corpus.front_end)
    return CardFacts(
        name=recipe.name,
        architecture=describe_architecture(architecture),
        distilled_from=tuple(_origins(recipe, model)),
        source=SOURCES.get(corpus.source, SPOKEN),
        source_license=SPOKEN_LICENSE if is_spoken else OTHER_LICENSE,
        hours=tuple((split.split, split.hours) for split in summary.splits),
        latency=latency,
    )


def _origins(recipe: Recipe, model: ModelAbout) -> Iterator[str]:
    settings, inputs = recipe.settings, recipe.inputs
    if settings["hard_weight"] == 1:
        yield "nothing: a baseline on hard labels alone"
    else:
        yield (
            f"soft labels of an ensemble: k={settings['k']}, hard weight "
            f"{settings['hard_weight']:g}, tail {settings.get('tail')}, temperature "
            f"{settings.get('temperature'):g}"
        )
        yield f"store {model.facts.get('store', 'unknown')}"
    for stage in ("teacher", "labels", "corpus"):
        if stage in inputs:
            yield f"{stage}-{inputs[stage][:SHORT]}"


def with_card(job: Job, recipe: Recipe, fill: Fill) -> Fill:
    """`fill`, which trains a student, and then its card."""
    return _WithCard(
        fill=fill,
        recipe=recipe,
        corpus=job.settings.corpus,
        corpus_directory=job.need(job.recipes.corpus),
        is_first=job.ranks.is_first,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _WithCard:
    """Fills the directory of a student, then writes its card."""

    fill: Fill
    recipe: Recipe
    corpus: CorpusSettings
    corpus_directory: Path
    is_first: bool  # of several ranks one writes

    def __call__(self, *, directory: Path) -> None:
        """Train, then write the card; not after an interruption."""
        self.fill(directory=directory)
        if not self.is_first:
            return
        model = read_model_about(directory)
        facts = card_facts(
            self.recipe, model, corpus=self.corpus, corpus_directory=self.corpus_directory
        )
        text = student_card(
            facts,
            CardSettings(),
            num_parameters=model.facts["num_parameters"],
            frame_error=model.facts["dev_frame_error"],
        )
        publish_file(directory / CARD_FILE, text.encode())
