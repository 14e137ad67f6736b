"""Makers of small Kaldi data directories: words of a toy lang, spoken as noisy centroids."""

import os
from pathlib import Path

import kaldiio
import numpy as np
from numpy.typing import NDArray

from tests.support.paths import ROOT

AN4_PLACES = (
    Path(os.environ.get("ESSENCE_AN4", "/nowhere")),
    ROOT.parent / "shared" / "data" / "an4",
)
AN4 = next((place for place in AN4_PLACES if place.is_dir()), None)
FEATURE_DIM = 5
NUM_PDFS = 6
LEXICON = {"AB": "a b", "BA": "b a", "C": "c", "SEE": "c", "ABC": "a b c"}
UNITS = {"SIL": (0,), "a": (1, 2), "b": (3,), "c": (4, 5)}
ARPA = r"""\data\
ngram 1=7
ngram 2=2

\1-grams:
-0.9 </s>
-99 <s> -0.3
-0.8 AB -0.2
-0.8 BA -0.1
-0.9 C -0.1
-1.2 SEE -0.1
-0.9 ABC 0.0

\2-grams:
-0.3 AB SEE
-0.4 BA </s>

\end\
"""


def make_lang(directory: Path) -> Path:
    """lexicon.txt, units.txt, lm.arpa."""
    directory.mkdir(parents=True, exist_ok=True)
    lexicon = "".join(f"{word} {units}\n" for word, units in LEXICON.items())
    units = "".join(f"{unit} {' '.join(map(str, pdfs))}\n" for unit, pdfs in UNITS.items())
    (directory / "lexicon.txt").write_text(lexicon)
    (directory / "units.txt").write_text(units)
    (directory / "lm.arpa").write_text(ARPA)
    return directory


def path_of(words: str, rng: np.random.Generator) -> NDArray[np.int32]:
    """A pdf for every frame of a sentence: silence, then the words, a few frames a state."""
    pdfs = [0]
    for word in words.split():
        pdfs += [pdf for unit in LEXICON[word].split() for pdf in UNITS[unit]] + [0]
    return np.repeat(pdfs, rng.integers(2, 5, size=len(pdfs))).astype(np.int32)


def make_kaldi_directory(
    directory: Path, *, sentences: int = 11, speakers: int = 3, noise: float = 0.3
) -> Path:
    """train, dev (half as many sentences), test (without alignments) and lang."""
    rng = np.random.default_rng(7)
    centroids = 3 * np.random.default_rng(5).normal(size=(NUM_PDFS, FEATURE_DIM)) + 4
    make_lang(directory / "lang")
    (directory / "num_pdfs").write_text(f"{NUM_PDFS}\n")
    for split, count in (("train", sentences), ("dev", sentences // 2), ("test", sentences // 2)):
        folder = directory / split
        folder.mkdir()
        text, utt2spk, features, labels = "", "", {}, {}
        for number in range(count):
            speaker = f"{split}-s{number % speakers}"
            id = f"{speaker}-u{number}"
            words = " ".join(rng.choice(["AB", "BA", "C", "ABC"], size=1 + number % 4))
            labels[id] = path_of(words, rng)
            noisy = centroids[labels[id]] + noise * rng.normal(size=(len(labels[id]), FEATURE_DIM))
            features[id] = noisy.astype(np.float32)
            text += f"{id} {words}\n"
            utt2spk += f"{id} {speaker}\n"
        (folder / "text").write_text(text)
        (folder / "utt2spk").write_text(utt2spk)
        write_archive(folder, "feats", features)
        if split != "test":
            write_archive(folder, "ali", labels)
    return directory


def add_unlabelled_folder(
    directory: Path, name: str, *, sentences: int = 7, speakers: int = 2, noise: float = 0.3
) -> list[str]:
    """feats.scp and utt2spk of speech that nobody transcribed, beside train; gives its ids."""
    rng = np.random.default_rng(len(name))
    centroids = 3 * np.random.default_rng(5).normal(size=(NUM_PDFS, FEATURE_DIM)) + 4
    features = {}
    for number in range(sentences):
        words = " ".join(rng.choice(["AB", "BA", "C", "ABC"], size=1 + number % 3))
        said = path_of(words, rng)
        noisy = centroids[said] + noise * rng.normal(size=(len(said), FEATURE_DIM))
        features[f"{name}-s{number % speakers}-u{number}"] = noisy.astype(np.float32)
    folder = directory / name
    folder.mkdir()
    (folder / "utt2spk").write_text("".join(f"{id} {id.rsplit('-', 1)[0]}\n" for id in features))
    write_archive(folder, "feats", features)
    return list(features)


def write_archive(folder: Path, name: str, arrays: dict[str, NDArray[np.generic]]) -> None:
    """NAME.ark and NAME.scp, whose paths are relative to the folder."""
    ark, scp = folder / f"{name}.ark", folder / f"{name}.scp"
    kaldiio.save_ark(str(ark), arrays, scp=str(scp))
    scp.write_text(scp.read_text().replace(f"{folder}/", ""))
