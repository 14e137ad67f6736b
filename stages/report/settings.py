"""Settings of the report."""

from pydantic import Field

from stages.speech.settings import Settings


class ReportSettings(Settings):
    """How the page looks. Nothing here changes a number."""

    title: str = "Essence: an ensemble, distilled"
    utterance: str | None = None  # dev utterance of the posteriorgram; None: one of usual length
    posteriorgram_classes: int = Field(default=24, ge=2, le=80)
    dots_per_inch: int = Field(default=144, ge=50, le=400)
