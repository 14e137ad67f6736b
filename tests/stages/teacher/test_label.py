"""label_corpus: small real models label a small corpus; the stores are read back."""

import json
import shutil
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from stages.acoustic.models.model_file import load_model
from stages.contract.errors import BadInput, BadPosterior, MemberFailed, MissingPart, WorkerMismatch
from stages.contract.results import TeacherSummary
from stages.members import trained_member
from stages.members.batches import Batch
from stages.members.ensemble_posteriors import average_log_posteriors, soften
from stages.members.trained_member import LoadedModel
from stages.teacher.settings import TeacherSettings
from stages.teacher.shard_work import Labeller, ShardDone, ShardWork
from stages.teacher.workforce import ThisProcess
from storage.corpus.corpus_file import CorpusFile
from storage.errors import StoreError, StoreIncomplete
from storage.format.codec import CODINGS, CodecChoice
from storage.format.pruning import Pruning
from storage.format.value_code import LOGP_OF_CODE, encode_logp
from storage.read.reader import open_store
from tests.support.makers.posteriors import model_posteriors
from tests.support.makers.store import tree_digest
from tests.support.makers.teacher import label, make_member, make_members
from tests.support.makers.training import (
    INVENTORY,
    NUM_CLASSES,
    RecordingProgress,
    make_corpus,
    make_corpus_directory,
)

usual = LoadedModel.log_posteriors

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus_directory(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_members(tmp_path_factory.mktemp("members"), ("tdnn", "gru", "conv"))


def ensemble_oracle(
    corpus: CorpusFile, members: list[Path], *, weights: tuple[float, ...], combine: Any
) -> list[NDArray[np.float32]]:
    """Posteriors of every utterance, averaged over all members at once in the given order."""
    outputs = []
    for directory in members:
        model, _ = load_model(directory, "cpu")
        outputs.append(list(model_posteriors(model, corpus).values()))
    return [
        average_log_posteriors(list(parts), weights, combine)
        for parts in zip(*outputs, strict=True)
    ]


@pytest.mark.parametrize(
    ("combine", "temperature"), [("arithmetic", 1.0), ("geometric", 1.0), ("arithmetic", 2.0)]
)
def test_store_holds_the_best_classes_of_the_ensemble(
    tmp_path: Path, corpus: Path, members: list[Path], combine: Any, temperature: float
) -> None:
    weights = (1.0, 2.0, 0.5)
    summary = label(
        tmp_path / "t", corpus, members, combine=combine, weights=weights, temperature=temperature
    )
    for split in ("train", "dev"):
        store = open_store(tmp_path / "t" / f"{split}.zarr")
        store.verify()
        with CorpusFile(corpus / f"{split}.h5") as file:
            store.check_matches(corpus_fingerprint=file.fingerprint, class_inventory=INVENTORY)
            assert [row.id for row in store.utterances] == [row.id for row in file.utterances]
            assert [row.digest for row in store.utterances] == [r.digest for r in file.utterances]
            means = ensemble_oracle(file, members, weights=weights, combine=combine)
        for row, mean_TC in zip(store.utterances, means, strict=True):
            logp_TC = soften(mean_TC, temperature)
            labels = store.read_utterance(row.id, 3)
            best_TK = np.take_along_axis(logp_TC, labels.ids_TK.astype(int), axis=1)
            wanted_TK = -np.sort(-logp_TC, axis=1)[:, :3]
            np.testing.assert_allclose(best_TK, wanted_TK, atol=1e-4)
            np.testing.assert_allclose(labels.logp_TK, wanted_TK, atol=0.07)
            tail_T = 1 - np.exp(wanted_TK.astype(np.float64)).sum(axis=1)
            np.testing.assert_allclose(labels.tail_T, tail_T, atol=0.02)
    assert open_store(tmp_path / "t" / "train.zarr").num_shards > 2
    saved = json.loads((tmp_path / "t" / "summary.json").read_bytes())
    assert TeacherSummary.model_validate(saved) == summary


def test_log_norms_are_computed_over_all_classes(
    tmp_path: Path, corpus: Path, members: list[Path]
) -> None:
    label(tmp_path / "t", corpus, members, temperatures=(2.0,), splits=("dev",))
    store = open_store(tmp_path / "t" / "dev.zarr")
    with CorpusFile(corpus / "dev.h5") as file:
        means = ensemble_oracle(file, members, weights=(1.0, 1.0, 1.0), combine="arithmetic")
    for row, mean_TC in zip(store.utterances, means, strict=True):
        wanted_T = np.log(np.exp(mean_TC.astype(np.float64) / 2).sum(axis=1))
        found_T = store.read_log_norm(row.id, temperature=2.0)
        np.testing.assert_allclose(found_T, wanted_T, atol=1e-4)


def test_codec_changes_the_store_and_no_value(
    tmp_path: Path, corpus: Path, members: list[Path]
) -> None:
    found = {}
    codecs: tuple[CodecChoice, ...] = ("lz4", "zstd")
    for codec in codecs:
        label(tmp_path / codec, corpus, members, codec=codec, splits=("dev",))
        found[codec] = open_store(tmp_path / codec / "dev.zarr")
        assert found[codec].about.coding == CODINGS[codec]
    assert found["lz4"].digest != found["zstd"].digest
    for row in found["lz4"].utterances:
        lz4, zstd = (store.read_utterance(row.id, 3) for store in found.values())
        np.testing.assert_array_equal(lz4.ids_TK, zstd.ids_TK)
        np.testing.assert_array_equal(lz4.logp_TK, zstd.logp_TK)


def test_teacher_keeps_fewer_ranks_where_a_frame_is_sure(
    tmp_path: Path, corpus: Path, members: list[Path]
) -> None:
    """With log norms, which are of all classes; the audit counts ranks."""
    summaries = {}
    for name, few in (("whole", {}), ("pruned", {"keep_mass": 0.5, "keep_min_prob": 0.01})):
        summaries[name] = label(
            tmp_path / name, corpus, members, temperatures=(2.0,), splits=("dev",), **few
        )
    whole, pruned = (open_store(tmp_path / name / "dev.zarr") for name in ("whole", "pruned"))
    assert pruned.about.pruning == Pruning(mass=0.5, min_prob=0.01)
    counts = []
    for row in whole.utterances:
        wanted, found = (store.read_utterance(row.id, 3) for store in (whole, pruned))
        assert found.count_T is not None
        is_rank_TK = ~found.is_absent_TK
        np.testing.assert_array_equal(found.ids_TK[is_rank_TK], wanted.ids_TK[is_rank_TK])
        np.testing.assert_array_equal(found.logp_TK[is_rank_TK], wanted.logp_TK[is_rank_TK])
        kept_T = np.where(is_rank_TK, np.exp(wanted.logp_TK), 0).sum(axis=1)
        np.testing.assert_allclose(found.tail_T, 1 - kept_T, atol=0.03)
        log_norms = [store.read_log_norm(row.id, temperature=2.0) for store in (whole, pruned)]
        np.testing.assert_array_equal(*log_norms)
        counts.append(found.count_T)
    mean_ranks = summaries["pruned"].stores[0].mean_ranks
    assert mean_ranks[3] == pytest.approx(np.concatenate(counts).mean())
    assert 1 < mean_ranks[3] < 3
    assert not summaries["whole"].stores[0].mean_ranks


def test_teacher_does_not_depend_on_the_order_of_members(
    tmp_path: Path, corpus: Path, members: list[Path]
) -> None:
    """Weights go with their members; the mean is taken in the order of fingerprints."""
    label(tmp_path / "a", corpus, members, weights=(1.0, 2.0, 0.5))
    label(tmp_path / "b", corpus, members[::-1], weights=(0.5, 2.0, 1.0))
    assert tree_digest(tmp_path / "a") == tree_digest(tmp_path / "b")
    fingerprints = open_store(tmp_path / "a" / "dev.zarr").about.members
    assert list(fingerprints) == sorted(fingerprints)


def test_members_are_held_in_memory_one_at_a_time(
    tmp_path: Path, corpus: Path, members: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[int] = []

    class Counted:
        """Wrap a model and count the instances that are alive."""

        def __init__(self, model: Any) -> None:
            self.model = model
            alive.append(1)
            assert len(alive) == 1

        def __call__(self, *inputs: Any) -> Any:
            return self.model(*inputs)

        def __del__(self) -> None:
            alive.pop()

    def load(directory: Path, device: str) -> Any:
        model, about = load_model(directory, device)
        return Counted(model), about

    monkeypatch.setattr(trained_member, "load_model", load)
    label(tmp_path / "t", corpus, members, loaded_megabytes=0)


def test_members_that_fit_in_memory_are_loaded_once(
    tmp_path: Path, corpus: Path, members: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[Path] = []

    def load(directory: Path, device: str) -> Any:
        loads.append(directory)
        return load_model(directory, device)

    monkeypatch.setattr(trained_member, "load_model", load)
    label(tmp_path / "all", corpus, members, splits=("train",))
    assert sorted(loads) == sorted(members)
    label(tmp_path / "one", corpus, members, splits=("train",), loaded_megabytes=0)
    num_shards = open_store(tmp_path / "one" / "train.zarr").num_shards
    assert len(loads) == len(members) * (1 + num_shards)
    assert tree_digest(tmp_path / "all") == tree_digest(tmp_path / "one")


def test_number_of_threads_follows_the_settings_only(
    tmp_path: Path, corpus: Path, members: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of threads changes the last bits, so the machine must not choose it."""
    seen: set[int] = set()

    def counting(self: LoadedModel, batch: Batch) -> Tensor:
        seen.add(torch.get_num_threads())
        return usual(self, batch)

    monkeypatch.setattr(LoadedModel, "log_posteriors", counting)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    label(tmp_path / "t", corpus, members, splits=("dev",), threads=2)
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)
    assert seen == {2}


def test_failing_member_is_named_with_the_utterance(
    tmp_path: Path, corpus: Path, members: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """RELIABILITY 26: for any exception."""

    def breaking(self: LoadedModel, batch: Batch) -> Tensor:
        if any(piece.utterance.id == "train-12" for piece in batch.pieces):
            raise RuntimeError("out of registers")
        return usual(self, batch)

    monkeypatch.setattr(LoadedModel, "log_posteriors", breaking)
    told = r"failed on utterance 'train-12': RuntimeError: out of registers$"
    with pytest.raises(MemberFailed, match=told):
        label(tmp_path / "t", corpus, members)


def test_batch_that_fails_only_as_a_whole_is_named(
    tmp_path: Path, corpus: Path, members: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking(self: LoadedModel, batch: Batch) -> Tensor:
        if len(batch.pieces) > 1:
            raise RuntimeError("out of memory")
        return usual(self, batch)

    monkeypatch.setattr(LoadedModel, "log_posteriors", breaking)
    with pytest.raises(MemberFailed, match=r"'train-2', 'train-3': .*: lower batch_frames"):
        label(tmp_path / "t", corpus, members)


@pytest.mark.parametrize("swapped_after", [0, 1, 12])
def test_work_of_an_abandoned_plan_does_not_reach_the_next_store(
    tmp_path: Path, corpus: Path, members: list[Path], swapped_after: int
) -> None:
    """Late work of the old plan meets a store that was begun again without an utterance."""
    kept: list[ShardWork] = []

    class Keeping:
        def do(self, works: Sequence[ShardWork], *, task: Any) -> Generator[ShardDone]:
            kept.extend(works)
            yield from ThisProcess().do(works, task=task)

    class Swapping(StoppingProgress):
        def advance(self, amount: float = 1.0, **facts: object) -> None:
            self.calls -= 1
            if self.calls == 0:
                begin_anew()

    def begin_anew() -> None:
        shutil.rmtree(tmp_path / "t" / "train.zarr")
        (tmp_path / "t" / "train.left-out.json").write_text('{"train-3": "seen to be bad"}')
        changes: dict[str, Any] = {"on_bad_posterior": "skip-utterance", "splits": ("train",)}
        with pytest.raises(KeyboardInterrupt):
            label(tmp_path / "t", corpus, members, StoppingProgress(2), **changes)

    label(tmp_path / "t", corpus, members, splits=("train",), workforce=Keeping())
    shutil.rmtree(tmp_path / "t" / "train.zarr")
    with pytest.raises(KeyboardInterrupt):
        label(tmp_path / "t", corpus, members, StoppingProgress(2), splits=("train",))
    if swapped_after == 0:
        begin_anew()
    with pytest.raises(WorkerMismatch, match=r"train.zarr: .* finds .*, wanted"):
        Labeller().do(kept[1], task=Swapping(swapped_after))
    assert not list((tmp_path / "t" / "train.zarr").glob("commits/*"))


class StoppingProgress(RecordingProgress):
    """Interrupt after a given number of calls."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.calls = calls

    def advance(self, amount: float = 1.0, **facts: object) -> None:
        self.calls -= 1
        if self.calls == 0:
            raise KeyboardInterrupt


def test_interrupted_teacher_resumes_to_the_same_bytes(
    tmp_path: Path, corpus: Path, members: list[Path]
) -> None:
    """RELIABILITY 1."""
    label(tmp_path / "whole", corpus, members)
    for calls in (2, 9, 14):
        with pytest.raises(KeyboardInterrupt):
            label(tmp_path / "t", corpus, members, StoppingProgress(calls))
        with pytest.raises(StoreError, match=r"is not there|under construction"):
            open_store(tmp_path / "t" / "dev.zarr")
    label(tmp_path / "t", corpus, members)
    assert tree_digest(tmp_path / "t") == tree_digest(tmp_path / "whole")


def test_committed_shards_are_not_labelled_again(
    tmp_path: Path, corpus: Path, members: list[Path]
) -> None:
    first = RecordingProgress()
    label(tmp_path / "t", corpus, members, first, splits=("train",))
    assert first.done == first.total > 0
    again = RecordingProgress()
    label(tmp_path / "t", corpus, members, again, splits=("train",))
    assert again.total == again.done == 0


def test_note_states_rate_size_and_kept_mass(
    tmp_path: Path, corpus: Path, members: list[Path]
) -> None:
    progress = RecordingProgress()
    label(tmp_path / "t", corpus, members, progress, splits=("dev",))
    (note,) = progress.notes
    for part in ("dev: ", "frames/s", "bytes a frame", "k=1: 0.", "k=2: 0.", "k=3: 0."):
        assert part in note


def test_summary_figures_match_the_store(tmp_path: Path, corpus: Path, members: list[Path]) -> None:
    (figures,) = label(tmp_path / "t", corpus, members, splits=("dev",)).stores
    store = open_store(tmp_path / "t" / "dev.zarr")
    with CorpusFile(corpus / "dev.h5") as file:
        means = ensemble_oracle(file, members, weights=(1.0, 1.0, 1.0), combine="arithmetic")
        hard_N = np.concatenate([file.labels(i) for i in range(len(file.utterances))])
        assert figures.num_frames == file.num_frames == store.num_frames
    logp_NC = np.concatenate(means)
    best_NK = LOGP_OF_CODE[encode_logp(-np.sort(-logp_NC, axis=1)[:, :3])]
    for k in (1, 2, 3):
        mass = np.exp(best_NK[:, :k].astype(np.float64)).sum(axis=1).mean()
        assert figures.kept_mass[k] == pytest.approx(mass, abs=1e-3)
    assert figures.teacher_frame_error == pytest.approx(
        (logp_NC.argmax(axis=1) != hard_N).mean(), abs=0.01
    )
    assert figures.digest == store.digest
    assert figures.bytes_per_frame[1] * store.num_frames == store.bytes_by_tier()[1]
    assert figures.bytes_per_frame[2] == figures.bytes_per_frame[3]
    assert (figures.kept, figures.num_classes, figures.left_out) == (3, NUM_CLASSES, ())


def test_summary_of_a_split_without_hard_labels_has_no_frame_error(
    tmp_path: Path, members: list[Path]
) -> None:
    make_corpus(tmp_path / "c" / "dev.h5", unlabelled_frames=99)
    (figures,) = label(tmp_path / "t", tmp_path / "c", members, splits=("dev",)).stores
    assert figures.teacher_frame_error is None


def poison(monkeypatch: pytest.MonkeyPatch, ids: set[str]) -> None:
    """Let the GRU return NaN in frame 4 of these utterances."""

    def poisoned(self: LoadedModel, batch: Batch) -> Tensor:
        logp_BTC = usual(self, batch)
        for row, piece in enumerate(batch.pieces):
            if self.model.settings.kind == "gru" and piece.utterance.id in ids:
                logp_BTC[row, 4, 1] = torch.nan
        return logp_BTC

    monkeypatch.setattr(LoadedModel, "log_posteriors", poisoned)


def test_nan_is_named_with_member_utterance_and_frame(
    tmp_path: Path, corpus: Path, members: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """RELIABILITY 16."""
    poison(monkeypatch, {"train-10"})
    with pytest.raises(BadPosterior, match=r"member gru .*, utterance 'train-10', frame 4: "):
        label(tmp_path / "t", corpus, members)
    with pytest.raises(StoreIncomplete):
        open_store(tmp_path / "t" / "train.zarr")


def test_utterances_with_bad_posteriors_are_left_out_and_listed(
    tmp_path: Path, corpus: Path, members: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """RELIABILITY 16: the same bytes wherever they occur and wherever a run is stopped."""
    poison(monkeypatch, {"train-3", "train-4", "train-22"})
    progress = RecordingProgress()
    changes: dict[str, Any] = {"on_bad_posterior": "skip-utterance", "splits": ("train",)}
    (figures,) = label(tmp_path / "a", corpus, members, progress, **changes).stores
    assert figures.left_out == ("train-3", "train-4", "train-22")
    store = open_store(tmp_path / "a" / "train.zarr")
    assert store.about.left_out == figures.left_out
    assert "train-3" not in store
    assert store.read_utterance("train-5", 1).num_frames > 0
    assert sum(note.startswith("left out: member gru") for note in progress.notes) == 3
    assert "3 utterances left out" in progress.notes[-1]

    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "train.left-out.json").write_text('{"train-22": "seen in an earlier run"}')
    label(tmp_path / "b", corpus, members, **changes)
    assert tree_digest(tmp_path / "a" / "train.zarr") == tree_digest(tmp_path / "b" / "train.zarr")


def test_leaving_out_every_utterance_is_an_error(
    tmp_path: Path, members: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_corpus(tmp_path / "c" / "dev.h5", lengths=(9, 7))
    poison(monkeypatch, {"dev-0", "dev-1"})
    with pytest.raises(BadPosterior, match="every utterance was left out"):
        label(
            tmp_path / "t",
            tmp_path / "c",
            members,
            splits=("dev",),
            on_bad_posterior="skip-utterance",
        )


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("class_inventory", "another", "class_inventory is another, .* has an inventory"),
        ("num_classes", 6, "num_classes is 6, .* has 5"),
        ("feature_dim", 8, "feature_dim is 8, .* has 7"),
    ],
)
def test_member_of_another_corpus_is_named(
    tmp_path: Path, corpus: Path, members: list[Path], field: str, value: Any, message: str
) -> None:
    """RELIABILITY 18."""
    stranger = make_member(tmp_path / "stranger", "tdnn", seed=7, **{field: value})
    with pytest.raises(BadInput, match=f"stranger: the member's {message}"):
        label(tmp_path / "t", corpus, [*members, stranger])
    assert not (tmp_path / "t" / "train.zarr").exists()


def test_invalid_members_weights_and_ranks_are_named(
    tmp_path: Path, corpus: Path, members: list[Path]
) -> None:
    with pytest.raises(BadInput, match="no members"):
        label(tmp_path / "t", corpus, [])
    with pytest.raises(BadInput, match="hold the same weights"):
        label(tmp_path / "t", corpus, [members[0], members[0]])
    with pytest.raises(MissingPart, match="nothing holds no member"):
        label(tmp_path / "t", corpus, [tmp_path / "nothing"])
    with pytest.raises(StoreError, match="cannot keep 6 of 5 classes: keep at most 5"):
        label(tmp_path / "t", corpus, members, kept=6)
    with pytest.raises(BadInput, match="for 3 members: give one positive weight for each"):
        label(tmp_path / "t", corpus, members, weights=(1.0, 2.0))


@pytest.mark.parametrize(
    "changes",
    [
        {"kept": 0},
        {"combine": "harmonic"},
        {"weights": (1.0, 0.0)},
        {"temperature": 0.0},
        {"temperatures": (2.0, 2.0)},
        {"temperatures": (1.0,)},
        {"splits": ()},
        {"splits": ("dev", "dev")},
        {"on_bad_posterior": "ignore"},
    ],
)
def test_invalid_settings_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TeacherSettings.model_validate(changes)
