"""TrainingInputs: all that a caller gives for one model, and what identifies its run."""

from dataclasses import dataclass
from typing import Any

from stages.acoustic.models.own_architecture import source_digest
from stages.acoustic.models.settings import ArchitectureSettings
from stages.contract.progress import Progress
from stages.training.corpus import TrainingCorpus
from stages.training.objective import Objective
from stages.training.ranks import ALONE, Ranks
from stages.training.settings import TrainingSettings
from storage.files.fingerprint import fingerprint


@dataclass(frozen=True, kw_only=True)
class TrainingInputs:
    """One model to be trained.

    `facts` describe the objective: with the settings and the corpus they are the identity of the
    run, and they are kept in model.json. The number of ranks is no part of it: a run may continue
    with another number.
    """

    settings: TrainingSettings
    title: str
    architecture: ArchitectureSettings
    objective: Objective
    corpus: TrainingCorpus
    device: str
    progress: Progress
    facts: dict[str, Any]
    ranks: Ranks = ALONE

    @property
    def run_fingerprint(self) -> str:
        """Identity of the run: checkpoints of another one are ignored."""
        return self._fingerprint(self.settings.identity())

    @property
    def trunk_fingerprint(self) -> str:
        """The same for runs that differ only in their length: until they decay, they are one."""
        return self._fingerprint(self.settings.trunk_identity())

    @property
    def all_facts(self) -> dict[str, Any]:
        """`facts`, and the digest of a custom architecture's source."""
        if self.architecture.is_own:
            digest = source_digest(self.architecture.kind)
            return {**self.facts, "architecture_source": digest}
        return self.facts

    def _fingerprint(self, training: dict[str, Any]) -> str:
        corpus = self.corpus
        return fingerprint(
            {
                "training": training,
                "architecture": self.architecture.model_dump(mode="json"),
                "corpus": [
                    corpus.train.fingerprint,
                    corpus.dev.fingerprint,
                    sorted(corpus.left_out),
                ],
                "facts": self.all_facts,
            }
        )
