"""What an alignment reads next to the speech: the contents of its files, the program it asks."""

from stages.corpus.align.settings import ESPEAK, AlignSettings
from stages.corpus.outside_inputs import SYNTHESISER, file_digests, package_version


def align_inputs(settings: AlignSettings) -> dict[str, str]:
    """The digests of lexicon and language model, and the version of espeak-ng if it is asked.

    Raises:
        BadInput: if a file is missing or cannot be read.
    """
    files = {"lexicon": settings.lexicon_file, "arpa": settings.arpa}
    inputs = file_digests(files, branch="corpus.align")
    if settings.lexicon.startswith(ESPEAK):
        inputs[SYNTHESISER] = package_version(SYNTHESISER)
    return inputs
