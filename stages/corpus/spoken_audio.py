"""settings -> recordings of dev and test: WAV files and a table for each, to transcribe them.

    test.tsv           id, path, speaker, text: a line for each utterance, in the corpus's order
    test/ID.wav        16 kHz, 16 bits: the samples that the features were computed from

The synthesiser speaks them again: the same settings give the same samples.
"""

import wave
from pathlib import Path

from stages.acoustic.features.rates import SAMPLE_RATE
from stages.contract.errors import BadInput
from stages.contract.progress import Progress
from stages.corpus.settings import CorpusSettings
from stages.corpus.sound.wave import Wave
from stages.corpus.spoken.speak import record_split
from storage.files.publish import publish_file

SPLITS = ("dev", "test")
SAMPLE_BYTES = 2


def write_audio(settings: CorpusSettings, *, directory: Path, progress: Progress) -> None:
    """Fill `directory` with the recordings of dev and test.

    Raises:
        BadInput: if the corpus is not spoken by the program, or copies stand for a split.
        MissingPart, StageError: as when the corpus is spoken.
    """
    refuse_other_audio(settings)
    for split in SPLITS:
        folder = directory / split
        folder.mkdir(exist_ok=True)
        lines = ["id\tpath\tspeaker\ttext\n"]
        for spoken in record_split(split, settings.spoken, progress=progress):
            name = f"{split}/{spoken.id}.wav"
            _write_wave(directory / name, spoken.samples_T)
            lines.append(f"{spoken.id}\t{name}\t{spoken.speaker}\t{spoken.transcript}\n")
        publish_file(directory / f"{split}.tsv", "".join(lines).encode())


def refuse_other_audio(settings: CorpusSettings) -> None:
    """Make sure that the recordings can be written.

    Raises:
        BadInput: stating why not.
    """
    if settings.source == "kaldi":
        raise BadInput(
            "--keep-audio: a Kaldi directory (corpus.source: kaldi) has features, no recordings: "
            "its recordings are where its wav.scp names them"
        )
    if settings.source == "audio":
        raise BadInput(
            "--keep-audio: the recordings of this corpus (corpus.source: audio) are files already: "
            f"those that {settings.path} names"
        )
    for copy in settings.copies:
        for split in SPLITS:
            if split in copy.splits:
                raise BadInput(
                    f"--keep-audio: the copy {copy.name} stands for the originals of {split}, and "
                    "is not kept: leave it out of corpus.copies, or keep the audio of another "
                    "corpus"
                )


def _write_wave(path: Path, samples_T: Wave) -> None:
    with path.open("wb") as file, wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(SAMPLE_BYTES)
        written.setframerate(SAMPLE_RATE)
        written.writeframes(samples_T.astype("<i2").tobytes())
