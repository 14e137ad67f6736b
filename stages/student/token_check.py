"""Token check: settings of a student that need a class of every frame, or token sequences.

The settings of a pipeline are checked by the same function before anything is made.
"""

from collections.abc import Iterator

from stages.contract.errors import BadInput
from stages.student.settings import StudentSettings

NEED_FRAMES = {
    "trust": "compares rank 1 with the class of the frame",
    "labels": "are classes of frames, by the ensemble",
    "label_smoothing": "is of the class of a frame",
}


def misfits_of_targets(settings: StudentSettings, *, has_tokens: bool) -> Iterator[str]:
    """What of a student does not fit a corpus with or without token sequences, in words."""
    if not has_tokens:
        if settings.blank != "keep" and settings.hard_weight < 1:
            yield (
                "blank is for a corpus of tokens, whose class 0 is the blank, and corpus.targets "
                "is frames: remove it"
            )
        return
    for name, why in NEED_FRAMES.items():
        if not settings.at_default(name):
            yield f"{name} {why}, and corpus.targets is tokens: remove it"
    if settings.tail == "truth" and settings.hard_weight < 1:
        yield "tail truth is the class of the frame, and corpus.targets is tokens: choose another"


def refuse_without_tokens(settings: StudentSettings, *, has_tokens: bool) -> None:
    """Make sure that a student fits the corpus.

    Raises:
        BadInput: naming the first setting that does not.
    """
    for misfit in misfits_of_targets(settings, has_tokens=has_tokens):
        raise BadInput(f"student.{misfit}")
