"""Fingerprint of a Kaldi data directory, without reading its archives whole.

It covers all bytes of tables and of a lang's text files, and the size and 16 blocks of each archive
and of Kaldi's HCLG.fst. An edit of an archive that keeps its size and lies between these blocks is
not detected: remove the corpus directory after such an edit.
"""

import os
from pathlib import Path

from stages.acoustic.kaldi.tables import read_scp
from stages.acoustic.lang.graph import WORDS_FILE
from stages.acoustic.lang.kaldi_graph import HCLG_FILE, TRANSITIONS_FILE, refuse_missing_files
from stages.acoustic.lang.lang import FILES as LEXICON_FILES
from stages.acoustic.lang.lang import WANTED
from stages.acoustic.lang.lang_folder import holds_kaldi_graph
from stages.contract.errors import BadInput
from stages.corpus.kaldi_alignments import alignment_files
from stages.corpus.kaldi_plan import UNLABELLED_FILES, refuse_missing_tables
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
        raise BadInput(
            f"{cause.filename or path} cannot be read ({cause.strerror}): wanted a regular file"
        ) from cause


def _content(settings: KaldiSettings, path: Path) -> dict[str, object]:
    lang = path / settings.lang
    content: dict[str, object] = {
        "lang": _lang(lang),
        "num_pdfs": [
            file_digest(place / "num_pdfs")
            for place in (lang, path)
            if os.path.lexists(place / "num_pdfs")
        ],
    }
    for name in (settings.train, settings.dev, settings.test):
        content[f"split {len(content)}"] = _split(path / name)
    for number, name in enumerate(settings.unlabelled):
        content[f"unlabelled {number}"] = _unlabelled(path / name)
    return content


def _lang(directory: Path) -> list[str]:
    if holds_kaldi_graph(directory):
        refuse_missing_files(directory)
        tables = [file_digest(directory / name) for name in (WORDS_FILE, TRANSITIONS_FILE)]
        return [sampled_digest(directory / HCLG_FILE), *tables]
    return [_text(directory / name, wanted=WANTED) for name in LEXICON_FILES]


def _split(directory: Path) -> list[str]:
    digests = [_text(directory / name) for name in ("feats.scp", "text", "utt2spk")]
    archives = _archives(directory / "feats.scp")
    for path in alignment_files(directory):
        digests.append(_text(path) if path.suffix == ".scp" else sampled_digest(path))
        archives += _archives(path) if path.suffix == ".scp" else []
    return digests + [sampled_digest(path) for path in dict.fromkeys(archives)]


def _unlabelled(directory: Path) -> list[str]:
    refuse_missing_tables(directory)
    tables = [file_digest(directory / name) for name in UNLABELLED_FILES]
    return tables + [sampled_digest(path) for path in _archives(directory / "feats.scp")]


def _archives(scp: Path) -> list[Path]:
    return list(dict.fromkeys(location.path for location in read_scp(scp).values()))


def _text(path: Path, *, wanted: str = "is corpus.path a Kaldi data directory?") -> str:
    if not os.path.lexists(path):
        raise BadInput(f"{path} is missing: {wanted}")
    return file_digest(path)
