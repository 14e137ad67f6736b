"""SpokenSettings: amount of speech, number of voices, distortion."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from stages.contract.settings import NOT_IN_IDENTITY, Settings


class DistortionSettings(Settings):
    """Echo, noise, channel and gain. Shares are of utterances, 0 to 1."""

    snr_db_low: float = Field(3.0, ge=-30, le=60)
    snr_db_high: float = Field(20.0, ge=-30, le=60)
    babble_share: float = Field(0.4, ge=0, le=1)  # other utterances get noise or hum
    echo_share: float = Field(0.5, ge=0, le=1)
    echo_seconds_low: float = Field(0.1, gt=0, le=2)  # in which the echo decays by 60 dB
    echo_seconds_high: float = Field(0.5, gt=0, le=2)
    tilt_db_per_octave: float = Field(2.0, ge=0, le=12)  # of the channel, up or down
    gain_db: float = Field(10.0, ge=0, le=40)  # up or down

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Self:
        if self.snr_db_low > self.snr_db_high:
            raise ValueError(f"snr_db_low {self.snr_db_low} is above {self.snr_db_high}")
        if self.echo_seconds_low > self.echo_seconds_high:
            raise ValueError(
                f"echo_seconds_low {self.echo_seconds_low} is above {self.echo_seconds_high}"
            )
        return self


class SpokenSettings(Settings):
    """The built-in spoken corpus. Its samples and labels follow from these settings alone."""

    hours: float = Field(1.5, gt=0, le=1000)  # of training speech, with pauses
    dev_minutes: float = Field(8.0, gt=0, le=6000)
    test_minutes: float = Field(20.0, gt=0, le=6000)
    seed: int = Field(1, ge=0)
    train_voices: int = Field(48, ge=1, le=400)
    # Of train_voices; the others are untranscribed. It does not change the speech, so that
    # CorpusSettings adds it to the identity of the corpus.
    labelled_share: Annotated[float, NOT_IN_IDENTITY] = Field(0.3333, gt=0.0, le=1.0)
    dev_voices: int = Field(8, ge=1, le=80)
    test_voices: int = Field(20, ge=1, le=80)
    words_per_minute_low: int = Field(130, ge=80, le=300)
    words_per_minute_high: int = Field(210, ge=80, le=300)
    lm_sentences: int = Field(20_000, ge=5_000, le=10_000_000)  # text of the language model
    states_per_unit: int = Field(2, ge=1, le=5)
    min_frames_per_state: int = Field(2, ge=1, le=10)  # of 10 ms: 2 survives subsampling by 2
    min_count: int = Field(120, ge=1)  # frames that a context needs for a separate class
    max_pronunciations: int = Field(5, ge=1, le=20)  # of a word
    min_pronunciation_share: float = Field(0.03, ge=0, lt=1)
    num_mel_bins: int = Field(40, ge=10, le=80)
    distortion: DistortionSettings | None = DistortionSettings()  # null: clean speech

    @model_validator(mode="after")
    def _rates_are_in_order(self) -> Self:
        low, high = self.words_per_minute_low, self.words_per_minute_high
        if low > high:
            raise ValueError(f"words_per_minute_low {low} is above words_per_minute_high {high}")
        return self
