"""CTC in the trainer: equal to the definition, learns, resumes and shares batches exactly."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

from stages.acoustic.models.model_file import read_model_about
from stages.members.trained import train_member
from stages.members.trained_settings import TrainedMemberSettings
from stages.student.loss.ctc_definition import ctc_nats_by_definition
from stages.training.batches import Piece, cut_pieces, read_batch
from stages.training.corpus import open_training_corpus
from stages.training.ctc import CtcLabels, Targets, ctc_nats, read_tokens
from stages.training.token_score import score_tokens
from storage.corpus.corpus_file import CorpusFile
from storage.corpus.corpus_writer import CorpusWriter
from tests.support.makers.ranks import train, train_together
from tests.support.makers.tokens import make_token_corpus, make_token_directory, make_token_store
from tests.support.makers.training import (
    FEATURE_DIM,
    NUM_CLASSES,
    RecordingProgress,
    ctrl_c_at,
    make_corpus_about,
    make_settings,
)

LENGTHS_B = (7, 4, 9)
TOKENS: tuple[list[int], ...] = ([1, 1, 2], [], [3, 2, 2, 4])


def _targets(tokens: tuple[list[int], ...] = TOKENS) -> Targets:
    flat = torch.tensor([token for several in tokens for token in several], dtype=torch.long)
    return torch.tensor(LENGTHS_B), flat, torch.tensor([len(several) for several in tokens])


def _logits(seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(sum(LENGTHS_B), NUM_CLASSES, generator=rng, dtype=torch.float64)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_token_directory(tmp_path_factory.mktemp("corpus"))


def test_nats_are_those_of_the_definition() -> None:
    logits_NC = _logits()
    parts = torch.split(logits_NC.log_softmax(1), list(LENGTHS_B))
    wanted = [ctc_nats_by_definition(parts[row], TOKENS[row]) for row in (0, 2)]
    found = ctc_nats(logits_NC, *_targets())
    torch.testing.assert_close(found, torch.stack(wanted))


def test_gradient_of_the_nats_passes_gradcheck() -> None:
    logits_NC = _logits().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: ctc_nats(z, *_targets()).sum(), logits_NC)


def test_batch_without_transcripts_costs_nothing_and_has_a_gradient() -> None:
    logits_NC = _logits().requires_grad_()
    nats = ctc_nats(logits_NC, *_targets(([], [], []))).sum()
    nats.backward()  # type: ignore[no-untyped-call]
    assert not nats.detach()
    assert logits_NC.grad is not None
    assert not logits_NC.grad.any()


def test_half_precision_logits_are_summed_in_single() -> None:
    nats = ctc_nats(_logits().bfloat16(), *_targets())
    assert nats.dtype == torch.float32
    torch.testing.assert_close(nats.double(), ctc_nats(_logits(), *_targets()), rtol=0.02, atol=0.1)


def test_loss_is_the_mean_over_frames_of_transcribed_utterances(directory: Path) -> None:
    with CorpusFile(directory / "train.h5") as corpus:
        pieces = [
            Piece(index=i, start=0, num_frames=corpus.utterances[i].num_frames) for i in (0, 2)
        ]
        batch = read_batch(corpus, pieces)
        objective = CtcLabels(corpus=corpus)
        targets = objective.read(batch)
        hidden = torch.randn(batch.num_frames, NUM_CLASSES, dtype=torch.float64)
        labels_N = batch.labels_BT[batch.live_BT]
        loss = objective.loss(hidden, nn.Identity(), labels_N, targets)
    assert loss.num_frames == pieces[0].num_frames  # the other one is untranscribed
    lengths_B, tokens_L, num_tokens_B = targets
    nats = float(ctc_nats(hidden, lengths_B, tokens_L, num_tokens_B).sum())
    assert float(loss.total) == pytest.approx(nats / pieces[0].num_frames)


def test_transcribed_utterances_are_not_cut_and_others_are() -> None:
    pieces = cut_pieces([10, 10, 0], 4, is_whole_U=np.array([True, False, True]))
    assert [(piece.index, piece.num_frames) for piece in pieces] == [
        (0, 10),
        (1, 3),
        (1, 3),
        (1, 4),
    ]


def test_piece_of_a_longer_utterance_has_no_tokens(directory: Path) -> None:
    with CorpusFile(directory / "train.h5") as corpus:
        whole = corpus.utterances[0].num_frames
        pieces = [
            Piece(index=0, start=0, num_frames=whole - 1),
            Piece(index=0, start=0, num_frames=whole),
        ]
        lengths_B, tokens_L, num_tokens_B = read_tokens(corpus, pieces)
        spoken = corpus.tokens(0)
    assert spoken is not None
    assert lengths_B.tolist() == [whole - 1, whole]
    assert num_tokens_B.tolist() == [0, len(spoken)]
    assert tokens_L.tolist() == spoken.tolist()


def test_score_counts_token_errors_of_greedy_paths(tmp_path: Path) -> None:
    with CorpusWriter(tmp_path / "dev.h5", make_corpus_about("dev"), has_tokens=True) as writer:
        for number, (length, tokens) in enumerate(((6, [1, 1, 2]), (3, None), (2, [3, 3]))):
            writer.add(
                str(number),
                speaker="s",
                transcript="",
                features_TF=np.zeros((length, FEATURE_DIM), np.float32),
                labels_T=None,
                tokens_L=None if tokens is None else np.array(tokens),
            )
    path = [1, 0, 1, 2, 2, 4, 1, 1, 1, 3, 3]  # 1 1 2 4: one insertion; the last does not fit
    logits_NC = 9.0 * torch.eye(NUM_CLASSES)[path]
    with CorpusFile(tmp_path / "dev.h5") as corpus:
        lengths = [row.num_frames for row in corpus.utterances]
        score = score_tokens(logits_NC, corpus, cut_pieces(lengths, 99))
    assert (score.num_frames, score.num_errors) == (3, 1)
    assert 0 < score.nats < 30


def _member(directory: Path, place: Path, progress: RecordingProgress, **changes: Any) -> None:
    place.mkdir(exist_ok=True)
    settings = TrainedMemberSettings.model_validate(
        {
            "name": "m",
            "architecture": {"kind": "tdnn", "hidden": 11, "layers": 2, "dropout": 0.1},
            "training": make_settings(epochs=14, checkpoint_minutes=0).model_dump(),
            **changes,
        }
    )
    train_member(
        settings, corpus_directory=directory, directory=place, device="cpu", progress=progress
    )


def test_member_learns_tokens_and_an_interruption_changes_no_bit(
    directory: Path, tmp_path: Path
) -> None:
    _member(directory, tmp_path / "whole", RecordingProgress())
    with pytest.raises(KeyboardInterrupt):
        _member(directory, tmp_path / "stopped", ctrl_c_at(11))
    _member(directory, tmp_path / "stopped", RecordingProgress())
    weights = [
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "stopped")
    ]
    assert weights[0] == weights[1]
    about = read_model_about(tmp_path / "whole")
    assert about.facts["objective"] == "ctc"
    assert about.facts["dev_frame_error"] < 0.25


def test_folded_member_learns_tokens(directory: Path, tmp_path: Path) -> None:
    training = make_settings(epochs=1).model_dump()
    _member(directory, tmp_path, RecordingProgress(), folds=2, training=training)
    facts = read_model_about(tmp_path / "fold-1").facts
    assert (facts["objective"], facts["folds"]) == ("ctc", 2)


def test_untranscribed_utterances_are_left_out_of_hard_labels_alone(directory: Path) -> None:
    with open_training_corpus(directory, needs_labels=True) as corpus:
        untranscribed = {"train-2", "train-6"}
        assert corpus.unlabelled == untranscribed
        used = {corpus.train.utterances[p.index].id for p in corpus.labelled_part().pieces(7)}
    assert not used & untranscribed


def test_two_ranks_and_a_resumed_run_take_the_steps_of_one(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    make_token_corpus(corpus / "train.h5", lengths=(31, 17, 44, 23, 38, 29, 60), seed=1)
    make_token_corpus(corpus / "dev.h5", lengths=(40, 33, 21), seed=2, untranscribed=())
    store = make_token_store(tmp_path / "train.zarr", corpus / "train.h5")

    def job(name: str, **changes: Any) -> dict[str, Any]:
        settings = {"epochs": 2, "batch_frames": 81, "checkpoint_minutes": 0}
        place = {"corpus": str(corpus), "store": str(store), "directory": str(tmp_path / name)}
        return {**place, "settings": settings, **changes}

    alone = train(job("one")).losses
    with pytest.raises(KeyboardInterrupt):
        train(job("stopped", stops_at=3))
    train(job("stopped"))
    ranks = train_together(2, tmp_path, [job("two")])
    np.testing.assert_allclose(ranks[0][0]["losses"], alone, rtol=1e-4)
    weights = {name: load_file(tmp_path / name / "model.safetensors") for name in ("one", "two")}
    for key, values in weights["two"].items():
        np.testing.assert_allclose(values, weights["one"][key], rtol=2e-4, atol=2e-5, err_msg=key)
    one, stopped = ((tmp_path / name / "model.safetensors") for name in ("one", "stopped"))
    assert one.read_bytes() == stopped.read_bytes()
    metrics = json.loads((tmp_path / "one" / "metrics.jsonl").read_text().splitlines()[-1])
    assert metrics["train_parts"].keys() == {"hard", "soft"}
