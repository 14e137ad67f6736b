"""Log-posteriors: a distribution per frame, independent of the batch."""

from pathlib import Path

import numpy as np
import pytest

from stages.acoustic.models import posteriors
from stages.acoustic.models.architectures import ArchitectureSettings, build_model
from stages.acoustic.models.posteriors import log_posteriors
from stages.contract.errors import BadInput
from storage.corpus.corpus_file import CorpusFile
from tests.support.makers.training import LENGTHS, NUM_CLASSES, make_corpus, make_model


@pytest.mark.parametrize("kind", ["tdnn", "gru", "conv"])
def test_posteriors_do_not_depend_on_the_batch(tmp_path: Path, kind: str) -> None:
    model = make_model(kind)
    with CorpusFile(make_corpus(tmp_path / "test.h5")) as corpus:
        order = [3, 1, 0, 7, 5, 2, 6, 4]
        alone = dict(log_posteriors(model, corpus, order, 1, "cpu"))
        together = list(log_posteriors(model, corpus, order, 10**6, "cpu"))
    assert [index for index, _ in together] == order
    for index, logp_TC in together:
        assert logp_TC.shape == (LENGTHS[index], NUM_CLASSES)
        assert logp_TC.dtype == np.float32
        np.testing.assert_allclose(np.exp(logp_TC).sum(axis=1), 1.0, rtol=1e-6)
        np.testing.assert_allclose(logp_TC, alone[index], atol=2e-5)


def test_posteriors_of_a_long_utterance_are_the_same_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model("conv")  # two layers have a context of 14 frames on each side
    with CorpusFile(make_corpus(tmp_path / "test.h5", lengths=(5, 97, 0, 6))) as corpus:
        whole = dict(log_posteriors(model, corpus, range(4), 10, "cpu"))
        monkeypatch.setattr(posteriors, "PIECE_FRAMES", 20)
        monkeypatch.setattr(posteriors, "CONTEXT_FRAMES", 14)
        pieces = list(log_posteriors(model, corpus, range(4), 1000, "cpu"))
    assert [index for index, _ in pieces] == [0, 1, 2, 3]
    for index, logp_TC in pieces:
        np.testing.assert_allclose(logp_TC, whole[index], atol=2e-5)


def test_posteriors_of_other_features_are_refused(tmp_path: Path) -> None:
    model = build_model(ArchitectureSettings(hidden=3, layers=1), 8, NUM_CLASSES)
    with (
        CorpusFile(make_corpus(tmp_path / "test.h5")) as corpus,
        pytest.raises(BadInput, match=r"7 feature dims.*trained on 8"),
    ):
        list(log_posteriors(model, corpus, [0], 100, "cpu"))
