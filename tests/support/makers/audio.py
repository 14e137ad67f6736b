"""Makers of audio corpora: sentences of the spoken corpus as WAV files, with its alignments."""

from dataclasses import dataclass
from pathlib import Path

import soundfile

from stages.acoustic.lang.lang_folder import write_lang_folder
from stages.contract.progress import SilentProgress
from stages.corpus.spoken.speak import speak_corpus
from tests.support.makers.kaldi import write_archive
from tests.support.makers.spoken import tiny_spoken

COLUMNS = ("id", "path", "speaker", "split", "text")


@dataclass(frozen=True, slots=True)
class AudioFolder:
    """`folder` has wav/ID.wav, ali/ and lang/; a row of COLUMNS for each utterance."""

    folder: Path
    rows: list[dict[str, str]]

    @property
    def labels(self) -> dict[str, object]:
        """The settings that name the alignments."""
        return {"alignments": [self.folder / "ali"], "lang": self.folder / "lang"}

    def of(self, split: str) -> list[dict[str, str]]:
        """The rows of a split."""
        return [row for row in self.rows if row["split"] == split]

    def write_table(self, path: Path, columns: tuple[str, ...] = COLUMNS) -> Path:
        """All rows as a TSV."""
        lines = ["\t".join(columns)]
        lines += ["\t".join(row[name] for name in columns) for row in self.rows]
        path.write_text("".join(f"{line}\n" for line in lines))
        return path


SPOKEN = tiny_spoken(hours=0.012, dev_minutes=0.15, test_minutes=0.15, train_voices=7)


def make_audio(folder: Path) -> AudioFolder:
    """The spoken corpus of SPOKEN, a minute in three splits. Needs the extra 'demo'."""
    corpus = speak_corpus(SPOKEN, progress=SilentProgress())
    rows, labels = [], {}
    for name in ("wav", "ali", "lang"):
        (folder / name).mkdir()
    for split, recordings in corpus.splits.items():
        for recording in recordings:
            path = f"wav/{recording.id}.wav"
            soundfile.write(folder / path, recording.samples_T.astype("int16"), 16_000)
            labels[recording.id] = recording.labels_T
            values = (recording.id, path, recording.speaker, split, recording.transcript)
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    write_archive(folder / "ali", "ali", labels)
    write_lang_folder(corpus.lang, folder / "lang")
    return AudioFolder(folder, rows)
