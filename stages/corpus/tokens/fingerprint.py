"""What a corpus of tokens reads next to the speech: the contents of its files, programs it asks."""

import os
from importlib.metadata import PackageNotFoundError, version

from stages.contract.errors import BadInput
from stages.corpus.align.fingerprint import SYNTHESISER
from stages.corpus.align.settings import ESPEAK
from stages.corpus.tokens.settings import TokenSettings
from storage.files.fingerprint import file_digest

PIECES = "sentencepiece"


def token_inputs(settings: TokenSettings) -> dict[str, str]:
    """The digests of lexicon, model and language model, and versions of programs that are asked.

    Raises:
        BadInput: if a file is missing or cannot be read.
    """
    inputs = {}
    files = {
        "lexicon": settings.lexicon_file,
        "piece_model": settings.piece_model,
        "arpa": settings.arpa,
    }
    for name, path in files.items():
        if path is None:
            continue
        if not os.path.lexists(path):
            raise BadInput(f"corpus.tokens.{name}: {path} is missing: wanted a file")
        try:
            inputs[name] = file_digest(path)
        except OSError as cause:
            raise BadInput(f"corpus.tokens.{name}: {path} cannot be read: {cause}") from cause
    if settings.inventory == "pieces" and settings.piece_model is None:
        inputs[PIECES] = _version(PIECES)
    if settings.lexicon is not None and settings.lexicon.startswith(ESPEAK):
        inputs[SYNTHESISER] = _version(SYNTHESISER)
    return inputs


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
