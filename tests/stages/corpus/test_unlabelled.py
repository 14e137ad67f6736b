"""Untranscribed speech in the corpus: folders without labels, and labelled_share."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import kaldiio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.settings.tree import PipelineSettings
from pipeline.shelf.freshness import Shelf
from pipeline.shelf.recipes import Recipes
from stages.contract.errors import BadInput
from stages.contract.progress import SilentProgress
from stages.contract.results import CorpusSummary, SplitSummary
from stages.corpus.build import build_corpus
from stages.corpus.kaldi_settings import KaldiSettings
from stages.corpus.labelled_share import choose_labelled
from stages.corpus.settings import CorpusSettings
from stages.corpus.source_fingerprint import source_fingerprint
from stages.corpus.spoken.settings import SpokenSettings
from stages.corpus.spoken_source import SpokenSource
from stages.corpus.summary import summary_lines
from storage.corpus.corpus_file import NO_LABEL, CorpusFile
from tests.support.makers.kaldi import add_unlabelled_folder, make_kaldi_directory, write_archive
from tests.support.makers.spoken import tiny_spoken

TRAIN_SPEAKERS = {f"train-s{number}" for number in range(7)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Labelled speech of seven speakers, and a folder without text or alignment."""
    directory = make_kaldi_directory(tmp_path / "data", sentences=17, speakers=7)
    add_unlabelled_folder(directory, "more")
    return directory


def settings_for(data: Path, *unlabelled: str, labelled_share: float = 1.0) -> CorpusSettings:
    kaldi = {"unlabelled": unlabelled, "labelled_share": labelled_share}
    fields = {"source": "kaldi", "path": data, "kaldi": kaldi, "features": {"splice_left": 0}}
    return CorpusSettings.model_validate(fields)


def build(out: Path, settings: CorpusSettings) -> CorpusSummary:
    out.mkdir()
    return build_corpus(settings, directory=out, progress=SilentProgress())


def speakers_with_labels(path: Path) -> set[str]:
    with CorpusFile(path) as corpus:
        counts = corpus.labelled_frames()
        rows = zip(corpus.utterances, counts, strict=True)
        assert {n for row, n in rows if n} <= {row.num_frames for row in corpus.utterances}
        return {row.speaker for row, n in zip(corpus.utterances, counts, strict=True) if n}


def test_unlabelled_folder_is_added_to_train_after_its_utterances(
    data: Path, tmp_path: Path
) -> None:
    more = add_unlabelled_folder(data, "yet-more", sentences=3)
    settings = settings_for(data, "yet-more", "more")
    summary = build(tmp_path / "out", settings).splits[0]
    build(tmp_path / "plain", settings_for(data))
    with (
        CorpusFile(tmp_path / "out" / "train.h5") as found,
        CorpusFile(tmp_path / "plain" / "train.h5") as plain,
    ):
        assert found.utterances[:17] == plain.utterances  # they contain digests of the content
        assert [row.id for row in found.utterances[17:20]] == more
        assert len(found.utterances) == 17 + 3 + 7
        for index in range(17, len(found.utterances)):
            assert found.utterances[index].transcript == ""
            assert (found.labels(index) == NO_LABEL).all()
            assert np.isfinite(found.features(index)).all()
        assert found.utterances[19].speaker == "yet-more-s0"
        labelled = found.labelled_frames()
        assert labelled.tolist() == [row.num_frames for row in plain.utterances] + [0] * 10
        assert summary.labelled is not None
        assert summary.labelled.num_frames == plain.num_frames
    assert (summary.num_utterances, summary.labelled.num_utterances) == (27, 17)
    assert summary.labelled.hours < summary.hours
    listed = (tmp_path / "out" / "train-labelled.txt").read_text()
    assert listed == "".join(f"{row.id}\n" for row in plain.utterances)
    assert not (tmp_path / "plain" / "train-labelled.txt").exists()
    assert summary.num_words > 0


def test_summary_contains_the_labelled_part(data: Path, tmp_path: Path) -> None:
    summary = build(tmp_path / "out", settings_for(data, "more"))
    lines = summary_lines(summary)
    assert any(
        line.startswith("hard labels in train: 17 of 24 utterances, 0.00 of") for line in lines
    )
    assert any(line.startswith("hard labels in test: 0 of 8 utterances") for line in lines)
    assert not any("hard labels in dev" in line for line in lines)


def test_summary_of_an_earlier_version_is_read() -> None:
    old = {"split": "train", "num_utterances": 3, "num_speakers": 1, "num_frames": 9}
    old |= {"hours": 0.5, "num_words": 4, "left_out": {}, "trimmed": []}
    assert SplitSummary.model_validate_json(json.dumps(old)).labelled is None


def test_unlabelled_folder_has_text_and_alignment_ignored(data: Path, tmp_path: Path) -> None:
    before = source_fingerprint(settings_for(data, "more"))
    (data / "more" / "text").write_bytes(b"\xff\xfe no text")
    (data / "more" / "ali.scp").write_text("no alignment")
    assert source_fingerprint(settings_for(data, "more")) == before
    build(tmp_path / "out", settings_for(data, "more"))
    assert speakers_with_labels(tmp_path / "out" / "train.h5") == TRAIN_SPEAKERS


@pytest.mark.parametrize("name", ["feats.scp", "feats.ark", "utt2spk"])
def test_fingerprint_changes_with_an_unlabelled_folder(data: Path, name: str) -> None:
    before = source_fingerprint(settings_for(data, "more"))
    content = bytearray((data / "more" / name).read_bytes())
    content[-2 if name == "feats.scp" else len(content) // 2] ^= 1
    (data / "more" / name).write_bytes(content)
    assert source_fingerprint(settings_for(data, "more")) != before


def test_fingerprint_ignores_folders_that_are_not_in_the_settings(data: Path) -> None:
    before = source_fingerprint(settings_for(data))
    assert source_fingerprint(settings_for(data, "more")) != before
    shutil.rmtree(data / "more")
    assert source_fingerprint(settings_for(data)) == before


def copy_ids(data: Path, source: str, to: str) -> None:
    features = dict(kaldiio.load_scp(str(data / source / "feats.scp")))
    taken = {id: np.array(features[id]) for id in list(features)[:2]}
    write_archive(data / to, "feats", taken)
    (data / to / "utt2spk").write_text("".join(f"{id} somebody\n" for id in taken))


def in_the_folder(data: Path, split: str) -> None:
    """An absolute scp, so that `kaldiio` finds the archive."""
    scp = data / split / "feats.scp"
    scp.write_text(scp.read_text().replace("feats.ark", str(data / split / "feats.ark")))
    copy_ids(data, split, "more")


BAD = {
    "no folder": (
        lambda d: shutil.rmtree(d / "more"),
        r"feats\.scp is missing: a folder of corpus",
    ),
    "no feats.scp": (
        lambda d: (d / "more/feats.scp").unlink(),
        r"more/feats\.scp is missing: a folder of corpus\.kaldi\.unlabelled needs feats\.scp and",
    ),
    "no utt2spk": (lambda d: (d / "more/utt2spk").unlink(), r"more/utt2spk is missing: a folder"),
    "empty": (
        lambda d: (d / "more/feats.scp").write_text(""),
        r"more: this unlabelled folder has no utterance .* \(left out: 7 with no features\)",
    ),
    "nobody spoke": (
        lambda d: (d / "more/utt2spk").write_text(""),
        r"more: this unlabelled folder has no utterance .* \(left out: 7 with no speaker\)",
    ),
    "in train": (
        lambda d: in_the_folder(d, "train"),
        r"more: 2 of its 2 utterances are also in .*train \(for example 'train-s0-u0'\)",
    ),
    "in dev": (lambda d: in_the_folder(d, "dev"), r"more: 2 of its 2 utterances are also in .*dev"),
    "in test": (
        lambda d: in_the_folder(d, "test"),
        "more: 2 of its 2 utterances are also in .*test",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_unlabelled_folder_that_is_invalid_is_named(data: Path, tmp_path: Path, case: str) -> None:
    spoil, message = BAD[case]
    spoil(data)
    with pytest.raises(BadInput, match=message) as caught:
        build(tmp_path / "out", settings_for(data, "more"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", ["no folder", "no feats.scp", "no utt2spk"])
def test_unlabelled_folder_without_a_table_is_named_at_once(data: Path, case: str) -> None:
    spoil, message = BAD[case]
    spoil(data)
    with pytest.raises(BadInput, match=message):
        source_fingerprint(settings_for(data, "more"))


def test_unlabelled_folders_share_no_utterance(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "more", data / "same")
    with pytest.raises(BadInput, match=r"same: 7 of its 7 utterances are also in .*more"):
        build(tmp_path / "out", settings_for(data, "more", "same"))


@pytest.mark.parametrize("names", [("more", "more"), ("train",), ("test",)])
def test_settings_name_each_folder_once(data: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=f"the folder '{names[0]}' is already in use"):
        settings_for(data, *names)


def test_unlabelled_utterances_left_out_are_listed_with_train(data: Path, tmp_path: Path) -> None:
    for name, gone in (("feats.scp", "more-s1-u1"), ("utt2spk", "more-s0-u2")):
        lines = (data / "more" / name).read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith(gone)]
        (data / "more" / name).write_text("".join(kept))
    drop = (data / "train" / "utt2spk").read_text().splitlines(keepends=True)
    (data / "train" / "utt2spk").write_text("".join(drop[1:]))
    summary = build(tmp_path / "out", settings_for(data, "more")).splits[0]
    assert summary.left_out == {
        "no speaker": ("train-s0-u0", "more-s0-u2"),
        "no features": ("more-s1-u1",),
    }


def test_unlabelled_folder_may_have_utterances_of_train_without_alignment(
    data: Path, tmp_path: Path
) -> None:
    lines = (data / "train" / "ali.scp").read_text().splitlines(keepends=True)
    (data / "train" / "ali.scp").write_text("".join(lines[2:]))
    in_the_folder(data, "train")
    summary = build(tmp_path / "out", settings_for(data, "more")).splits[0]
    assert summary.left_out == {"no alignment": ("train-s0-u0", "train-s1-u1")}
    assert summary.num_utterances == 17


# labelled_share


@given(
    st.sets(st.text(min_size=1), min_size=1, max_size=40),
    st.floats(0.001, 1.0),
    st.floats(0.001, 1.0),
    st.randoms(),
)
def test_labelled_share_contains_every_smaller_share(
    speakers: set[str], one: float, other: float, rng: random.Random
) -> None:
    shuffled = list(speakers)
    rng.shuffle(shuffled)
    small, large = sorted((one, other))
    assert choose_labelled(speakers, small) <= choose_labelled(
        dict.fromkeys(shuffled).keys(), large
    )
    assert len(choose_labelled(speakers, large)) == max(1, round(large * len(speakers)))
    assert choose_labelled(speakers, 1.0) == speakers


def test_labelled_share_is_chosen_by_digests_of_ids() -> None:
    """By SHA-256: another digest would make different corpora of the same settings."""
    assert choose_labelled(TRAIN_SPEAKERS, 0.4) == {"train-s4", "train-s3", "train-s6"}
    assert choose_labelled(TRAIN_SPEAKERS - {"train-s3"}, 0.4) == {"train-s4", "train-s6"}


def test_labelled_share_removes_only_labels(data: Path, tmp_path: Path) -> None:
    build(tmp_path / "whole", settings_for(data))
    shares = (0.1, 0.3, 0.5)
    heard: set[str] = set()
    for share, wanted in zip(shares, (1, 2, 4), strict=True):
        out = tmp_path / str(share)
        summary = build(out, settings_for(data, labelled_share=share))
        labelled = speakers_with_labels(out / "train.h5")
        assert len(labelled) == wanted
        assert labelled == choose_labelled(TRAIN_SPEAKERS, share)
        assert heard < labelled
        heard = labelled
        with (
            CorpusFile(out / "train.h5") as found,
            CorpusFile(tmp_path / "whole" / "train.h5") as whole,
        ):
            assert summary.splits[0].labelled is not None
            assert summary.splits[0].labelled.num_frames == int(found.labelled_frames().sum())
            for index, row in enumerate(whole.utterances):
                assert found.utterances[index].id == row.id
                assert found.utterances[index].transcript == row.transcript
                np.testing.assert_array_equal(found.features(index), whole.features(index))
                hard_T = whole.labels(index)
                kept_T = hard_T if row.speaker in labelled else np.full_like(hard_T, NO_LABEL)
                np.testing.assert_array_equal(found.labels(index), kept_T)
        for name in ("dev.h5", "test.h5"):
            with CorpusFile(out / name) as found, CorpusFile(tmp_path / "whole" / name) as whole:
                assert found.fingerprint == whole.fingerprint


def test_labelled_share_is_of_the_speakers_of_train(data: Path, tmp_path: Path) -> None:
    """Speakers of unlabelled folders have no labels to keep."""
    summary = build(tmp_path / "out", settings_for(data, "more", labelled_share=0.3))
    labelled = speakers_with_labels(tmp_path / "out" / "train.h5")
    everybody = TRAIN_SPEAKERS | {"more-s0", "more-s1"}
    assert labelled == choose_labelled(TRAIN_SPEAKERS, 0.3)
    assert labelled != choose_labelled(everybody, 0.3) & TRAIN_SPEAKERS
    assert (summary.splits[0].num_utterances, len(labelled)) == (24, 2)


def test_summary_counts_test_speakers_among_the_unlabelled(data: Path, tmp_path: Path) -> None:
    """They are in train, if without transcripts: test does not consist of new speakers."""
    unheard = build(tmp_path / "one", settings_for(data, "more"))
    assert [split.heard_speakers for split in unheard.splits] == [0, 0, 0]
    speakers = (data / "more" / "utt2spk").read_text().replace(" more-s0", " test-s0")
    (data / "more" / "utt2spk").write_text(speakers)
    heard = build(tmp_path / "two", settings_for(data, "more"))
    assert [split.heard_speakers for split in heard.splits] == [0, 0, 1]
    lines = summary_lines(heard)
    assert any(line.startswith("1 of ") and "of test are also in train" in line for line in lines)


@pytest.mark.parametrize("share", [0, -0.1, 1.1])
def test_labelled_share_is_above_zero_and_at_most_one(share: float) -> None:
    for settings in (SpokenSettings, KaldiSettings):
        with pytest.raises(ValueError, match="labelled_share"):
            settings(labelled_share=share)


def recipe_of(corpus: CorpusSettings) -> dict[str, Any]:
    settings = PipelineSettings(corpus=corpus)
    return Recipes(settings, Shelf(Path("nowhere"))).corpus.settings


def test_identity_of_earlier_corpora_stays_the_same(data: Path) -> None:
    """The recipes of fully labelled corpora are unchanged."""
    whole = CorpusSettings(spoken=SpokenSettings(labelled_share=1.0))
    assert set(recipe_of(whole)) == {"source", "spoken", "features"}
    kaldi = recipe_of(settings_for(data))
    assert set(kaldi) == {"source", "kaldi", "features"}
    assert "unlabelled" not in kaldi["kaldi"]
    assert "labelled_share" not in {*recipe_of(whole)["spoken"], *kaldi["kaldi"]}
    spoken = [CorpusSettings(spoken=SpokenSettings(labelled_share=share)) for share in (0.5, 1)]
    assert len({source_fingerprint(settings) for settings in spoken}) == 1  # the speech is the same
    assert len({str(recipe_of(settings)) for settings in spoken}) == 2
    few = recipe_of(settings_for(data, labelled_share=0.5))
    assert (few.pop("labelled_share"), few) == (0.5, kaldi)
    assert recipe_of(settings_for(data, "more"))["kaldi"]["unlabelled"] == ["more"]


def test_labelled_share_of_the_spoken_corpus_removes_only_labels(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    spoken = tiny_spoken(hours=0.006, dev_minutes=0.05, test_minutes=0.05, train_voices=5)
    few = spoken.model_copy(update={"labelled_share": 0.4})
    summary = build(tmp_path / "out", CorpusSettings(spoken=few))
    labelled = speakers_with_labels(tmp_path / "out" / "train.h5")
    assert (len(labelled), summary.splits[0].num_speakers) == (2, 5)
    source = SpokenSource(spoken, scratch=tmp_path, progress=SilentProgress())
    speakers = source.labelled_speakers("train")  # before any pass over it
    assert labelled == choose_labelled(speakers, 0.4)
    assert {raw.speaker for raw in source.utterances("train")} == speakers
