"""Fingerprint of a corpus's source, whichever it is."""

from stages.corpus.align.fingerprint import align_inputs
from stages.corpus.audio.fingerprint import audio_fingerprint
from stages.corpus.kaldi_fingerprint import kaldi_fingerprint, kaldi_speech_fingerprint
from stages.corpus.settings import CorpusSettings
from stages.corpus.spoken.fingerprint import spoken_fingerprint
from stages.corpus.tokens.fingerprint import token_inputs
from storage.files.fingerprint import fingerprint


def source_fingerprint(settings: CorpusSettings) -> str:
    """Identity of the source's content, cheap enough to compute at every start.

    Raises:
        BadInput: if a Kaldi directory or a corpus of audio lacks a file.
    """
    if settings.targets == "tokens":
        inputs = token_inputs(settings.tokens)
        return fingerprint({"speech": _speech_fingerprint(settings), "tokens": inputs})
    if settings.align is not None and settings.path is not None:
        inputs = align_inputs(settings.align)
        return fingerprint({"speech": _speech_fingerprint(settings), "align": inputs})
    if settings.source == "kaldi" and settings.path is not None:
        return kaldi_fingerprint(settings.kaldi, settings.path)
    if settings.source == "audio" and settings.path is not None:
        return audio_fingerprint(settings.audio, settings.path)
    return spoken_fingerprint(settings.spoken)


def _speech_fingerprint(settings: CorpusSettings) -> str:
    """Of the speech alone, without alignments."""
    if settings.source == "spoken" or settings.path is None:
        return spoken_fingerprint(settings.spoken)
    if settings.source == "audio":
        return audio_fingerprint(settings.audio, settings.path)
    return kaldi_speech_fingerprint(settings.kaldi, settings.path)
