"""The end of a training run: which weights are kept, and how a finished run is recognised."""

from pathlib import Path
from typing import Any

from stages.acoustic.models.architectures import num_parameters
from stages.acoustic.models.model_file import ABOUT_FILE, ModelAbout, load_model, save_model
from stages.training.corpus import TrainingCorpus
from stages.training.dev_score import score_model
from stages.training.interrupts import Interrupt
from stages.training.ranks import Ranks
from stages.training.state import TrainingState, mean_weights


def is_finished(directory: Path, *, run: str) -> bool:
    """Whether `directory` holds the whole model of this run."""
    if not (directory / ABOUT_FILE).is_file():
        return False
    _, about = load_model(directory, "cpu")
    return about.facts.get("run") == run


def finish_run(
    state: TrainingState,
    *,
    corpus: TrainingCorpus,
    directory: Path,
    batch_frames: int,
    chunk_frames: int,
    device: str,
    ranks: Ranks,
    interrupt: Interrupt,
    facts: dict[str, Any],
) -> bool:
    """Save the best weights on dev, or the mean of the last epochs' where that errs less.

    False where somebody asked to stop before they were saved.
    """
    best = min(state.position.metrics, key=lambda epoch: epoch.dev_frame_error)
    frame_error, cross_entropy = best.dev_frame_error, best.dev_cross_entropy
    chosen = f"epoch {best.epoch}"
    state.model.load_state_dict(state.best)
    if len(state.recent) > 1:
        state.model.load_state_dict(mean_weights(list(state.recent)))
        score = score_model(
            state.model,
            corpus.dev,
            batch_frames=batch_frames,
            chunk_frames=chunk_frames,
            device=device,
            ranks=ranks,
            interrupt=interrupt,
        )
        if score is None:
            return False
        if score.frame_error < frame_error:
            frame_error, cross_entropy = score.frame_error, score.cross_entropy
            chosen = f"mean of the last {len(state.recent)} epochs"
        else:
            state.model.load_state_dict(state.best)
    about = ModelAbout(
        architecture=state.model.settings,
        feature_dim=state.model.feature_dim,
        num_classes=state.model.num_classes,
        class_inventory=corpus.train.about.class_inventory,
        corpus_fingerprint=corpus.train.fingerprint,
        facts={
            **facts,
            "weights": chosen,
            "epochs": len(state.position.metrics),
            "dev_frame_error": frame_error,
            "dev_cross_entropy": cross_entropy,
            "num_parameters": num_parameters(state.model),
        },
    )
    ranks.first(lambda: save_model(directory, state.model, about).fingerprint.encode())
    return True
