"""essence.record with tensors of torch, threads, and a forked process."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import essence
from tests.support.makers.store import make_logp, tree_digest

torch = pytest.importorskip("torch")
NUM_CLASSES, LENGTHS = 11, {"a": 3, "b": 7, "c": 0}


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_tensors_are_recorded_as_arrays_of_the_same_values(tmp_path: Path, dtype: str) -> None:
    logits = torch.randn(3, 9, NUM_CLASSES, generator=torch.Generator().manual_seed(1))
    given = logits.to(getattr(torch, dtype)).requires_grad_()
    lengths = torch.tensor(list(LENGTHS.values()), dtype=torch.int32)
    arguments = {"k": 4, "num_classes": NUM_CLASSES, "values": "logits"}
    with essence.record(tmp_path / "torch.zarr", **arguments) as tensors:
        tensors.add(list(LENGTHS), given, lengths, inputs=[torch.arange(3)] * 3)
    array = given.detach().double().numpy()
    with essence.record(tmp_path / "numpy.zarr", **arguments) as arrays:
        for row, (id, length) in zip(array, LENGTHS.items(), strict=True):
            arrays.add(id, row, length, inputs=np.arange(3))
    assert tensors.digest == arrays.digest


def test_threads_record_the_same_store(tmp_path: Path) -> None:
    utterances = {f"utt-{n}": make_logp(5 + n, NUM_CLASSES, seed=n) for n in range(40)}
    paths = [tmp_path / "threads.zarr", tmp_path / "one.zarr"]
    with (
        essence.record(paths[0], k=4, num_classes=NUM_CLASSES) as recorder,
        ThreadPoolExecutor(8) as pool,
    ):
        list(pool.map(recorder.add, utterances, utterances.values()))
    with essence.record(paths[1], k=4, num_classes=NUM_CLASSES) as recorder:
        for id, values in utterances.items():
            recorder.add(id, values)
    assert tree_digest(paths[0]) == tree_digest(paths[1])


def test_forked_process_may_not_add(tmp_path: Path) -> None:
    with essence.record(tmp_path / "a.zarr", k=4, num_classes=NUM_CLASSES) as recorder:
        recorder.add("a", make_logp(3, NUM_CLASSES))
        child = os.fork()
        if not child:
            try:
                recorder.add("b", make_logp(3, NUM_CLASSES))
            except essence.EssenceError as error:
                os._exit(7 if "add in that process" in str(error) else 1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert [row.id for row in essence.open_store(tmp_path / "a.zarr").utterances] == ["a"]
