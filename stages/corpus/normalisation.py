"""Normaliser: mean and variance normalisation; statistics are gathered in a first pass."""

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.features.front_end import Moments, normalise
from stages.acoustic.features.front_end_settings import FrontEndSettings
from stages.contract.errors import BadInput
from stages.corpus.raw import RawUtterance
from stages.corpus.source import Source

_Key = tuple[str, str]  # speaker, name of the copy


class Normaliser:
    """Cepstral mean and variance normalisation. Global statistics are those of train.

    With cmvn "speaker", the copies of one name have separate statistics: noisy speech is normalised
    in the same way in train, next to clean originals, and in a test split of noisy speech only, and
    the originals are the same with and without copies.

    Memory: the sums of all speakers of one split. Utterances without frames are ignored.
    """

    def __init__(self, settings: FrontEndSettings, source: Source) -> None:
        self._settings = settings
        self._source = source
        self._moments: dict[_Key, Moments] = {}
        if settings.cmvn == "global":
            self._gather("train")

    def begin(self, split: str) -> None:
        """Gather the statistics of `split`; call it before its first utterance."""
        if self._settings.cmvn == "speaker":
            self._gather(split)

    @property
    def total(self) -> Moments | None:
        """Sums over all speech whose statistics are gathered now; None if none are."""
        several = list(self._moments.values())
        return sum(several[1:], start=several[0]) if several else None

    def __call__(self, raw: RawUtterance) -> NDArray[np.float32]:
        """Normalised features (T, F) of an utterance that has frames."""
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
    """Raise BadInput if an utterance does not have `wanted` feature dims."""
    found = raw.features_TF.shape[1]
    if not found:
        raise BadInput(f"utterance {raw.id!r} has frames of 0 features: compute them again")
    if found != wanted:
        raise BadInput(
            f"utterance {raw.id!r} has {found} feature dims, the others {wanted}: "
            "were these features computed in the same way?"
        )
