"""Kinds of copies: for each a settings class that makes the copy.

To add a kind, add a class and name it in `AnyCopy`.

Shapes: T samples.
"""

from fractions import Fraction
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from stages.contract.settings import Settings
from stages.corpus.copies.original import Original, Perturbed, rng_of
from stages.corpus.sound.noise import (
    BABBLE_VOICES,
    add_noise,
    echo_impulse,
    make_noise,
    mix_babble,
)
from stages.corpus.sound.tempo import change_tempo
from stages.corpus.sound.wave import Wave, convolve, resample

FINEST_RATIO = 1000  # speeds are fractions with at most this denominator

CopyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]+$")]
Split = Literal["train", "dev", "test"]
Seed = Annotated[int, Field(ge=0)]


class CopySettings(Settings):
    """What all kinds have. The copy of utterance `utt1` is called `NAME-utt1`.

    In train, copies join the originals; in dev and test, they stand for them.
    """

    name: CopyName
    splits: tuple[Split, ...] = Field(("train",), min_length=1)

    @property
    def time_factor(self) -> float:
        """Second t of the copy is second t * time_factor of the original; 1: time is the same."""
        return 1.0

    @model_validator(mode="after")
    def _splits_differ(self) -> Self:
        if len(set(self.splits)) != len(self.splits):
            raise ValueError(f"a split comes twice in {self.splits}: name each once")
        return self


class NoiseCopy(CopySettings):
    """Noise, hum or babble at a signal-to-noise ratio drawn from a range, and echo."""

    kind: Literal["noise"]
    seed: Seed = 0
    snr_db_low: float = Field(0.0, ge=-30, le=60)
    snr_db_high: float = Field(15.0, ge=-30, le=60)
    babble_share: float = Field(0.4, ge=0, le=1)  # of utterances; the others have noise or hum
    echo_share: float = Field(0.0, ge=0, le=1)  # of utterances
    echo_seconds_low: float = Field(0.1, gt=0, le=2)  # until the echo is 60 dB down
    echo_seconds_high: float = Field(0.5, gt=0, le=2)

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Self:
        _refuse_empty_range("snr_db", self.snr_db_low, self.snr_db_high)
        _refuse_empty_range("echo_seconds", self.echo_seconds_low, self.echo_seconds_high)
        return self

    def perturb(self, original: Original) -> Perturbed:
        """The sentence, with echo where drawn, in noise."""
        speech_T = original.recording.samples_T
        rng = rng_of(self.seed, copy=self.name, id=original.recording.id)
        if rng.random() < self.echo_share:
            seconds = rng.uniform(self.echo_seconds_low, self.echo_seconds_high)
            speech_T = convolve(speech_T, echo_impulse(seconds, rng=rng))
        noise_T = self._noise(original, rng=rng)
        snr_db = rng.uniform(self.snr_db_low, self.snr_db_high)
        return Perturbed(add_noise(speech_T, noise_T, snr_db=snr_db))

    def _noise(self, original: Original, *, rng: np.random.Generator) -> Wave:
        length = len(original.recording.samples_T)
        if rng.random() >= self.babble_share:
            return make_noise(length, rng=rng)
        num_voices = int(rng.integers(BABBLE_VOICES[0], BABBLE_VOICES[1] + 1))
        voices = original.others.draw(num_voices, rng=rng)
        return mix_babble(voices, length=length, rng=rng)


class SpeedCopy(CopySettings):
    """Played at another speed: pace and pitch change together, as on a tape."""

    kind: Literal["speed"]
    speed: float = Field(ge=0.5, le=2)

    @property
    def time_factor(self) -> float:
        """The speed."""
        return float(self._ratio)

    @property
    def _ratio(self) -> Fraction:
        return Fraction(self.speed).limit_denominator(FINEST_RATIO)

    def perturb(self, original: Original) -> Perturbed:
        """The sentence, resampled and taken for sound of the old rate."""
        up, down = self._ratio.denominator, self._ratio.numerator
        return Perturbed(resample(original.recording.samples_T, up=up, down=down))


class TempoCopy(CopySettings):
    """Spoken faster or slower: the pitch stays."""

    kind: Literal["tempo"]
    tempo: float = Field(ge=0.5, le=2)

    @property
    def time_factor(self) -> float:
        """The tempo."""
        return self.tempo

    def perturb(self, original: Original) -> Perturbed:
        """The sentence at another pace."""
        return Perturbed(change_tempo(original.recording.samples_T, tempo=self.tempo))


class TractCopy(CopySettings):
    """Another length of the vocal tract: resonances move by a factor drawn from a range."""

    kind: Literal["tract"]
    seed: Seed = 0
    warp_low: float = Field(0.9, ge=0.8, le=1.25)
    warp_high: float = Field(1.1, ge=0.8, le=1.25)

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Self:
        _refuse_empty_range("warp", self.warp_low, self.warp_high)
        return self

    def perturb(self, original: Original) -> Perturbed:
        """The same samples, for warped filters."""
        rng = rng_of(self.seed, copy=self.name, id=original.recording.id)
        return Perturbed(
            original.recording.samples_T, filter_warp=rng.uniform(self.warp_low, self.warp_high)
        )


AnyCopy = Annotated[
    NoiseCopy | SpeedCopy | TempoCopy | TractCopy,
    Field(discriminator="kind"),
]


def _refuse_empty_range(name: str, low: float, high: float) -> None:
    if low > high:
        raise ValueError(f"{name}_low {low} is above {name}_high {high}: exchange them")
