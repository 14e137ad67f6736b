"""Likelihoods: members -> log p(c|x) - log p(c) of some utterances, whole, in memory.

The average is the evaluation's: exact, without a floor, since a path may go through a class that
all members find unlikely.

Shapes: T frames, C classes.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stages.contract.errors import BadPosterior
from stages.labels.settings import PathSettings
from stages.members.batches import plan_batches, read_batch
from stages.members.ensemble_posteriors import average_without_floor, raise_to_floor
from stages.members.run import check_piece, run_member
from stages.members.shares import LoadedShares, Share
from storage.corpus.corpus_file import CorpusFile

Logp = NDArray[np.float32]


def likelihoods_of(
    loaded: LoadedShares,
    corpus: CorpusFile,
    indices: Sequence[int],
    *,
    settings: PathSettings,
    log_prior_C: Logp,
    device: str,
) -> tuple[dict[int, Logp], dict[int, str]]:
    """Scaled log-likelihoods (T, C) by index; reasons of utterances whose posteriors are refused.

    Raises:
        BadPosterior: naming member, utterance and frame, if `on_bad_posterior` is "fail".
        MemberFailed: if a member raises, naming it and the utterance.
    """
    members: list[dict[int, Logp]] = []
    bad: dict[int, str] = {}
    for share in loaded.shares:
        found, refused = _posteriors_of(
            share, corpus, indices, batch_frames=settings.batch_frames, device=device
        )
        if refused and settings.on_bad_posterior == "fail":
            raise BadPosterior(next(iter(refused.values())))
        members.append(found)
        bad = refused | bad
    weights = [share.weight for share in loaded.shares]
    floors = [share.member.averaging_floor for share in loaded.shares]
    averages_logarithms = len(members) > 1 and settings.combine == "geometric"
    scaled: dict[int, Logp] = {}
    for index in indices:
        if index in bad:
            continue
        several = [found.pop(index) for found in members]
        if averages_logarithms:
            pairs = zip(several, floors, strict=True)
            several = [raise_to_floor(logp_TC, floor=floor) for logp_TC, floor in pairs]
        logp_TC = average_without_floor(several, weights, settings.combine)
        scaled[index] = (logp_TC - log_prior_C) * np.float32(settings.acoustic_scale)
    return scaled, bad


def _posteriors_of(
    share: Share, corpus: CorpusFile, indices: Sequence[int], *, batch_frames: int, device: str
) -> tuple[dict[int, Logp], dict[int, str]]:
    """One member's checked log-posteriors by index, and what the gate refused."""
    member, about = share.load(), share.member.about
    pieces: dict[int, list[Logp]] = defaultdict(list)
    bad: dict[int, str] = {}
    for planned in plan_batches(corpus.utterances, indices, batch_frames=batch_frames):
        with_features = about.feature_dim is not None
        batch = read_batch(corpus, planned, device=device, with_features=with_features)
        for piece, logp_TC in run_member(member, batch, about, name=share.name):
            array_TC = logp_TC.cpu().numpy()
            try:
                check_piece(array_TC, piece, num_classes=about.num_classes, name=share.name)
            except BadPosterior as error:
                bad.setdefault(piece.index, str(error))
            pieces[piece.index].append(array_TC)
    return {index: np.concatenate(each) for index, each in pieces.items()}, bad
