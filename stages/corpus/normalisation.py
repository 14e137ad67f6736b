"""Normaliser: the statistics that normalise an utterance, gathered in a pass before."""

import numpy as np
from numpy.typing import NDArray

from stages.contract.errors import BadInput
from stages.corpus.front_end import FrontEndSettings, Moments, normalise
from stages.corpus.raw import RawUtterance
from stages.corpus.source import Source

_Key = tuple[str, str]  # speaker, name of the copy


class Normaliser:
    """Cepstral mean and variance normalisation. "global" is estimated on train, for every split.

    With "speaker", the copies of one name have statistics apart from the originals and from other
    copies: so noisy speech is normalised in the same way in train, next to clean originals, and in
    a test split of noisy speech only, and originals are what they are without copies.

    Memory: the sums of every speaker of one split. An utterance without frames adds nothing.
    """

    def __init__(self, settings: FrontEndSettings, source: Source) -> None:
        self._settings = settings
        self._source = source
        self._moments: dict[_Key, Moments] = {}
        if settings.cmvn == "global":
            self._gather("train")

    def begin(self, split: str) -> None:
        """Gather what the utterances of `split` need, before the first of them."""
        if self._settings.cmvn == "speaker":
            self._gather(split)

    def __call__(self, raw: RawUtterance) -> NDArray[np.float32]:
        """Normalised features (T, F) of an utterance with frames."""
        if self._settings.cmvn == "none":
            return raw.features_TF
        if self._settings.cmvn == "utterance":
            moments = Moments.of(raw.features_TF)
        else:
            moments = self._moments[self._key(raw)]
        return normalise(raw.features_TF, moments, norm_vars=self._settings.norm_vars)

    def _key(self, raw: RawUtterance) -> _Key:
        if self._settings.cmvn != "speaker":
            return "", ""
        return raw.speaker, raw.copy_of.name if raw.copy_of else ""

    def _gather(self, split: str) -> None:
        self._moments = {}
        for raw in self._source.utterances(split):
            if len(raw.features_TF):
                self._count(raw)

    def _count(self, raw: RawUtterance) -> None:
        key, more = self._key(raw), Moments.of(raw.features_TF)
        so_far = self._moments.get(key)
        if so_far is not None:
            check_dim(raw, wanted=len(so_far.sum_F))
        self._moments[key] = more if so_far is None else so_far + more


def check_dim(raw: RawUtterance, *, wanted: int) -> None:
    """Refuse an utterance whose features are not like the others'."""
    found = raw.features_TF.shape[1]
    if not found:
        raise BadInput(f"utterance {raw.id!r} has frames without a feature: compute them again")
    if found != wanted:
        raise BadInput(
            f"utterance {raw.id!r} has {found} feature dims, the others {wanted}: "
            "were these features computed in the same way?"
        )
