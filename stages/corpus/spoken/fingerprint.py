"""Fingerprint of the built-in speech, from its settings: nothing is synthesised."""

from importlib.metadata import PackageNotFoundError, version

from stages.corpus.spoken.settings import SpokenSettings
from storage.files.fingerprint import fingerprint

SYNTHESISER = "espeakng-loader"


def spoken_fingerprint(settings: SpokenSettings) -> str:
    """Fingerprint of the speech: its settings and the version of the synthesiser's package."""
    try:
        synthesiser = version(SYNTHESISER)
    except PackageNotFoundError:
        synthesiser = "absent"
    return fingerprint({"spoken": settings.identity(), SYNTHESISER: synthesiser})
