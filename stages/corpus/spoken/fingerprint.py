"""Fingerprint of the built-in speech, from its settings: nothing is synthesised."""

from stages.corpus.outside_inputs import SYNTHESISER, package_version
from stages.corpus.spoken.settings import SpokenSettings
from storage.files.fingerprint import fingerprint


def spoken_fingerprint(settings: SpokenSettings) -> str:
    """Fingerprint of the speech: its settings and the version of the synthesiser's package."""
    synthesiser = package_version(SYNTHESISER)
    return fingerprint({"spoken": settings.identity(), SYNTHESISER: synthesiser})
