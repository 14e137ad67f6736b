"""Recordings and pocketsphinx's alignments -> what pocketsphinx.yaml reads.

    essence corpus --config tiny --keep-audio ...     (README.md)
    python examples/pocketsphinx/prepare.py sphinx-data work-speech/audio-*

writes

    table.tsv       id, path, speaker, split, text; with those of pocketsphinx-testdata
    ali/ali.ark     the senone of every frame, by utterance
    lang/           units are triples of senones that the alignments have; words of all splits
    priors.txt      frames of each senone in train, plus one
    left-out.tsv    id, reason

Speakers of the larger table are train; of the others half are dev, and half are test.
"""

import argparse
import re
import wave
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sphinx_member import WIDE, align, new_decoder

from stages.acoustic.features.rates import SAMPLE_RATE, num_frames_of
from stages.acoustic.sound.speech_table import read_table_of_speech
from stages.corpus.spoken.bigram import bigram_arpa

TESTDATA = Path("/usr/share/pocketsphinx/test/data")
NUM_SENONES = 5126
SILENCE = "SIL"
FILLER = re.compile(r"<.*>|\[.*\]|\+\+.*\+\+")
# Frame n of the decoder is centred 12.8 ms + n * 10 ms after the start, row r of a corpus at
# 5 ms + r * 10 ms: the frame nearest to a row has the number r - 1.
ROWS_BEFORE = 1


@dataclass(frozen=True, slots=True)
class Recording:
    """One utterance of the table."""

    id: str
    path: Path
    speaker: str
    split: str
    words: tuple[str, ...]


def recordings_of(audio: Path) -> Iterator[Recording]:
    """What `essence corpus --keep-audio` wrote: its test as train, its dev as dev and test."""
    for row in read_table_of_speech(audio / "test.tsv"):
        yield _recording(row.id, row.path, row.speaker, "train", row.text)
    rows = read_table_of_speech(audio / "dev.tsv")
    speakers = sorted({row.speaker for row in rows})
    for row in rows:
        split = "dev" if speakers.index(row.speaker) % 2 == 0 else "test"
        yield _recording(row.id, row.path, row.speaker, split, row.text)


def recordings_of_testdata(data: Path) -> Iterator[Recording]:
    """The read sentences and card names of Debian's pocketsphinx-testdata, as test."""
    for name, table in (("librivox", "transcription"), ("cards", "cards.transcription")):
        for line in (data / name / table).read_text().splitlines():
            text, _, file = line.rstrip().rstrip(")").rpartition("(")
            words = text.replace("<s>", " ").replace("</s>", " ")
            path = data / name / f"{file}.wav"
            yield _recording(f"{name}-{file}", path, name, "test", words)


def _recording(id: str, path: Path, speaker: str, split: str, text: str | None) -> Recording:
    return Recording(id, path.resolve(), speaker, split, tuple((text or "").lower().split()))


def read_samples(path: Path) -> NDArray[np.int16]:
    """The samples (S,) of a WAV file: 16 kHz, one channel, 16 bits.

    Raises:
        ValueError: if it is another kind of file.
    """
    with wave.open(str(path)) as file:
        found = (file.getframerate(), file.getnchannels(), 8 * file.getsampwidth())
        if found != (SAMPLE_RATE, 1, 16):
            raise ValueError(f"rate, channels and bits are {found}, wanted {(SAMPLE_RATE, 1, 16)}")
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def rows_of_frames(senones_N: NDArray[np.int32], *, num_rows: int) -> NDArray[np.int32]:
    """The senone of each row of the corpus (T,)."""
    nearest_T = np.arange(num_rows) - ROWS_BEFORE
    return senones_N[np.clip(nearest_T, 0, len(senones_N) - 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aligned:
    """Senones of the rows (T,), and the units of each word, silence left out."""

    senones_T: NDArray[np.int32]
    words: tuple[tuple[str, tuple[str, ...]], ...]
    units: dict[str, tuple[int, ...]]


def align_recording(decoder: object, recording: Recording) -> Aligned:
    """Align one recording.

    Raises:
        RuntimeError, ValueError: if it cannot be aligned or read.
    """
    samples_S = read_samples(recording.path)
    units: dict[str, tuple[int, ...]] = {}
    words: list[tuple[str, tuple[str, ...]]] = []
    senones: list[int] = []
    for word, phones in align(decoder, samples_S, recording.words):
        triples = [(phone, tuple(senone for senone, _ in states)) for phone, states in phones]
        senones += [senone for _, states in phones for senone, n in states for _ in range(n)]
        if FILLER.fullmatch(word):
            units |= {phone: triple for phone, triple in triples if phone == SILENCE}
        else:
            units |= {unit_name(phone, triple): triple for phone, triple in triples}
            names = tuple(unit_name(phone, triple) for phone, triple in triples)
            words.append((re.sub(r"\(\d+\)$", "", word), names))
    senones_N, num_rows = np.array(senones, np.int32), num_frames_of(len(samples_S))
    return Aligned(
        senones_T=rows_of_frames(senones_N, num_rows=num_rows), words=tuple(words), units=units
    )


def unit_name(phone: str, triple: Sequence[int]) -> str:
    """A unit for each triple of senones; programs read the phone out of it as HTK names units."""
    first, *others = triple
    return f"{first}-{phone}+{'.'.join(map(str, others))}"


def align_all(
    recordings: Iterable[Recording],
) -> tuple[dict[str, Aligned], dict[str, str]]:
    """Id -> alignment, and id -> reason of those without."""
    decoder = new_decoder(beam=WIDE, wbeam=WIDE, pbeam=WIDE)
    aligned: dict[str, Aligned] = {}
    left_out: dict[str, str] = {}
    for recording in recordings:
        try:
            aligned[recording.id] = align_recording(decoder, recording)
        except (RuntimeError, ValueError, OSError, EOFError, wave.Error) as cause:
            left_out[recording.id] = " ".join(str(cause).split())
    return aligned, left_out


def write_all(recordings: Sequence[Recording], out: Path) -> list[str]:
    """Align the recordings and write everything into `out`; returns what it is, in lines."""
    aligned, left_out = align_all(recordings)
    kept = [each for each in recordings if each.id in aligned]
    train = [each for each in kept if each.split == "train"]
    for folder in (out / "ali", out / "lang"):
        folder.mkdir(parents=True, exist_ok=True)
    rows = [(e.id, str(e.path), e.speaker, e.split, " ".join(e.words)) for e in kept]
    _write(out / "table.tsv", "\t", [("id", "path", "speaker", "split", "text"), *rows])
    _write(out / "left-out.tsv", "\t", [("id", "reason"), *left_out.items()])
    lines = [(e.id, *map(str, aligned[e.id].senones_T.tolist())) for e in kept]
    _write(out / "ali" / "ali.ark", " ", lines)
    _write_lang(list(aligned.values()), [each.words for each in train], out / "lang")
    counts_C = np.ones(NUM_SENONES, np.int64)
    for each in train:
        counts_C += np.bincount(aligned[each.id].senones_T, minlength=NUM_SENONES)
    _write(out / "priors.txt", " ", [(str(count),) for count in counts_C.tolist()])
    return list(_summary(kept, aligned, left_out, seen=int((counts_C > 1).sum())))


def _write_lang(aligned: Sequence[Aligned], texts: Sequence[tuple[str, ...]], folder: Path) -> None:
    units = {name: triple for each in aligned for name, triple in each.units.items()}
    lexicon = sorted({spelled for each in aligned for spelled in each.words})
    _write(folder / "units.txt", " ", [(name, *map(str, units[name])) for name in sorted(units)])
    _write(folder / "lexicon.txt", " ", [(word, *names) for word, names in lexicon])
    _write(folder / "num_pdfs", " ", [(str(NUM_SENONES),)])
    (folder / "lm.arpa").write_text(bigram_arpa(texts), encoding="utf-8")


def _write(path: Path, separator: str, rows: Iterable[Sequence[str]]) -> None:
    path.write_text("".join(f"{separator.join(row)}\n" for row in rows), encoding="utf-8")


def _summary(
    kept: Sequence[Recording], aligned: dict[str, Aligned], left_out: dict[str, str], *, seen: int
) -> Iterator[str]:
    for split in ("train", "dev", "test"):
        ids = [each.id for each in kept if each.split == split]
        minutes = sum(len(aligned[id].senones_T) for id in ids) / 6000
        yield f"{split}: {len(ids)} utterances, {minutes:.1f} minutes"
    yield f"senones in the alignments of train: {seen} of {NUM_SENONES}"
    for reason, count in Counter(left_out.values()).most_common():
        yield f"left out: {count}: {reason}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, write everything, print what it is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("audio", type=Path, help="folder that essence corpus --keep-audio wrote")
    parser.add_argument("--testdata", type=Path, default=TESTDATA, help="pocketsphinx-testdata")
    options = parser.parse_args(arguments)
    recordings = list(recordings_of(options.audio))
    if options.testdata.is_dir():
        recordings += recordings_of_testdata(options.testdata)
    else:
        print(f"{options.testdata} is missing: test is synthesised speech alone")
    for line in write_all(recordings, options.out):
        print(line)


if __name__ == "__main__":
    main()
