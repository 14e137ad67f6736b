"""EssenceLoss under DistributedDataParallel: the gradients of one process with the whole batch."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from tests.support.makers.foreign import store_of_utterances
from tests.support.makers.foreign_rank import gradients
from tests.support.paths import ROOT

NUM_RANKS = 2


def test_ranks_together_have_the_gradients_of_one_process(tmp_path: Path) -> None:
    place = store_of_utterances(tmp_path / "train.zarr")
    command = [sys.executable, "-m", "tests.support.makers.foreign_rank", str(place), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [*command, str(rank), str(NUM_RANKS)], env=environment, stderr=subprocess.PIPE
        )
        for rank in range(NUM_RANKS)
    ]
    for rank in ranks:
        _, errors = rank.communicate(timeout=120)
        assert rank.returncode == 0, errors.decode()
    made = torch.load(tmp_path / "gradients.pt", weights_only=True)
    for layer_outside, found in zip((False, True), made, strict=True):
        wanted = gradients(place, [0, 1, 2], layer_outside=layer_outside, num_ranks=1)
        assert len(found) == len(wanted) == 4
        for a, b in zip(found, wanted, strict=True):
            torch.testing.assert_close(a, b)
