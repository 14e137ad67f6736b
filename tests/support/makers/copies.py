"""Makers of recordings to be copied, by several speakers, and of a corpus with copies."""

from pathlib import Path

import numpy as np

from stages.acoustic.features.rates import num_frames_of
from stages.contract.copies import CopyGroup, write_copies
from stages.corpus.copies.original import Original
from stages.corpus.sound.recording import Recording
from stages.corpus.sound.wave import Wave
from storage.corpus.corpus_writer import CorpusWriter
from tests.support.makers.sound import speechlike
from tests.support.makers.training import FEATURE_DIM, NUM_CLASSES, make_corpus, make_corpus_about

LENGTHS = (31, 17, 44, 23, 38, 29)  # frames of the originals of a copied corpus
FAST = 0.8  # length of a fast copy, in lengths of its original


def make_recording(id: str, *, speaker: str = "anna", seed: int = 1, length: int = 16_011):
    """Noise with the ups and downs of speech; a label for every frame, in runs of odd lengths."""
    num_frames = num_frames_of(length)
    return Recording(
        id=id,
        speaker=speaker,
        transcript="ONE TWO",
        samples_T=np.rint(speechlike(seed, length)),
        labels_T=np.repeat(np.arange(num_frames, dtype=np.int32), 7)[:num_frames],
    )


def make_recordings() -> list[Recording]:
    """Seven utterances of three speakers, of unlike lengths."""
    return [
        make_recording(f"u{n}", speaker=f"s{n % 3}", seed=n, length=9_000 + 1_111 * n)
        for n in range(7)
    ]


class ToneSpeech:
    """Other speech that is one tone."""

    def draw(self, num_voices: int, *, rng: np.random.Generator) -> list[Wave]:
        """The same tone from every voice."""
        t = np.arange(5_000) / 16_000
        return [(1000 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)] * num_voices


def make_original(recording: Recording) -> Original:
    """A recording whose babble is a tone of 440 Hz."""
    return Original(recording=recording, others=ToneSpeech())


def make_copied_corpus(directory: Path, *, labelled: int = len(LENGTHS)) -> Path:
    """train.h5 of originals, copies in noise and fast copies; dev.h5; copies.json.

    The first `labelled` originals and their copies have hard labels.
    """
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(8)
    noisy, fast = {}, {}
    with CorpusWriter(directory / "train.h5", make_corpus_about("train")) as writer:
        speech = [_sentence(length, rng) for length in LENGTHS]
        for number, (features_TF, labels_T) in enumerate(speech):
            _add(writer, f"u{number}", number, features_TF, labels_T if number < labelled else None)
        for number, (features_TF, labels_T) in enumerate(speech):
            noisy[f"noisy-u{number}"] = f"u{number}"
            noisy_TF = features_TF + rng.normal(size=features_TF.shape)
            labels = labels_T if number < labelled else None
            _add(writer, f"noisy-u{number}", number, noisy_TF, labels)
        for number, (features_TF, labels_T) in enumerate(speech):
            fast[f"fast-u{number}"] = f"u{number}"
            length = round(FAST * len(labels_T))
            labels = labels_T[:length] if number < labelled else None
            _add(writer, f"fast-u{number}", number, features_TF[:length], labels)
    make_corpus(directory / "dev.h5", seed=2)
    groups = (
        CopyGroup(name="noisy", is_time_warped=False, original_of=noisy),
        CopyGroup(name="fast", is_time_warped=True, original_of=fast),
    )
    write_copies(directory, {"train": groups})
    return directory


def _sentence(length: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    centroids = np.random.default_rng(99).normal(size=(NUM_CLASSES, FEATURE_DIM)) * 3 + 5
    labels_T = np.repeat(rng.integers(NUM_CLASSES, size=length // 3 + 1), 3)[:length]
    return centroids[labels_T] + 0.3 * rng.normal(size=(length, FEATURE_DIM)), labels_T


def _add(
    writer: CorpusWriter,
    id: str,
    number: int,
    features_TF: np.ndarray,
    labels_T: np.ndarray | None,
) -> None:
    writer.add(
        id,
        speaker=f"s{number % 2}",
        transcript="a word",
        features_TF=features_TF.astype(np.float32),
        labels_T=None if labels_T is None else labels_T.astype(np.int32),
    )
