"""settings -> the source of a corpus: speech, with the hard labels that are asked for."""

from pathlib import Path

from stages.contract.progress import Progress
from stages.corpus.align.source import AlignedSource
from stages.corpus.kaldi_source import KaldiSource
from stages.corpus.kaldi_speech import KaldiSpeech
from stages.corpus.settings import CorpusSettings
from stages.corpus.source import KeptSpeech, Source
from stages.corpus.spoken_source import SpokenSource
from stages.corpus.tokens.source import TokenSource


def open_source(
    settings: CorpusSettings, *, scratch: Path, passes: Path, progress: Progress
) -> Source:
    """The source. `scratch` is an empty folder, `passes` keeps those of an alignment.

    Raises:
        BadInput: if the source is damaged or inconsistent.
        MissingPart: if a program is wanted and not installed.
    """
    if settings.targets == "tokens":
        return _open_tokens(settings, scratch=scratch, progress=progress)
    if settings.source == "kaldi" and settings.path is not None and settings.align is not None:
        speech = KaldiSpeech(settings.kaldi, settings.path, scratch=scratch, progress=progress)
        return AlignedSource(speech, settings.align, passes=passes, progress=progress)
    if settings.source == "kaldi" and settings.path is not None:
        return KaldiSource(settings.kaldi, settings.path, progress=progress)
    if settings.source == "audio" and settings.path is not None:
        return _open_audio(
            settings, settings.path, scratch=scratch, passes=passes, progress=progress
        )
    return SpokenSource(settings.spoken, copies=settings.copies, scratch=scratch, progress=progress)


def _open_tokens(settings: CorpusSettings, *, scratch: Path, progress: Progress) -> Source:
    """Any speech, of which the transcripts become tokens; alignments are not read."""
    speech: KeptSpeech
    given = None
    if settings.source == "spoken" or settings.path is None:
        speech = spoken = SpokenSource(
            settings.spoken, copies=settings.copies, scratch=scratch, progress=progress
        )
        given = spoken.lang
    elif settings.source == "kaldi":
        speech = KaldiSpeech(settings.kaldi, settings.path, scratch=scratch, progress=progress)
    else:
        from stages.corpus.audio.source import AudioSpeech  # here: it needs the extra 'audio'

        speech = AudioSpeech(settings.audio, settings.path, scratch=scratch, progress=progress)
    return TokenSource(speech, settings.tokens, given=given)


def _open_audio(
    settings: CorpusSettings, path: Path, *, scratch: Path, passes: Path, progress: Progress
) -> Source:
    # Here: they need the extra 'audio', which other sources do without.
    from stages.corpus.audio.given_alignments import GivenAlignments
    from stages.corpus.audio.source import AudioSpeech
    from stages.corpus.copies.copied_source import CopiedSource

    speech = AudioSpeech(settings.audio, path, scratch=scratch, progress=progress)
    source: Source
    if settings.align is None:
        source = GivenAlignments(speech, settings.audio)
    else:
        source = AlignedSource(speech, settings.align, passes=passes, progress=progress)
    if not settings.copies:
        return source
    return CopiedSource(
        source,
        settings.copies,
        num_mel_bins=settings.audio.num_mel_bins,
        scratch=scratch,
        progress=progress,
    )
