"""Settings of the teacher stage: how much is kept, how members are averaged."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.contract.settings import NOT_IN_IDENTITY, Settings, Temperature
from stages.members.ensemble_posteriors import Combine
from storage.format.codec import CodecChoice
from storage.format.shard_plan import CHUNK_FRAMES, SHARD_FRAMES

Positive = Annotated[float, Field(gt=0)]


class TeacherSettings(Settings):
    """`kept` ranks of every frame; `weights` in the order of `ensemble.members`, None: all alike.

    With `keep_mass` or `keep_min_prob` a frame keeps fewer ranks, at least one: those until their
    probabilities sum to `keep_mass`, and those of at least `keep_min_prob`. The tails stay exact.

    `temperature` is applied before truncation. For each of `temperatures` the store also holds
    a log norm a frame, which makes kept probabilities exact at that temperature too.

    `input` decides what is labelled where a copy (corpus.copies) is its original frame by frame:
    `copy`, each by its own features; `original`, the original only, and students read its soft
    labels for the copy. Copies whose time is warped are labelled in any case.

    `codec` compresses the store: `lz4` decompresses about twice as fast as `zstd`, which is 2 to
    5 % smaller. Values are the same.

    `threads` are those of one process: another number changes the last bits of a forward pass, so
    it is the same in all of them, and belongs to the store's identity; more processes (--workers)
    are faster than more threads. The last two change speed and memory only: members whose weights
    fit into `loaded_megabytes` together are loaded once a process, otherwise one at a time, once a
    shard.
    """

    kept: int = Field(32, ge=1, le=4096)
    keep_mass: float | None = Field(None, gt=0, lt=1)
    keep_min_prob: float | None = Field(None, gt=0, lt=1)
    combine: Combine = "geometric"
    weights: tuple[Positive, ...] | None = None
    temperature: Temperature = 1.0
    temperatures: tuple[Temperature, ...] = ()
    shard_frames: int = Field(SHARD_FRAMES, ge=1, le=1 << 22)
    chunk_frames: int = Field(CHUNK_FRAMES, ge=1, le=1 << 17)
    codec: CodecChoice = "lz4"
    splits: tuple[Literal["train", "dev", "test"], ...] = Field(("train", "dev"), min_length=1)
    input: Literal["copy", "original"] = "copy"
    # given_transcript: of transcribed utterances of train, those of all paths that spell them.
    posteriors: Literal["plain", "given_transcript"] = "plain"
    transcript_scale: Positive = 0.5  # of log-likelihoods along the transcript
    on_bad_posterior: Literal["fail", "skip-utterance"] = "fail"
    threads: int = Field(1, ge=1, le=1024)
    batch_frames: Annotated[int, NOT_IN_IDENTITY] = Field(8192, ge=1)
    loaded_megabytes: Annotated[int, NOT_IN_IDENTITY] = Field(4096, ge=0)

    def not_in_identity(self) -> set[str]:
        """The defaults of six settings do not count: stores from before them stay fresh."""
        of_transcripts = {"transcript_scale"} if self.posteriors == "plain" else set()
        return (
            super().not_in_identity()
            | self.at_default(
                "codec", "keep_mass", "keep_min_prob", "input", "posteriors", "threads"
            )
            | of_transcripts
        )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.splits)) != len(self.splits):
            raise ValueError(f"a split comes twice in {self.splits}")
        if len(set(self.temperatures)) != len(self.temperatures) or 1.0 in self.temperatures:
            raise ValueError(f"temperatures {self.temperatures}: each once, and none is 1")
        return self
