"""planned sentences -> spoken sentences, by a synthesiser in a separate process.

This process never loads espeak-ng.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from stages.contract.errors import MissingPart, StageError
from stages.corpus.spoken.plan import PlannedUtterance

SAMPLE_RATE = 22_050  # of espeak-ng
ROOT = Path(__file__).parents[3]
LOADER = "espeakng_loader"
COMMAND = (sys.executable, "-m", "stages.corpus.spoken.synthesiser")
# A spelled A is spoken as the letter, not as the article.
SPOKEN_AS = {"A": "[['eI]]"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Phone `name` of word number `word` starts at `sample`; pauses are named "_..."."""

    sample: int
    name: str
    word: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenUtterance:
    """Samples of a sentence, with the times of its phones and words."""

    planned: PlannedUtterance
    events: tuple[Event, ...]
    word_starts: tuple[int, ...]  # in samples; includes the closure of an initial stop
    samples_T: NDArray[np.int16]


def synthesise(planned: Iterable[PlannedUtterance]) -> Iterator[SpokenUtterance]:
    """Synthesise the sentences in order, with a new synthesiser process.

    Raises:
        MissingPart: if espeak-ng is not installed.
        StageError: if the synthesiser fails, or does not give one event for each word.
    """
    if importlib.util.find_spec(LOADER) is None:
        raise MissingPart(
            "the spoken corpus needs espeak-ng, which is not installed: "
            "run 'pip install espeakng-loader', or set corpus.source: kaldi to use another corpus"
        )
    with _synthesiser() as (requests, answers):
        for utterance in planned:
            try:
                requests.write(_request(utterance))
                requests.flush()
            except BrokenPipeError as cause:
                raise _ended_early(utterance) from cause
            yield _answer(answers, utterance)


@contextmanager
def _synthesiser() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    process = subprocess.Popen(
        COMMAND,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # no Ctrl-C for the child; it exits at the end of its stdin
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdin, process.stdout
    finally:
        process.terminate()
        with suppress(BrokenPipeError):  # buffered requests that it did not read
            process.stdin.close()
        process.stdout.close()
        process.wait()


def _request(utterance: PlannedUtterance) -> bytes:
    speaker = utterance.speaker
    request = {
        "text": " ".join(_spoken_words(utterance.words)),
        "accent": speaker.accent,
        "variant": speaker.variant,
        "pitch": speaker.pitch,
        "pitch_range": speaker.pitch_range,
        "words_per_minute": utterance.words_per_minute,
        "word_gap": utterance.word_gap,
    }
    return json.dumps(request).encode() + b"\n"


def _spoken_words(words: tuple[str, ...]) -> list[str]:
    return [SPOKEN_AS.get(word, word.lower()) for word in words]


def _answer(answers: IO[bytes], utterance: PlannedUtterance) -> SpokenUtterance:
    line = answers.readline()
    if not line:
        raise _ended_early(utterance)
    header = json.loads(line)
    if "error" in header:
        raise StageError(f"utterance {utterance.id}: {header['error']}")
    size = 2 * header["num_samples"]
    data = answers.read(size)
    if len(data) != size:
        raise _ended_early(utterance)
    events, word_starts = _by_word(header["events"], utterance)
    return SpokenUtterance(
        planned=utterance,
        events=events,
        word_starts=word_starts,
        samples_T=np.frombuffer(data, dtype="<i2"),
    )


def _ended_early(utterance: PlannedUtterance) -> StageError:
    return StageError(
        f"the synthesiser process exited before it had spoken {' '.join(utterance.words)!r}: its "
        "output is above; 'pip install --force-reinstall espeakng-loader' repairs the installation"
    )


def _by_word(
    raw: list[list[int | str]], utterance: PlannedUtterance
) -> tuple[tuple[Event, ...], tuple[int, ...]]:
    """Assign every phone to its word; there must be one word event for each word."""
    events, starts, positions = [], [], []
    for kind, sample, what in raw:
        if kind == "word":
            starts.append(int(sample))
            positions.append(int(what))
        elif starts:
            events.append(Event(sample=int(sample), name=str(what), word=len(starts) - 1))
    begin, spans = 1, []  # espeak-ng counts characters from 1
    for spoken in _spoken_words(utterance.words):
        spans.append(range(begin, begin + len(spoken)))
        begin += len(spoken) + 1
    if len(positions) != len(spans) or any(
        position not in span for position, span in zip(positions, spans, strict=True)
    ):
        raise StageError(
            f"utterance {utterance.id}: the synthesiser gave {len(positions)} word events for "
            f"{' '.join(utterance.words)!r}, wanted {len(spans)}"
        )
    return tuple(events), tuple(starts)
