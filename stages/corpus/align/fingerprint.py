"""What an alignment reads next to the speech: the contents of its files, the program it asks."""

import os
from importlib.metadata import PackageNotFoundError, version

from stages.contract.errors import BadInput
from stages.corpus.align.settings import ESPEAK, AlignSettings
from storage.files.fingerprint import file_digest

SYNTHESISER = "espeakng-loader"


def align_inputs(settings: AlignSettings) -> dict[str, str]:
    """The digests of lexicon and language model, and the version of espeak-ng if it is asked.

    Raises:
        BadInput: if a file is missing or cannot be read.
    """
    inputs = {}
    for name, path in (("lexicon", settings.lexicon_file), ("arpa", settings.arpa)):
        if path is None:
            continue
        if not os.path.lexists(path):
            raise BadInput(f"corpus.align.{name}: {path} is missing: wanted a file")
        try:
            inputs[name] = file_digest(path)
        except OSError as cause:
            raise BadInput(f"corpus.align.{name}: {path} cannot be read: {cause}") from cause
    if settings.lexicon.startswith(ESPEAK):
        try:
            inputs[SYNTHESISER] = version(SYNTHESISER)
        except PackageNotFoundError:
            inputs[SYNTHESISER] = "absent"
    return inputs
