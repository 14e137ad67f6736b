"""What a corpus of tokens reads next to the speech: the contents of its files, programs it asks."""

from stages.corpus.align.settings import ESPEAK
from stages.corpus.outside_inputs import SYNTHESISER, file_digests, package_version
from stages.corpus.tokens.settings import TokenSettings

PIECES = "sentencepiece"


def token_inputs(settings: TokenSettings) -> dict[str, str]:
    """The digests of lexicon, model and language model, and versions of programs that are asked.

    Raises:
        BadInput: if a file is missing or cannot be read.
    """
    files = {
        "lexicon": settings.lexicon_file,
        "piece_model": settings.piece_model,
        "arpa": settings.arpa,
    }
    inputs = file_digests(files, branch="corpus.tokens")
    if settings.inventory == "pieces" and settings.piece_model is None:
        inputs[PIECES] = package_version(PIECES)
    if settings.lexicon is not None and settings.lexicon.startswith(ESPEAK):
        inputs[SYNTHESISER] = package_version(SYNTHESISER)
    return inputs
