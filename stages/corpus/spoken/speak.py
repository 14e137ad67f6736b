"""settings -> spoken corpus: synthesised speech, distorted or clean, with a class for every frame.

The training sentences are synthesised twice: first for their phones, which determine lexicon and
classes, then for the samples. One sentence is in memory at a time.

Shapes: T samples or frames.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from stages.acoustic.features.rates import SAMPLE_RATE
from stages.acoustic.lang.lang import SILENCE, Lang, Pronunciation
from stages.contract.progress import Progress
from stages.corpus.sound.noise import to_16_bits
from stages.corpus.sound.recording import Recording
from stages.corpus.sound.wave import Wave, resample
from stages.corpus.spoken.bigram import bigram_arpa
from stages.corpus.spoken.distortion import Room, at_speech_level
from stages.corpus.spoken.framing import AlignedUtterance, align_utterance
from stages.corpus.spoken.lexicon import Phones, keep_pronunciations, pronunciations_of
from stages.corpus.spoken.phones import PHONES
from stages.corpus.spoken.plan import PlannedUtterance, plan_text, plan_utterances
from stages.corpus.spoken.settings import SpokenSettings
from stages.corpus.spoken.synthesis import SAMPLE_RATE as SYNTHESIS_RATE
from stages.corpus.spoken.synthesis import SpokenUtterance, synthesise
from stages.corpus.spoken.units import State, UnitClasses, units_of
from stages.corpus.spoken.voices import SPLITS

TRAIN = "train"
NUM_VOICES_OF_UNSPOKEN = 2  # training voices that speak the words of no training sentence


@dataclass(frozen=True, slots=True)
class SpokenCorpus:
    """A lang, and the recordings of each split, which every iteration synthesises again."""

    lang: Lang
    splits: dict[str, "SpokenSplit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenSplit:
    """The recordings of one split, synthesised one at a time during iteration."""

    split: str
    settings: SpokenSettings
    classes: UnitClasses
    progress: Progress

    def __iter__(self) -> Iterator[Recording]:
        for spoken, recording in _record(self.split, self.settings, progress=self.progress):
            aligned = align_utterance(spoken, self.settings)
            classes_S = [self.classes.of(unit)[state] for unit, state in aligned.states]
            labels_T = np.array(classes_S, dtype=np.int32)[aligned.state_of_frame_T]
            yield replace(recording, labels_T=labels_T)


def record_split(
    split: str, settings: SpokenSettings, *, progress: Progress
) -> Iterator[Recording]:
    """The recordings of a split without labels, which would need a pass over train before."""
    for _, recording in _record(split, settings, progress=progress):
        yield recording


def _record(
    split: str, settings: SpokenSettings, *, progress: Progress
) -> Iterator[tuple[SpokenUtterance, Recording]]:
    room = None if settings.distortion is None else Room(settings.distortion)
    for spoken in speak_split(split, settings, title="Speak", progress=progress):
        recording = Recording(
            id=spoken.planned.id,
            speaker=spoken.planned.speaker.id,
            transcript=" ".join(spoken.planned.words),
            samples_T=_recorded(spoken, room),
            labels_T=None,
        )
        yield spoken, recording


def speak_corpus(settings: SpokenSettings, *, progress: Progress) -> SpokenCorpus:
    """Make the lang in a first pass over the training sentences; the splits are lazy.

    Raises:
        MissingPart: if espeak-ng is not installed.
        BadInput: if speech is too fast for the number of states.
    """
    text = plan_text(settings)
    pronounced: dict[str, Counter[Phones]] = defaultdict(Counter)
    counts: Counter[State] = Counter()
    for spoken in speak_split(TRAIN, settings, title="Find the phones of", progress=progress):
        aligned = align_utterance(spoken, settings)
        _count_pronunciations(aligned, pronounced)
        frames_S = np.bincount(aligned.state_of_frame_T)
        for state, num_frames in zip(aligned.states, frames_S, strict=True):
            counts[state] += int(num_frames)
    unspoken = sorted({word for words in text for word in words} - set(pronounced))
    for spoken in synthesise(_plan_words_alone(unspoken, settings)):
        _count_pronunciations(align_utterance(spoken, settings), pronounced)
    classes = UnitClasses(
        counts,
        phones=PHONES,
        states_per_unit=settings.states_per_unit,
        min_count=settings.min_count,
    )
    splits = {
        split: SpokenSplit(split=split, settings=settings, classes=classes, progress=progress)
        for split in SPLITS
    }
    return SpokenCorpus(_make_lang(pronounced, classes, text=text, settings=settings), splits)


def speak_split(
    split: str, settings: SpokenSettings, *, title: str, progress: Progress
) -> Iterator[SpokenUtterance]:
    """Clean sentences of a split, up to the duration in the settings."""
    wanted = _seconds_of(split, settings)
    seconds_spoken = 0.0
    with progress.task(f"{title} {split}", total=wanted, unit="seconds") as task:
        for spoken in synthesise(plan_utterances(split, settings)):
            yield spoken
            planned = spoken.planned
            seconds = planned.lead_seconds + planned.trail_seconds
            seconds += len(spoken.samples_T) / SYNTHESIS_RATE
            task.advance(min(seconds, wanted - seconds_spoken))
            seconds_spoken += seconds
            if seconds_spoken >= wanted:
                return


def _recorded(spoken: SpokenUtterance, room: Room | None) -> Wave:
    """The samples of a sentence, distorted if there is a room."""
    if room is None:
        return to_16_bits(at_speech_level(clean_wave(spoken)))
    rng = np.random.default_rng(spoken.planned.distortion_seed)
    return room.record(clean_wave(spoken), rng=rng)


def clean_wave(spoken: SpokenUtterance) -> Wave:
    """The sentence with its pauses, at 16 kHz, on the scale of 16-bit integers."""
    lead, trail = (
        np.zeros(round(seconds * SYNTHESIS_RATE), dtype=np.float32)
        for seconds in (spoken.planned.lead_seconds, spoken.planned.trail_seconds)
    )
    wave_T = np.concatenate([lead, spoken.samples_T.astype(np.float32), trail])
    divisor = int(np.gcd(SAMPLE_RATE, SYNTHESIS_RATE))
    return resample(wave_T, up=SAMPLE_RATE // divisor, down=SYNTHESIS_RATE // divisor)


def _seconds_of(split: str, settings: SpokenSettings) -> float:
    minutes = {
        TRAIN: settings.hours * 60,
        "dev": settings.dev_minutes,
        "test": settings.test_minutes,
    }
    return 60 * minutes[split]


def _count_pronunciations(
    aligned: AlignedUtterance, pronounced: dict[str, Counter[Phones]]
) -> None:
    words = aligned.words
    phones = pronunciations_of(aligned.segments, num_words=len(words))
    for word, pronunciation in zip(words, phones, strict=True):
        pronounced[word][pronunciation] += 1


def _plan_words_alone(words: list[str], settings: SpokenSettings) -> Iterator[PlannedUtterance]:
    """Plans for words that no training sentence contains, each spoken alone by the first voices."""
    plans = plan_utterances(TRAIN, settings)
    for plan in [next(plans) for _ in range(NUM_VOICES_OF_UNSPOKEN)]:
        for word in words:
            yield replace(plan, words=(word,))


def _make_lang(
    pronounced: dict[str, Counter[Phones]],
    classes: UnitClasses,
    *,
    text: list[tuple[str, ...]],
    settings: SpokenSettings,
) -> Lang:
    lexicon = tuple(
        Pronunciation(word, units_of(phones))
        for word in sorted(pronounced)
        for phones in keep_pronunciations(pronounced[word], settings)
    )
    names = sorted({unit for entry in lexicon for unit in entry.units})
    return Lang(
        lexicon=lexicon,
        units={unit: classes.of(unit) for unit in (SILENCE, *names)},
        arpa=bigram_arpa(text),
        num_classes=classes.num_classes,
    )
