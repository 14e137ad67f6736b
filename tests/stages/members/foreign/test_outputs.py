"""Outputs of models as log-posteriors of the corpus's classes, against float64."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.contract.errors import BadInput
from stages.members.foreign.class_map import read_class_map
from stages.members.foreign.outputs import ClassMap, log_posteriors_of
from tests.support.makers.foreign_members import log_softmax64


@pytest.mark.parametrize("output", ["logits", "log_probs", "probs"])
def test_each_declared_output_gives_the_same_log_posteriors(output: str) -> None:
    logits = np.random.default_rng(1).normal(size=(7, 11)) * 4
    wanted = log_softmax64(logits)
    given_as = {"logits": logits + 5, "log_probs": wanted, "probs": np.exp(wanted)}
    values = torch.from_numpy(given_as[output]).float()
    found = log_posteriors_of(values, output)  # type: ignore[arg-type]
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), wanted, atol=3e-6)


def test_zero_probabilities_are_finite_and_nan_stays() -> None:
    found = log_posteriors_of(torch.tensor([[1.0, 0.0], [0.5, float("nan")]]), "probs")
    assert found[0].tolist() == [0.0, -10000.0]
    assert found[1].isnan().tolist() == [False, True]


@given(st.integers(1, 9), st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_merged_probabilities_are_added(num_classes: int, more: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    extra = rng.integers(num_classes, size=more)
    corpus_classes = rng.permutation(np.concatenate([np.arange(num_classes), extra]))
    logp = log_softmax64(rng.normal(size=(5, len(corpus_classes))) * 30).astype(np.float32)
    found = ClassMap(corpus_classes.tolist(), device="cpu").apply(torch.from_numpy(logp)).numpy()
    wanted = np.full((5, num_classes), -np.inf)
    for model_class, corpus_class in enumerate(corpus_classes):
        column = logp[:, model_class].astype(np.float64)
        wanted[:, corpus_class] = np.logaddexp(wanted[:, corpus_class], column)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
    if not more:
        assert (found == logp[:, np.argsort(corpus_classes)]).all()  # moved, bit for bit


def test_map_file_is_read_in_any_order_with_comments(tmp_path: Path) -> None:
    path = tmp_path / "map"
    path.write_text("# model corpus\n2 0\n\n0 2  # silence\n1 0\n3 1\n")
    assert read_class_map(path) == (2, 0, 0, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1 2\n", r"line 1: found '0 1 2', wanted two numbers"),
        ("0 0\n1 x\n", "line 2: found '1 x'"),
        ("0 0\n1 -1\n", "line 2: found '1 -1'"),
        ("0 0\n0 1\n", "line 2: class 0 of the model comes twice"),
        ("0 0\n2 1\n", "class 1 of the model has no line, class 2 has"),
        ("0 0\n1 2\n", "class 1 of the corpus has no line, class 2 has"),
        ("# nothing\n", "has no line: wanted one for each class"),
    ],
)
def test_file_that_is_no_map_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "map"
    path.write_text(text)
    with pytest.raises(BadInput, match=message):
        read_class_map(path)


def test_missing_map_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"cannot be read .*: let class_map name a text file"):
        read_class_map(tmp_path / "nothing")
