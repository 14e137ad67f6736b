"""Settings of the report."""

from pydantic import Field

from stages.contract.settings import Settings

PAGE_FORMAT = 9  # of what the page shows; raising it makes pages be written again


class ReportSettings(Settings):
    """How the page looks, and how its intervals are computed."""

    title: str = "Essence: an ensemble, distilled"
    utterance: str | None = (
        None  # dev utterance of the posteriorgram; None: one of about three seconds
    )
    posteriorgram_classes: int = Field(default=24, ge=2, le=80)
    bootstrap_samples: int = Field(default=10_000, ge=100)  # of intervals and p-values
    seed: int = Field(default=1, ge=0)  # of the bootstrap
    dots_per_inch: int = Field(default=144, ge=50, le=400)
