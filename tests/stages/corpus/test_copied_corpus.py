"""A spoken corpus with copies: files, normalisation, hard labels, record, identity, settings."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from stages.contract.copies import COPIES_FILE, read_copies
from stages.contract.progress import SilentProgress
from stages.contract.results import CorpusSummary
from stages.corpus.build import build_corpus
from stages.corpus.settings import CorpusSettings
from stages.corpus.summary import summary_lines
from storage.corpus.corpus_file import CorpusFile
from tests.support.makers.spoken import tiny_spoken

NOISY = {
    "kind": "noise",
    "name": "noisy",
    "snr_db_low": 0,
    "snr_db_high": 5,
    "seed": 3,
    "splits": ["train", "test"],
}
FAST = {"kind": "speed", "name": "sp1.1", "speed": 1.1}
TINY = {"hours": 0.006, "dev_minutes": 0.05, "test_minutes": 0.1, "train_voices": 5}


def settings_for(*copies: dict[str, Any], **spoken: Any) -> CorpusSettings:
    speech = tiny_spoken(**TINY, distortion=None, **spoken)
    return CorpusSettings(spoken=speech, copies=copies, features={"splice_left": 0})


def build(out: Path, settings: CorpusSettings) -> CorpusSummary:
    out.mkdir()
    return build_corpus(settings, directory=out, progress=SilentProgress())


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`plain`, and `copied` of the same speech, of which a part has no hard labels."""
    pytest.importorskip("espeakng_loader")
    directory = tmp_path_factory.mktemp("corpora")
    build(directory / "plain", settings_for(labelled_share=0.4))
    build(directory / "copied", settings_for(NOISY, FAST, labelled_share=0.4))
    return directory


def test_originals_are_the_same_with_and_without_copies(corpora: Path) -> None:
    for split in ("train", "dev"):
        with (
            CorpusFile(corpora / "plain" / f"{split}.h5") as plain,
            CorpusFile(corpora / "copied" / f"{split}.h5") as copied,
        ):
            # The rows hold the digest of features and labels.
            assert copied.utterances[: len(plain.utterances)] == plain.utterances
            copies = 2 if split == "train" else 0
            assert len(copied.utterances) == (1 + copies) * len(plain.utterances)


def test_record_tells_what_every_copy_was_made_from(corpora: Path) -> None:
    assert not (corpora / "plain" / COPIES_FILE).exists()
    noisy, fast = read_copies(corpora / "copied", "train")
    assert (noisy.name, noisy.is_time_warped) == ("noisy", False)
    assert (fast.name, fast.is_time_warped) == ("sp1.1", True)
    with CorpusFile(corpora / "plain" / "train.h5") as plain:
        ids = [row.id for row in plain.utterances]
    assert list(noisy.original_of.values()) == list(fast.original_of.values()) == ids
    with CorpusFile(corpora / "copied" / "train.h5") as copied:
        found = [row.id for row in copied.utterances]
        assert found == [*ids, *noisy.original_of, *fast.original_of]


def test_copy_has_the_speaker_and_labels_of_its_original(corpora: Path) -> None:
    noisy, fast = read_copies(corpora / "copied", "train")
    with CorpusFile(corpora / "copied" / "train.h5") as corpus:
        labelled = dict(
            zip((row.id for row in corpus.utterances), corpus.labelled_frames(), strict=True)
        )
        for group in (noisy, fast):
            for id, original in group.original_of.items():
                at, of = corpus.index_of(id), corpus.index_of(original)
                assert corpus.utterances[at].speaker == corpus.utterances[of].speaker
                assert bool(labelled[id]) == bool(labelled[original])
        assert {bool(count) for count in labelled.values()} == {True, False}
        for id, original in noisy.original_of.items():
            labels = (corpus.labels(corpus.index_of(each)) for each in (id, original))
            np.testing.assert_array_equal(*labels)


def test_statistics_of_a_speaker_are_apart_for_every_copy(corpora: Path) -> None:
    groups = read_copies(corpora / "copied", "train")
    with CorpusFile(corpora / "copied" / "train.h5") as corpus:
        for group in groups:
            rows: dict[str, list[np.ndarray]] = {}
            for id in group.original_of:
                at = corpus.index_of(id)
                # The middle of the splice: every frame that subsampling keeps, half of them.
                rows.setdefault(corpus.utterances[at].speaker, []).append(corpus.features(at))
            for features in rows.values():
                middle_TF = np.concatenate(features)[:, :23]
                np.testing.assert_allclose(middle_TF.mean(axis=0), 0, atol=0.1)
                np.testing.assert_allclose(middle_TF.std(axis=0), 1, atol=0.15)


def test_noisy_copy_stands_for_the_originals_of_test(corpora: Path) -> None:
    (noisy,) = read_copies(corpora / "copied", "test")
    with (
        CorpusFile(corpora / "plain" / "test.h5") as plain,
        CorpusFile(corpora / "copied" / "test.h5") as copied,
    ):
        assert [row.id for row in copied.utterances] == list(noisy.original_of)
        assert list(noisy.original_of.values()) == [row.id for row in plain.utterances]
        assert [row.transcript for row in copied.utterances] == [
            row.transcript for row in plain.utterances
        ]
        assert np.abs(copied.features(0) - plain.features(0)).max() > 0.5


def test_originals_of_dev_are_kept_where_a_copy_stands_for_them(
    corpora: Path, tmp_path: Path
) -> None:
    assert not (corpora / "copied" / "dev-originals.h5").exists()
    build(tmp_path / "out", settings_for({**NOISY, "splits": ["train", "dev"]}, labelled_share=0.4))
    with (
        CorpusFile(corpora / "plain" / "dev.h5") as plain,
        CorpusFile(tmp_path / "out" / "dev.h5") as noisy,
        CorpusFile(tmp_path / "out" / "dev-originals.h5") as originals,
    ):
        assert originals.utterances == plain.utterances
        assert [row.id for row in noisy.utterances] == [
            f"noisy-{row.id}" for row in plain.utterances
        ]
    summary = (tmp_path / "out" / "summary.json").read_text(encoding="utf-8")
    splits = CorpusSummary.model_validate_json(summary).splits
    assert [split.split for split in splits] == ["train", "dev", "test"]


def test_corpus_of_copies_is_the_same_for_the_same_settings(corpora: Path, tmp_path: Path) -> None:
    build(tmp_path / "again", settings_for(NOISY, FAST, labelled_share=0.4))
    for split in ("train", "dev", "test"):
        with (
            CorpusFile(tmp_path / "again" / f"{split}.h5") as again,
            CorpusFile(corpora / "copied" / f"{split}.h5") as first,
        ):
            assert again.fingerprint == first.fingerprint


def test_summary_counts_copies(corpora: Path) -> None:
    text = (corpora / "copied" / "summary.json").read_text(encoding="utf-8")
    lines = summary_lines(CorpusSummary.model_validate_json(text))
    with CorpusFile(corpora / "plain" / "train.h5") as plain:
        train = len(plain.utterances)
    with CorpusFile(corpora / "plain" / "test.h5") as plain:
        test = len(plain.utterances)
    assert [line for line in lines if line.startswith("copies in")] == [
        f"copies in train: noisy {train}, sp1.1 {train}, of {3 * train} utterances",
        f"copies in test: noisy {test}, of {test} utterances",
    ]


def test_identity_of_a_corpus_without_copies_has_no_copies() -> None:
    assert "copies" not in CorpusSettings().identity()
    one, other = (settings_for({**FAST, "speed": speed}) for speed in (1.1, 1.2))
    assert one.identity()["copies"] != other.identity()["copies"]


WRONG = [
    (
        {"source": "kaldi", "path": "data", "copies": [FAST]},
        r"copies \(sp1\.1\) are made from audio, a Kaldi directory .* has features only: make the",
    ),
    ({"copies": [FAST, FAST]}, "2 copies are called 'sp1.1': give each its own name"),
    (
        {"copies": [{**FAST, "splits": ["test"]}, NOISY]},
        r"the copies sp1\.1 and noisy all stand for the originals of test: name the split in one",
    ),
]


@pytest.mark.parametrize(("fields", "message"), WRONG)
def test_copies_that_cannot_be_made_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CorpusSettings.model_validate(fields)
