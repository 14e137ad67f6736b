"""Fingerprint of a corpus of audio, cheap enough for every start.

It covers all bytes of the tables, the size of every audio file, and blocks spread evenly over all
of them: all bytes of up to 16 MiB, and the same amount of any larger corpus. An edit that keeps a
file's size and misses the blocks is not seen: remove the corpus directory after such an edit.
Where the files lie does not count, but for the names in the tables. If audio that cannot be read is
skipped, files that cannot be opened count as such: one that can be opened later makes another
corpus.
"""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, compress
from pathlib import Path

from stages.contract.errors import BadInput
from stages.corpus.audio.formats import find_format
from stages.corpus.audio.settings import AudioSettings
from stages.corpus.kaldi_files import alignment_files
from stages.corpus.kaldi_fingerprint import archives_of, lang_content, num_pdfs_content
from storage.files.fingerprint import file_digest, fingerprint, sampled_digest
from storage.files.regular_file import open_regular

NUM_BLOCKS = 4096
BLOCK_BYTES = 4096


def audio_fingerprint(settings: AudioSettings, path: Path) -> str:
    """The fingerprint of everything that the corpus is made from.

    Raises:
        BadInput: if a file is missing or a table cannot be read.
    """
    kind = find_format(path, settings)
    try:
        content: dict[str, object] = {
            "tables": [file_digest(file) for file in kind.tables(path, settings)],
            "audio": _audio(kind.audio(path, settings), settings),
        }
        if settings.alignments and settings.lang is not None:
            content["alignments"] = [_alignments(folder) for folder in settings.alignments]
            content["lang"] = lang_content(settings.lang, model=settings.model is not None)
            content["num_pdfs"] = num_pdfs_content(settings.lang, settings.lang.parent)
        if settings.model is not None:
            content["model"] = sampled_digest(settings.model)
        return fingerprint(content)
    except OSError as cause:
        raise BadInput(
            f"{cause.filename or path} cannot be read ({cause.strerror}): wanted a regular file"
        ) from cause


def _audio(files: Sequence[Path], settings: AudioSettings) -> object:
    if settings.unreadable == "fail":
        return sampled_over(files)
    can_open = [_can_open(file) for file in files]
    return [can_open, sampled_over(list(compress(files, can_open)))]


def _can_open(file: Path) -> bool:
    try:
        open_regular(file).close()
    except OSError:
        return False
    return True


def sampled_over(files: Sequence[Path]) -> str:
    """SHA-256 of the sizes of files and of NUM_BLOCKS blocks spread evenly over their bytes."""
    sizes = [file.stat().st_size for file in files]
    digest = hashlib.sha256(repr(sizes).encode())
    total = sum(sizes)
    num_blocks = min(NUM_BLOCKS, -(-total // BLOCK_BYTES))
    starts = [total * number // num_blocks for number in range(num_blocks)]
    for file, size, end in zip(files, sizes, accumulate(sizes), strict=True):
        begin = end - size
        # A block may begin in one file and end in the next.
        low, high = bisect_right(starts, begin - BLOCK_BYTES), bisect_left(starts, end)
        if low < high and size:
            with open_regular(file) as stream:
                for start in starts[low:high]:
                    first, last = max(start, begin), min(start + BLOCK_BYTES, end)
                    stream.seek(first - begin)
                    digest.update(stream.read(last - first))
    return digest.hexdigest()


def _alignments(folder: Path) -> list[str]:
    digests = []
    for file in alignment_files(folder):
        is_scp = file.suffix == ".scp"
        digests.append(file_digest(file) if is_scp else sampled_digest(file))
        digests += [sampled_digest(archive) for archive in archives_of(file)] if is_scp else []
    return digests
