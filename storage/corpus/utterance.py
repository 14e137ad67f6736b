"""Utterance: a row of the utterance table of a corpus file; the table is read here."""

from dataclasses import dataclass

import h5py

from storage.corpus.audio_columns import counted, read_audio
from storage.corpus.audio_span import AudioSpan
from storage.corpus.hdf5_layout import TEXT_COLUMNS, has_audio, read_texts
from storage.files.fingerprint import canonical_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """A row of the utterance table: frames [first_frame, first_frame + num_frames).

    `audio` is None if the source has no recordings.
    """

    id: str
    speaker: str
    transcript: str
    digest: str
    first_frame: int
    num_frames: int
    audio: AudioSpan | None = None


def content_of(row: Utterance) -> str:
    """What the file's fingerprint covers of a row: of its audio all but where the file is."""
    values = [row.id, row.speaker, row.transcript, row.digest]
    return canonical_json(values if row.audio is None else [*values, counted(row.audio)])


def read_table(file: h5py.File) -> list[Utterance]:
    """All utterances, in order.

    Raises:
        ValueError: if a column is not what the writer writes.
    """
    table = file["utterances"]
    texts = [read_texts(table, name) for name in TEXT_COLUMNS]
    firsts, counts = table["first_frame"][:], table["num_frames"][:]
    audio = read_audio(table) if has_audio(file) else [None] * len(firsts)
    return [
        Utterance(
            id=id,
            speaker=speaker,
            transcript=transcript,
            digest=digest,
            first_frame=int(first),
            num_frames=int(count),
            audio=span,
        )
        for id, speaker, transcript, digest, first, count, span in zip(
            *texts, firsts, counts, audio, strict=True
        )
    ]
