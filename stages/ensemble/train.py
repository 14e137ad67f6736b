"""corpus -> member: one acoustic model, trained on hard labels."""

from pathlib import Path

from stages.ensemble.settings import MemberSettings
from stages.speech.progress import Progress
from stages.speech.training.corpus import open_training_corpus
from stages.speech.training.objective import HardLabels
from stages.speech.training.train import train_model


def train_member(
    settings: MemberSettings,
    *,
    corpus_directory: Path,
    directory: Path,
    device: str,
    progress: Progress,
) -> None:
    """Fill `directory` with model.safetensors, model.json and metrics.jsonl.

    Goes on where an interrupted run of the same settings left off.
    """
    with open_training_corpus(corpus_directory, needs_labels=True) as corpus:
        train_model(
            settings.training,
            title=f"member {settings.name}",
            architecture=settings.architecture,
            objective=HardLabels(),
            corpus=corpus,
            directory=directory,
            device=device,
            progress=progress,
            facts={"objective": "hard labels"},
        )
