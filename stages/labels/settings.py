"""Settings of the labels stage. The pipeline takes them from the branches teacher and evaluate."""

from typing import Literal

from stages.contract.settings import Settings
from stages.members.ensemble_posteriors import Combine


class PathSettings(Settings):
    """How the ensemble's posteriors are made, and how paths through them are found.

    `weights` are in the order of the members' directories. `input` is that of the teacher:
    `original` gives copies whose time is not warped the labels of their originals. Scale and
    penalty are those with which the ensemble makes the fewest word errors on dev.
    """

    combine: Combine
    weights: tuple[float, ...] | None
    input: Literal["copy", "original"]
    on_bad_posterior: Literal["fail", "skip-utterance"]
    acoustic_scale: float
    insertion_penalty: float
    prior_smoothing: float
    beam: float
    max_active: int
    min_active: int
    # Without influence on the labels:
    batch_frames: int
    threads: int
    loaded_megabytes: int
    processes: int
