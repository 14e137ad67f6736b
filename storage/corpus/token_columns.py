"""Token columns: the token sequences of a corpus file's utterances, one after the other.

    /tokens                  int32 (all tokens,)   token ids, 1 to num_classes - 1
    /utterances/num_tokens   int64 (utterances,)   tokens of each utterance, 0: no transcript
    attribute tokens         SHA-256 of both

Only files of token sequences have them. Class 0 is the blank of CTC, which no sequence contains.

Shapes: L tokens of an utterance, U utterances.
"""

import hashlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from storage.corpus.hdf5_layout import TOKENS, TOKENS_OF, has_tokens, text_attribute
from storage.errors import CorpusFileError

BLANK = 0
BLOCK_TOKENS = 1 << 20
REMEDY = "remove the corpus directory and run 'essence corpus' again"


def tokens_hash(counts_U: NDArray[np.int64]) -> "hashlib._Hash":
    """The hash of all tokens, to which these are to be added in order."""
    return hashlib.sha256(np.ascontiguousarray(counts_U, dtype="<i8").tobytes())


def why_invalid(tokens_L: NDArray[np.integer[Any]], *, num_classes: int) -> str | None:
    """Why a sequence cannot be written, or is not what was written."""
    if tokens_L.ndim != 1 or not len(tokens_L):
        return f"tokens of shape {tokens_L.shape}, wanted (tokens,) with one at least"
    wrong_L = (tokens_L <= BLANK) | (tokens_L >= num_classes)
    if wrong_L.any():
        return f"token {tokens_L[wrong_L][0]}, wanted 1 to {num_classes - 1}"
    return None


class TokenColumns:
    """The token sequences of an open corpus file; they are compared with their digest once."""

    def __init__(self, file: h5py.File, path: Path, *, num_classes: int) -> None:
        self._path = path
        self._num_classes = num_classes
        self._tokens: h5py.Dataset = file[TOKENS]
        self.counts_U: NDArray[np.int64] = file[TOKENS_OF][:].astype(np.int64)
        self._digest = text_attribute(file, TOKENS)
        self._is_checked = False
        self._ends_U = np.cumsum(self.counts_U)
        total = int(self._ends_U[-1]) if len(self._ends_U) else 0
        if (self.counts_U < 0).any() or total != len(self._tokens):
            raise ValueError(f"{total} tokens are listed, {len(self._tokens)} are there")

    @classmethod
    def of(cls, file: h5py.File, path: Path, *, num_classes: int) -> "TokenColumns | None":
        """The columns of a file; None if it has none."""
        return cls(file, path, num_classes=num_classes) if has_tokens(file) else None

    @property
    def digest(self) -> str:
        """The digest that the file states, which its fingerprint covers."""
        return self._digest

    def sequence(self, index: int) -> NDArray[np.int32] | None:
        """The tokens (L,) of the utterance at `index`; None if it has no transcript.

        Raises:
            CorpusFileError: when the tokens are not those that were written.
        """
        self.check()
        end = int(self._ends_U[index])
        tokens_L = self._read(end - int(self.counts_U[index]), end)
        return tokens_L if len(tokens_L) else None

    def check(self) -> None:
        """Compare all tokens with their digest, unless that was done.

        Raises:
            CorpusFileError: when they differ.
        """
        if self._is_checked:
            return
        digest = tokens_hash(self.counts_U)
        for start in range(0, len(self._tokens), BLOCK_TOKENS):
            tokens_L = self._read(start, min(len(self._tokens), start + BLOCK_TOKENS))
            digest.update(np.ascontiguousarray(tokens_L, dtype="<i4").tobytes())
            if why := why_invalid(tokens_L, num_classes=self._num_classes):
                raise CorpusFileError(f"{self._path}: {why}: {REMEDY}")
        if digest.hexdigest() != self._digest:
            raise CorpusFileError(f"{self._path}: the digest of all tokens has changed: {REMEDY}")
        self._is_checked = True

    def _read(self, start: int, end: int) -> NDArray[np.int32]:
        try:
            return np.asarray(self._tokens[start:end], dtype=np.int32)
        except OSError as cause:
            raise CorpusFileError(
                f"{self._path}: tokens cannot be read ({cause}): {REMEDY}"
            ) from cause
