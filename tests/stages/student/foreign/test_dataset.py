"""WithSoftLabels and SoftLabelCollate, in DataLoaders without workers, forked and spawned ones."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from stages.student.foreign.batch import SoftLabelBatch
from stages.student.foreign.dataset import SoftLabelCollate, WithSoftLabels
from stages.student.foreign.source import SoftLabelSource
from tests.support.makers.foreign import LENGTHS, store_of_utterances
from tests.support.servers.remote import http_server, read_objects

ITEMS = [*LENGTHS.items(), ("unknown", 5)]
WORKERS = [(0, None), (2, "fork"), (2, "spawn")]


class Waves(Dataset[dict[str, Any]]):
    """A foreign dataset: a dict for each utterance."""

    def __len__(self) -> int:
        return len(ITEMS)

    def __getitem__(self, index: int) -> dict[str, Any]:
        id, num_frames = ITEMS[index]
        return {"id": id, "frames": num_frames, "label": torch.tensor(index)}


class Pairs(Waves):
    """Another one: tuples."""

    def __getitem__(self, index: int) -> Any:
        return (torch.tensor(index), ITEMS[index][0])


@pytest.fixture(params=["disk", "http"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The store on a disk, or behind a server of this process."""
    made = store_of_utterances(tmp_path / "train.zarr")
    if request.param == "disk":
        yield str(made)
    else:
        with http_server() as server:
            server.objects = read_objects(made)
            yield server.url


def second(item: Any) -> Any:
    return item[1]


@pytest.mark.parametrize(("num_workers", "context"), WORKERS)
def test_loader_gives_each_batch_its_soft_labels(
    place: str, num_workers: int, context: str | None
) -> None:
    source = SoftLabelSource(place, k=3)
    source(["utt-a"])  # used before the fork
    dataset = WithSoftLabels(Waves(), source, key="id", num_frames="frames")
    loader = DataLoader(
        dataset,
        batch_size=2,
        num_workers=num_workers,
        multiprocessing_context=context,
        persistent_workers=num_workers > 0,
        collate_fn=SoftLabelCollate(),
    )
    for _ in range(2):  # epochs
        batches = list(loader)
        assert [batch["id"] for batch in batches] == [
            ["utt-a", "utt-b"],
            ["utt-c", "utt-d"],
            ["unknown"],
        ]
        for batch in batches:
            wanted = source(batch["id"], batch["frames"])
            assert_equal(batch["soft_labels"], wanted)
            assert batch["soft_labels"].missing == wanted.missing


def test_items_that_are_no_mappings_become_pairs(tmp_path: Path) -> None:
    source = SoftLabelSource(store_of_utterances(tmp_path / "a.zarr"), k=2)
    dataset = WithSoftLabels(Pairs(), source, key=second)
    assert len(dataset) == 5
    (index, id), soft = dataset[1]
    assert (int(index), id, soft.ids) == (1, "utt-b", ("utt-b",))
    loader = DataLoader(dataset, batch_size=5, collate_fn=SoftLabelCollate())
    (((indices, ids), batch),) = loader
    assert indices.tolist() == [0, 1, 2, 3, 4]
    assert_equal(batch, source(ids))


def test_batch_is_read_in_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SoftLabelSource(store_of_utterances(tmp_path / "a.zarr"), k=2)
    calls: list[int] = []
    read = source.store.read_codes

    def counted(wanted: Any, *, k: int) -> Any:
        calls.append(len(wanted))
        return read(wanted, k=k)

    monkeypatch.setattr(source.store, "read_codes", counted)
    dataset = WithSoftLabels(Waves(), source, key="id")
    list(DataLoader(dataset, batch_size=4, collate_fn=SoftLabelCollate()))
    assert calls == [4, 0]


def assert_equal(found: SoftLabelBatch, wanted: SoftLabelBatch) -> None:
    for name in ("ids_BTK", "codes_BTK", "tail_BT", "lengths_B", "soft_lengths_B"):
        assert torch.equal(getattr(found, name), getattr(wanted, name))
    assert found.ids == wanted.ids
