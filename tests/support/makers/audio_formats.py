"""Makers of audio corpora in every format, by the libraries that own it.

Each takes the spoken sentences and an empty folder, and returns `corpus.path`, the settings that it
needs, and the utterance ids that are expected, by the ids of the sentences.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from tests.support.makers.audio import AudioFolder

SPLITS = ("train", "dev", "test")
Made = tuple[Path, dict[str, Any], dict[str, str]]


def same_ids(audio: AudioFolder) -> dict[str, str]:
    return {row["id"]: row["id"] for row in audio.rows}


def tsv(audio: AudioFolder, folder: Path) -> Made:
    """One table with a column of splits, in another folder than the audio."""
    path = audio.write_table(folder / "all.tsv")
    return path, {"folder": audio.folder}, same_ids(audio)


def json_lines(audio: AudioFolder, folder: Path) -> Made:
    """A table for each split, whose columns and files have other names."""
    names = {"id": "utt", "path": "audio_filepath", "text": "sentence", "speaker": "client_id"}
    for split, name in zip(SPLITS, ("tr", "validation", "test"), strict=True):
        lines = []
        for row in audio.of(split):
            found = {names[ours]: row[ours] for ours in names}
            found["audio_filepath"] = str(audio.folder / row["path"])
            lines.append(json.dumps(found))
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    settings = {"columns": names, "splits": {"train": "tr", "dev": "validation"}}
    return folder, settings, same_ids(audio)


def kaldi(audio: AudioFolder, folder: Path) -> Made:
    """A folder for each split, with relative paths."""
    for split in SPLITS:
        data = folder / split
        data.mkdir()
        _kaldi_tables(audio, data, split)
        wavs = {r["id"]: os.path.relpath(audio.folder / r["path"], data) for r in audio.of(split)}
        _table(data / "wav.scp", wavs)
    return folder, {}, same_ids(audio)


def kaldi_segments(audio: AudioFolder, folder: Path) -> Made:
    """One FLAC recording of each split, in which the sentences follow each other."""
    for split in SPLITS:
        data = folder / split
        data.mkdir()
        _kaldi_tables(audio, data, split)
        samples, segments, at = [], {}, 0
        for row in audio.of(split):
            samples.append(soundfile.read(audio.folder / row["path"], dtype="int16")[0])
            end = at + len(samples[-1])
            segments[row["id"]] = f"{split}-rec {at / 16_000:.6f} {end / 16_000:.6f}"
            at = end
        soundfile.write(data / "all.flac", np.concatenate(samples), 16_000)
        _table(data / "wav.scp", {f"{split}-rec": "all.flac"})
        _table(data / "segments", segments)
        _table(data / "reco2dur", {f"{split}-rec": f"{at / 16_000:.3f}"})
    return folder, {}, same_ids(audio)


def _kaldi_tables(audio: AudioFolder, data: Path, split: str) -> None:
    _table(data / "text", {row["id"]: row["text"] for row in audio.of(split)})
    _table(data / "utt2spk", {row["id"]: row["speaker"] for row in audio.of(split)})


def _table(path: Path, rows: dict[str, str]) -> None:
    path.write_text("".join(f"{id} {rest}\n" for id, rest in rows.items()))


def lhotse_manifests(audio: AudioFolder, split: str) -> tuple[Any, Any]:
    """Recordings and supervisions of a split, by lhotse."""
    from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet

    recordings, supervisions = [], []
    for row in audio.of(split):
        path = audio.folder / row["path"]
        recordings.append(Recording.from_file(path, recording_id=f"rec-{row['id']}"))
        supervisions.append(
            SupervisionSegment(
                id=row["id"],
                recording_id=f"rec-{row['id']}",
                start=0.0,
                duration=recordings[-1].duration,
                text=row["text"],
                speaker=row["speaker"],
            )
        )
    return RecordingSet.from_recordings(recordings), SupervisionSet.from_segments(supervisions)


def lhotse_supervisions(audio: AudioFolder, folder: Path) -> Made:
    """Recordings and supervisions, as lhotse's recipes write them."""
    for split in SPLITS:
        recordings, supervisions = lhotse_manifests(audio, split)
        recordings.to_file(folder / f"spoken_recordings_{split}.jsonl.gz")
        supervisions.to_file(folder / f"spoken_supervisions_{split}.jsonl.gz")
    return folder, {}, same_ids(audio)


def lhotse_cuts(audio: AudioFolder, folder: Path) -> Made:
    """Cuts, whose ids lhotse makes up."""
    from lhotse import CutSet

    ids = {}
    for split in SPLITS:
        recordings, supervisions = lhotse_manifests(audio, split)
        cuts = CutSet.from_manifests(recordings=recordings, supervisions=supervisions)
        cuts.to_file(folder / f"spoken_cuts_{split}.jsonl.gz")
        ids |= {cut.supervisions[0].id: cut.id for cut in cuts}
    assert not ids.keys() & set(ids.values())
    return folder, {}, ids


def dataset(audio: AudioFolder, folder: Path) -> Made:
    """A dataset with three parts, by Hugging Face's library."""
    from datasets import Audio, Dataset, DatasetDict

    parts = {}
    for split in SPLITS:
        rows = audio.of(split)
        columns = {name: [row[name] for row in rows] for name in ("id", "speaker", "text")}
        columns["audio"] = [str(audio.folder / row["path"]) for row in rows]
        name = "validation" if split == "dev" else split
        parts[name] = Dataset.from_dict(columns).cast_column("audio", Audio(decode=False))
    DatasetDict(parts).save_to_disk(folder / "hf")
    return folder / "hf", {"splits": {"dev": "validation"}}, same_ids(audio)


MAKERS: dict[str, Callable[[AudioFolder, Path], Made]] = {
    maker.__name__: maker
    for maker in (
        tsv,
        json_lines,
        kaldi,
        kaldi_segments,
        lhotse_supervisions,
        lhotse_cuts,
        dataset,
    )
}
