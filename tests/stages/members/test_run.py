"""Every member runs behind one check: errors name the member, utterance and frame."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from stages.acoustic.models import pieces as cutting
from stages.contract.errors import BadInput, BadPosterior, MemberFailed, MissingPart
from stages.members.archived_posteriors import ArchivedPosteriors
from stages.members.batches import Batch
from stages.members.kinds import open_member
from stages.members.run import compute_posteriors, refuse_other_corpus
from stages.members.trained_member import LoadedModel
from storage.corpus.corpus_file import CorpusFile
from tests.support.makers.archives import make_archived_member, sharp_posteriors
from tests.support.makers.teacher import make_member
from tests.support.makers.training import NUM_CLASSES, make_corpus, make_corpus_directory

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

usual = LoadedModel.log_posteriors
Change = Callable[[Tensor, Batch], Tensor]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return make_corpus(tmp_path / "corpus" / "dev.h5")


def run_changed(
    directory: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    """Run a member over all of dev and change its output."""
    monkeypatch.setattr(
        LoadedModel, "log_posteriors", lambda self, batch: change(usual(self, batch), batch)
    )
    with CorpusFile(corpus) as file:
        member = open_member(directory, device="cpu")
        indices = range(len(file.utterances))
        list(compute_posteriors(member, file, indices, batch_frames=90, device="cpu", name="m"))


def test_error_counts_frames_from_the_start_of_the_utterance(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "PIECE_FRAMES", 20)
    monkeypatch.setattr(cutting, "CONTEXT_FRAMES", 7)

    def spoil(logp_BTC: Tensor, batch: Batch) -> Tensor:
        piece = batch.pieces[0]
        if piece.utterance.id == "dev-3" and piece.start == 20:
            logp_BTC[0, 29 - piece.first, 1] = torch.nan
        return logp_BTC

    directory = make_member(tmp_path / "m", "tdnn", seed=1)
    with pytest.raises(BadPosterior, match=r"member m, utterance 'dev-3', frame 29: .* is nan"):
        run_changed(directory, corpus, monkeypatch, spoil)


def test_context_frames_are_not_checked(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The posteriors of context frames come from another piece."""
    monkeypatch.setattr(cutting, "PIECE_FRAMES", 20)
    monkeypatch.setattr(cutting, "CONTEXT_FRAMES", 7)

    def spoil(logp_BTC: Tensor, batch: Batch) -> Tensor:
        for row, piece in enumerate(batch.pieces):
            logp_BTC[row, : piece.start - piece.first] = torch.nan
            logp_BTC[row, piece.stop - piece.first :] = torch.nan
        return logp_BTC

    run_changed(make_member(tmp_path / "m", "tdnn", seed=1), corpus, monkeypatch, spoil)


@pytest.mark.parametrize("change", [lambda x, _: x[:, :-1], lambda x, _: x[:, :, 1:]])
def test_output_of_another_shape_is_refused(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    directory = make_member(tmp_path / "m", "tdnn", seed=1)
    with pytest.raises(BadPosterior, match=r"member m, batch of utterance 'dev-0': .* wanted \(1"):
        run_changed(directory, corpus, monkeypatch, change)


def test_failing_utterance_is_named_by_every_caller(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(logp_BTC: Tensor, batch: Batch) -> Tensor:
        if any(piece.utterance.id == "dev-6" for piece in batch.pieces):
            raise RuntimeError("too long\nin two lines")
        return logp_BTC

    directory = make_member(tmp_path / "m", "tdnn", seed=1)
    told = r"^member m failed on utterance 'dev-6': RuntimeError: too long in two lines$"
    with pytest.raises(MemberFailed, match=told):
        run_changed(directory, corpus, monkeypatch, fail)


def test_stage_error_of_a_member_is_raised_unchanged(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Tensor, __: Batch) -> Tensor:
        raise MissingPart("the third part is missing")

    directory = make_member(tmp_path / "m", "tdnn", seed=1)
    with pytest.raises(MissingPart, match=r"^the third part"):
        run_changed(directory, corpus, monkeypatch, fail)


def test_member_of_another_corpus_is_refused(tmp_path: Path, corpus: Path) -> None:
    member = open_member(make_member(tmp_path / "m", "tdnn", seed=1, feature_dim=8), device="cpu")
    told = r"m: the member's feature_dim is 8, .*dev.h5 has 7: train it on this corpus"
    with CorpusFile(corpus) as file, pytest.raises(BadInput, match=told):
        refuse_other_corpus(member.about, file, name="m")


def test_archived_matrix_is_read_once_for_all_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = make_corpus_directory(tmp_path / "corpus")
    posteriors = sharp_posteriors(3, num_classes=NUM_CLASSES, floor=-50)
    directory = make_archived_member(tmp_path / "m", corpus, posteriors)
    monkeypatch.setattr(cutting, "PIECE_FRAMES", 10)
    monkeypatch.setattr(cutting, "CONTEXT_FRAMES", 3)
    reads: list[str] = []
    plain = ArchivedPosteriors._read

    def counted(self, located, row):  # type: ignore[no-untyped-def]
        before = self._last
        found = plain(self, located, row)
        reads.extend([row.id] if self._last is not before else [])
        return found

    monkeypatch.setattr(ArchivedPosteriors, "_read", counted)
    with CorpusFile(corpus / "train.h5") as file:
        member = open_member(directory, device="cpu")
        options = {"batch_frames": 90, "device": "cpu", "name": "m"}
        pieces = list(compute_posteriors(member, file, range(8), **options))  # type: ignore[arg-type]
        assert reads == [row.id for row in file.utterances[:8] if row.num_frames]
    assert len(pieces) > 2 * len(reads)


def test_archived_matrix_of_another_shape_is_refused(tmp_path: Path) -> None:
    """The shape of the matrix reveals an edit between opening and reading."""
    corpus = make_corpus_directory(tmp_path / "corpus")
    posteriors = sharp_posteriors(3, num_classes=NUM_CLASSES, floor=-50)
    directory = make_archived_member(tmp_path / "m", corpus, posteriors)
    member = ArchivedPosteriors(directory)
    scp = directory / "archives" / "train.scp"
    lines = scp.read_text().replace("train-2 ", "train-? ").replace("train-3 ", "train-2 ")
    scp.write_text(lines.replace("train-? ", "train-3 "))
    told = r"posteriors of shape .*, wanted .*: the archives were changed"
    with CorpusFile(corpus / "train.h5") as file, pytest.raises(BadInput, match=told):
        list(compute_posteriors(member, file, [2], batch_frames=9, device="cpu", name="m"))
