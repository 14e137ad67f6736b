"""Corpora of audio: the same files as from the synthesiser, splits by shares."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from stages.contract.errors import BadInput
from stages.contract.progress import SilentProgress
from stages.contract.results import CorpusSummary
from stages.corpus.audio.given_alignments import with_edges
from stages.corpus.build import build_corpus
from stages.corpus.settings import CorpusSettings
from storage.corpus.corpus_file import CorpusFile
from storage.files.fingerprint import file_digest
from tests.support.makers.audio import SPOKEN, AudioFolder
from tests.support.makers.kaldi import write_archive

COPIES = [
    {"kind": "noise", "name": "noisy", "babble_share": 0.5, "seed": 3, "splits": ["train", "dev"]},
    {"kind": "speed", "name": "fast", "speed": 1.1},
    {"kind": "tract", "name": "tract", "splits": ["test"]},
]
ALL_COLUMNS = ("id", "path", "speaker", "split", "text")


def build(out: Path, *, copies: Any = (), **settings: Any) -> CorpusSummary:
    out.mkdir()
    how = CorpusSettings.model_validate({"source": "audio", "copies": copies, **settings})
    return build_corpus(how, directory=out, progress=SilentProgress())


def of_audio(audio: AudioFolder, path: Path, **settings: Any) -> dict[str, Any]:
    return {"path": path, "audio": {**audio.labels, "num_mel_bins": 23, **settings}}


def other_files(folder: Path) -> dict[str, str]:
    """Digests of the files of a corpus, but for the summary, which names the source."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".h5"]
    return {str(f.relative_to(folder)): file_digest(f) for f in files if f.stem != "summary"}


def rows_of(file: Path) -> list[Any]:
    """The utterances without the places of their audio; a digest is of features and labels."""
    with CorpusFile(file) as corpus:
        return [replace(row, audio=None) for row in corpus.utterances]


@pytest.mark.parametrize("copies", [(), COPIES], ids=["plain", "copies"])
def test_corpus_of_wavs_is_the_corpus_that_the_synthesiser_gave(
    audio: AudioFolder, tmp_path: Path, copies: Any
) -> None:
    path = audio.write_table(tmp_path / "all.tsv")
    summary = build(tmp_path / "a", copies=copies, **of_audio(audio, path, folder=audio.folder))
    spoken = build(tmp_path / "s", copies=copies, source="spoken", spoken=SPOKEN)
    assert summary == spoken.model_copy(update={"source": "audio"})
    assert other_files(tmp_path / "a") == other_files(tmp_path / "s")
    for file in (tmp_path / "s").glob("*.h5"):
        assert rows_of(tmp_path / "a" / file.name) == rows_of(file)


def test_corpus_file_states_where_the_recordings_are(audio: AudioFolder, tmp_path: Path) -> None:
    path = audio.write_table(tmp_path / "all.tsv")
    build(tmp_path / "out", copies=COPIES[:1], **of_audio(audio, path, folder=audio.folder))
    with CorpusFile(tmp_path / "out" / "train.h5") as corpus:
        of_id = {row.id: row.audio for row in corpus.utterances}
    for row in audio.of("train"):
        span = of_id[row["id"]]
        assert span is not None
        assert span.path == str(audio.folder / row["path"])
        assert span.digest == file_digest(audio.folder / row["path"])
        assert of_id[f"noisy-{row['id']}"] is None


def speakers_of(folder: Path) -> dict[str, set[str]]:
    found = {}
    for split in ("train", "dev", "test"):
        with CorpusFile(folder / f"{split}.h5") as corpus:
            found[split] = {row.speaker for row in corpus.utterances}
    return found


def test_shares_take_whole_speakers(audio: AudioFolder, tmp_path: Path) -> None:
    path = audio.write_table(tmp_path / "all.tsv", ("id", "path", "speaker", "text"))
    shares = {"dev_share": 0.2, "test_share": 0.2, "folder": audio.folder}
    build(tmp_path / "out", **of_audio(audio, path, **shares))
    found = speakers_of(tmp_path / "out")
    assert set().union(*found.values()) == {row["speaker"] for row in audio.rows}
    assert not found["train"] & found["dev"]
    assert not (found["train"] | found["dev"]) & found["test"]
    assert all(found.values())


def test_shares_take_recordings_where_there_are_no_speakers(
    audio: AudioFolder, tmp_path: Path
) -> None:
    path = audio.write_table(tmp_path / "all.tsv", ("id", "path", "text"))
    shares = {"dev_share": 0.2, "test_share": 0.2, "folder": audio.folder}
    summary = build(tmp_path / "out", **of_audio(audio, path, **shares))
    sizes = [split.num_utterances for split in summary.splits]
    assert sizes == [21, 7, 7]
    assert [split.num_speakers for split in summary.splits] == sizes


def test_share_of_a_split_that_the_table_has_is_refused(audio: AudioFolder, tmp_path: Path) -> None:
    path = audio.write_table(tmp_path / "all.tsv")
    with pytest.raises(BadInput, match=r"corpus\.audio\.dev_share takes dev from train"):
        build(tmp_path / "out", **of_audio(audio, path, dev_share=0.2, folder=audio.folder))


def test_untranscribed_speech_of_train_has_no_labels(audio: AudioFolder, tmp_path: Path) -> None:
    rows = [dict(row) for row in audio.rows]
    without = {row["id"] for row in rows[:5]}
    for row in rows[:5]:
        row["text"] = ""
    mute = AudioFolder(audio.folder, rows)
    path = mute.write_table(tmp_path / "all.tsv")
    (tmp_path / "ali").mkdir()
    kept = _labels(audio, {row["id"] for row in rows} - without)
    write_archive(tmp_path / "ali", "ali", kept)
    settings = {"folder": audio.folder, "alignments": [tmp_path / "ali"]}
    summary = build(
        tmp_path / "a", **of_audio(mute, path, no_transcript="untranscribed", **settings)
    )
    train = summary.splits[0]
    assert (train.num_utterances, train.labelled and train.labelled.num_utterances) == (24, 19)
    summary = build(tmp_path / "b", **of_audio(mute, path, no_transcript="leave_out", **settings))
    assert summary.splits[0].num_utterances == 19
    assert set(summary.splits[0].left_out["no transcript"]) == without


def _labels(audio: AudioFolder, ids: set[str]) -> dict[str, Any]:
    import kaldiio

    found = dict(kaldiio.load_ark(str(audio.folder / "ali" / "ali.ark")))
    return {id: found[id] for id in sorted(ids)}


def test_utterance_of_train_without_alignment_is_left_out(
    audio: AudioFolder, tmp_path: Path
) -> None:
    gone = {audio.of("train")[3]["id"], audio.of("dev")[0]["id"]}
    (tmp_path / "ali").mkdir()
    write_archive(tmp_path / "ali", "ali", _labels(audio, {r["id"] for r in audio.rows} - gone))
    path = audio.write_table(tmp_path / "all.tsv")
    settings = {"folder": audio.folder, "alignments": [tmp_path / "ali"]}
    summary = build(tmp_path / "out", **of_audio(audio, path, **settings))
    train, dev, _ = summary.splits
    assert train.left_out == {"no alignment": (audio.of("train")[3]["id"],)}
    assert (dev.num_utterances, dev.labelled and dev.labelled.num_utterances) == (6, 5)


def test_alignments_may_be_several_folders_but_not_of_the_same_utterance(
    audio: AudioFolder, tmp_path: Path
) -> None:
    folders = [tmp_path / split for split in ("train", "dev")]
    for folder in folders:
        folder.mkdir()
        ids = {row["id"] for row in audio.of(folder.name)}
        write_archive(folder, "ali", _labels(audio, ids))
    path = audio.write_table(tmp_path / "all.tsv")
    settings = {"folder": audio.folder, "alignments": folders}
    build(tmp_path / "out", **of_audio(audio, path, **settings))
    with CorpusFile(tmp_path / "out" / "dev.h5") as corpus:
        assert corpus.about.has_labels
    settings["alignments"] = [*folders, audio.folder / "ali"]
    with pytest.raises(BadInput, match=r"ali: utterance '.*' occurs twice: keep one alignment"):
        build(tmp_path / "twice", **of_audio(audio, path, **settings))
    settings["alignments"] = folders[:1]
    with pytest.raises(BadInput, match="no alignment of an utterance of dev: wanted alignments"):
        build(tmp_path / "none", **of_audio(audio, path, **settings))


@pytest.mark.parametrize("num_samples", [1600, 16_000, 16_079, 16_080, 16_159, 40_123])
def test_labels_with_edges_have_the_length_of_features_without_snip_edges(
    num_samples: int,
) -> None:
    with_snip = 1 + (num_samples - 400) // 160  # Kaldi, feature-window.cc, NumFrames
    without = (num_samples + 80) // 160
    labels_T = np.arange(with_snip, dtype=np.int32)
    found = with_edges(labels_T)
    assert len(found) == without
    # Every frame has the label of the nearest one: the centres are 2.5 ms apart.
    centres = 5.0 + 10.0 * np.arange(without)
    nearest = np.abs(centres[:, None] - (12.5 + 10.0 * np.arange(with_snip))).argmin(axis=1)
    assert np.array_equal(found, labels_T[nearest])


def test_features_that_were_aligned_with_snip_edges(audio: AudioFolder, tmp_path: Path) -> None:
    labels = _labels(audio, {row["id"] for row in audio.rows})
    (tmp_path / "ali").mkdir()
    write_archive(tmp_path / "ali", "ali", {id: found[1:-1] for id, found in labels.items()})
    path = audio.write_table(tmp_path / "all.tsv")
    settings = {"folder": audio.folder, "alignments": [tmp_path / "ali"]}
    with pytest.raises(BadInput, match=r"set corpus\.audio\.snip_edges to true"):
        build(tmp_path / "out", **of_audio(audio, path, **settings))
    build(tmp_path / "out2", **of_audio(audio, path, snip_edges=True, **settings))


def test_one_side_of_stereo_gives_the_corpus_of_mono(audio: AudioFolder, tmp_path: Path) -> None:
    (tmp_path / "wav").mkdir()
    for row in audio.rows:
        samples = soundfile.read(audio.folder / row["path"], dtype="int16")[0]
        stereo = np.stack([samples[::-1], samples], axis=1)
        soundfile.write(tmp_path / row["path"], stereo, 16_000)
    path = audio.write_table(tmp_path / "all.tsv")
    build(tmp_path / "two", **of_audio(audio, path, channel=1))
    build(tmp_path / "one", **of_audio(audio, path, folder=audio.folder))
    for name in ("train.h5", "test.h5"):
        assert rows_of(tmp_path / "two" / name) == rows_of(tmp_path / "one" / name)


def test_words_that_the_lang_lacks_are_refused_or_kept(audio: AudioFolder, tmp_path: Path) -> None:
    rows = [dict(row) for row in audio.rows]
    rows[0]["text"] += " ZYX"
    path = AudioFolder(audio.folder, rows).write_table(tmp_path / "all.tsv")
    with pytest.raises(BadInput, match=r"1 words are not in the lexicon \(ZYX\)"):
        build(tmp_path / "out", **of_audio(audio, path, folder=audio.folder))
    build(tmp_path / "kept", **of_audio(audio, path, folder=audio.folder, unknown_words="keep"))


def test_labelled_share_withholds_labels(audio: AudioFolder, tmp_path: Path) -> None:
    path = audio.write_table(tmp_path / "all.tsv")
    settings = of_audio(audio, path, folder=audio.folder, labelled_share=0.4)
    summary = build(tmp_path / "out", **settings)
    assert summary.splits[0].labelled is not None
    how = CorpusSettings.model_validate({"source": "audio", **settings})
    assert how.identity()["labelled_share"] == 0.4
    assert "labelled_share" not in how.identity()["audio"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"source": "audio", "audio": {"alignments": ["a"], "lang": "l"}}, "audio needs a table"),
        ({"source": "audio", "path": "a.tsv"}, "source audio needs hard labels"),
        ({"audio": {"dev_share": 0.1}}, "found settings of a table, manifest or folder of audio"),
        ({"audio": {"alignments": ["a"]}}, "alignments and lang belong together"),
        ({"audio": {"splits": {"dev": "test"}}}, "a name comes twice"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CorpusSettings.model_validate(settings)


def test_settings_of_other_sources_do_not_count() -> None:
    assert "audio" not in CorpusSettings().identity()
    given = {"alignments": ["a"], "lang": "l", "folder": "clips"}
    moved = {"alignments": ["b"], "lang": "m", "folder": "elsewhere"}
    one, two = (
        CorpusSettings.model_validate({"source": "audio", "path": "p", "audio": how})
        for how in (given, moved)
    )
    assert one.identity() == two.identity()
    assert "kaldi" not in one.identity()
    assert "spoken" not in one.identity()
