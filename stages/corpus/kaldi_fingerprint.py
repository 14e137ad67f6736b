"""Fingerprint of a Kaldi data directory, without reading its archives whole.

It covers all bytes of tables and of a lang's text files, and the size and 16 blocks of each archive
and of Kaldi's HCLG.fst. An edit of an archive that keeps its size and lies between these blocks is
not detected: remove the corpus directory after such an edit.
"""

import os
from pathlib import Path

from stages.acoustic.kaldi.tables import read_scp
from stages.acoustic.lang.graph_files import (
    HCLG_FILE,
    PHONES_FILE,
    TRANSITIONS_FILE,
    WANTED_GRAPH,
    WORDS_FILE,
    holds_kaldi_graph,
)
from stages.acoustic.lang.lang import FILES as LEXICON_FILES
from stages.acoustic.lang.lang import WANTED
from stages.contract.errors import BadInput
from stages.corpus.kaldi_files import UNLABELLED_FILES, alignment_files, refuse_missing_tables
from stages.corpus.kaldi_settings import KaldiSettings
from storage.files.fingerprint import file_digest, fingerprint, sampled_digest


def kaldi_fingerprint(settings: KaldiSettings, path: Path) -> str:
    """The fingerprint of everything that `KaldiSource` reads.

    Raises:
        BadInput: if a file is missing or cannot be read, or an scp is invalid.
    """
    try:
        return fingerprint(_content(settings, path))
    except OSError as cause:
        raise _unreadable(cause, path) from cause


def kaldi_speech_fingerprint(settings: KaldiSettings, path: Path) -> str:
    """The fingerprint of everything that `KaldiSpeech` reads: neither lang nor alignments.

    Raises:
        BadInput: as `kaldi_fingerprint`.
    """
    try:
        splits = [_split(path / name, None) for name in settings.folders.values()]
        return fingerprint([*splits, *(_unlabelled(path / name) for name in settings.unlabelled)])
    except OSError as cause:
        raise _unreadable(cause, path) from cause


def _unreadable(cause: OSError, path: Path) -> BadInput:
    return BadInput(
        f"{cause.filename or path} cannot be read ({cause.strerror}): wanted a regular file"
    )


def _content(settings: KaldiSettings, path: Path) -> dict[str, object]:
    lang = path / settings.lang
    content: dict[str, object] = {
        "lang": lang_content(lang, model=settings.model is not None),
        "num_pdfs": num_pdfs_content(lang, path),
    }
    for split, name in settings.folders.items():
        folder = getattr(settings.alignments, split)
        alignments = path / folder if folder else path / name
        content[f"split {len(content)}"] = _split(path / name, alignments)
    for number, name in enumerate(settings.unlabelled):
        content[f"unlabelled {number}"] = _unlabelled(path / name)
    if settings.model:
        content["model"] = sampled_digest(path / settings.model)
    return content


def num_pdfs_content(*places: Path) -> list[str]:
    """Digests of the files num_pdfs in these folders."""
    return [file_digest(p / "num_pdfs") for p in places if os.path.lexists(p / "num_pdfs")]


def lang_content(directory: Path, *, model: bool) -> list[str]:
    """Digests of a lang folder's files; `model`: a final.mdl stands for transitions.txt."""
    if holds_kaldi_graph(directory):
        names = [WORDS_FILE]
        if not model:
            names.append(TRANSITIONS_FILE)
        elif (directory / PHONES_FILE).is_file():
            names.append(PHONES_FILE)
        for name in (HCLG_FILE, *names):
            _refuse_missing(directory / name, wanted=WANTED_GRAPH)
        tables = [file_digest(directory / name) for name in names]
        return [sampled_digest(directory / HCLG_FILE), *tables]
    return [_text(directory / name, wanted=WANTED) for name in LEXICON_FILES]


def _split(directory: Path, alignments: Path | None) -> list[str]:
    digests = [_text(directory / name) for name in ("feats.scp", "text", "utt2spk")]
    archives = archives_of(directory / "feats.scp")
    for path in alignment_files(alignments) if alignments else ():
        digests.append(_text(path) if path.suffix == ".scp" else sampled_digest(path))
        archives += archives_of(path) if path.suffix == ".scp" else []
    return digests + [sampled_digest(path) for path in dict.fromkeys(archives)]


def _unlabelled(directory: Path) -> list[str]:
    refuse_missing_tables(directory)
    tables = [file_digest(directory / name) for name in UNLABELLED_FILES]
    return tables + [sampled_digest(path) for path in archives_of(directory / "feats.scp")]


def archives_of(scp: Path) -> list[Path]:
    """The archives that an scp names, each once."""
    return list(dict.fromkeys(location.path for location in read_scp(scp).values()))


def _text(path: Path, *, wanted: str = "is corpus.path a Kaldi data directory?") -> str:
    _refuse_missing(path, wanted=wanted)
    return file_digest(path)


def _refuse_missing(path: Path, *, wanted: str) -> None:
    if not os.path.lexists(path):
        raise BadInput(f"{path} is missing: {wanted}")
