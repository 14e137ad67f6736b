"""Run a member on batches, behind one check: what it gives is one distribution per frame.

Errors name the member and the utterance, whatever the kind of member.

Shapes: B pieces, T frames, C classes.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stages.contract.errors import BadInput, BadPosterior, MemberFailed
from stages.members.batches import Batch, Piece, plan_batches, read_batch
from stages.members.member import LoadedMember, Member, MemberAbout
from stages.members.posterior_gate import check_posteriors
from storage.corpus.corpus_file import CorpusFile
from storage.errors import EssenceError
from storage.files.fingerprint import SHORT


def compute_posteriors(
    member: Member,
    corpus: CorpusFile,
    indices: Iterable[int],
    *,
    batch_frames: int,
    device: str,
    name: str,
) -> Iterator[tuple[Piece, NDArray[np.float32]]]:
    """Checked log-posteriors (T, C) of utterances, piece by piece in the order of `indices`.

    The member is in memory until the iterator ends. Empty utterances have no piece.

    Raises:
        BadInput, MissingPart: if a file of the member is missing or not what it should be.
        MemberFailed, BadPosterior: naming member and utterance.
    """
    loaded = member.load()
    with_features = member.about.feature_dim is not None
    for pieces in plan_batches(corpus.utterances, indices, batch_frames=batch_frames):
        batch = read_batch(corpus, pieces, device=device, with_features=with_features)
        for piece, logp_TC in run_member(loaded, batch, member.about, name=name):
            array_TC = logp_TC.cpu().numpy()
            check_piece(array_TC, piece, num_classes=member.about.num_classes, name=name)
            yield piece, array_TC


def run_member(
    member: LoadedMember, batch: Batch, about: MemberAbout, *, name: str
) -> Iterator[tuple[Piece, Tensor]]:
    """Log-posteriors (T, C) of each piece of a batch, not yet checked beyond their shape.

    Raises:
        MemberFailed: naming the utterance with which the member fails.
        BadPosterior: if the output has another shape than the batch and the classes.
    """
    try:
        logp_BTC = member.log_posteriors(batch)
    except EssenceError:
        raise
    except Exception as cause:
        raise MemberFailed(_failure(member, batch, name, cause)) from cause
    wanted = (*batch.features_BTF.shape[:2], about.num_classes)
    if tuple(logp_BTC.shape) != wanted:
        first = batch.pieces[0].utterance.id
        raise BadPosterior(
            f"member {name}, batch of utterance {first!r}: posteriors of shape "
            f"{tuple(logp_BTC.shape)}, wanted {wanted}: was the model trained on this corpus?"
        )
    yield from batch.without_context(logp_BTC)


def check_piece(logp_TC: NDArray[np.float32], piece: Piece, *, num_classes: int, name: str) -> None:
    """Shape, finiteness and normalisation of a piece's log-posteriors.

    Raises:
        BadPosterior: naming member, utterance and the first frame that is wrong.
    """
    check_posteriors(
        logp_TC,
        num_frames=piece.num_frames,
        num_classes=num_classes,
        member=name,
        utterance=piece.utterance.id,
        first_frame=piece.start,
    )


def refuse_other_corpus(about: MemberAbout, corpus: CorpusFile, *, name: str) -> None:
    """Make sure that a member's classes and features are the corpus's.

    Raises:
        BadInput: naming the member and the field.
    """
    for field in ("num_classes", "class_inventory", "feature_dim"):
        found, wanted = getattr(about, field), getattr(corpus.about, field)
        if found not in (wanted, None):  # None: the member reads no features
            raise BadInput(
                f"{name}: the member's {field} is {str(found)[:SHORT]}, {corpus.path} has "
                f"{str(wanted)[:SHORT]}: train it on this corpus, or leave it out"
            )


def _failure(member: LoadedMember, batch: Batch, name: str, cause: Exception) -> str:
    """Which utterance of the batch fails alone too; if none does, all of them are named."""
    guilty = range(len(batch.pieces))
    for row in guilty:
        try:
            member.log_posteriors(batch.only([row]))
        except Exception:  # noqa: BLE001  `cause` is raised
            guilty = range(row, row + 1)
            break
    names = ", ".join(repr(batch.pieces[row].utterance.id) for row in guilty)
    cure = ": lower batch_frames (of teacher or evaluate)" if len(guilty) > 1 else ""
    reason = " ".join(str(cause).split())  # messages are one line
    return f"member {name} failed on utterance {names}: {type(cause).__name__}: {reason}{cure}"
