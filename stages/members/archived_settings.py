"""Settings of the archived kind of member (archived.py)."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from stages.contract.results import SystemFacts
from stages.contract.settings import NOT_IN_IDENTITY, LengthDifference
from stages.members.posterior_files import PosteriorsAre, posteriors_fingerprint
from stages.members.settings import MemberSettings, Source


class ArchivedMemberSettings(MemberSettings):
    """A member by its `posteriors`: a directory of Kaldi archives (posterior_archive.py)."""

    key: ClassVar[str] = "posteriors"
    # Recipes are older than kinds: a member must keep its name.
    kind: Annotated[Literal["archived"], NOT_IN_IDENTITY] = "archived"
    posteriors: Annotated[Path, NOT_IN_IDENTITY]  # the content of the archives counts
    posteriors_are: PosteriorsAre = "log"  # natural logarithms, or probabilities
    max_length_difference: LengthDifference = 0  # frames; 1: posteriors lose or repeat their last

    def identity(self) -> dict[str, Any]:
        """The settings that count, and `folds`, which recipes of this kind have always had."""
        return {**super().identity(), "folds": 1}

    def source(self) -> Source:
        """The archives of all splits."""
        return Source(
            name="posteriors",
            path=self.posteriors,
            fingerprint=partial(posteriors_fingerprint, self.posteriors),
        )

    def facts(self) -> SystemFacts:
        """The architecture is not known here."""
        return SystemFacts(architecture="archived posteriors")
