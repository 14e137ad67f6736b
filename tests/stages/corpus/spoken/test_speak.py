"""The spoken corpus as a whole, at a tiny size, with the real synthesiser."""

import hashlib
from collections.abc import Iterator

import numpy as np
import pytest

from stages.acoustic.features.rates import SAMPLE_RATE, num_frames_of
from stages.acoustic.lang.lang import SILENCE, read_lang, write_lang
from stages.contract.errors import BadInput, MissingPart
from stages.contract.progress import SilentProgress
from stages.corpus.sound.recording import Recording
from stages.corpus.sound.wave import root_mean_square
from stages.corpus.spoken import synthesis
from stages.corpus.spoken.distortion import SPEECH_LEVEL
from stages.corpus.spoken.speak import SpokenCorpus, speak_corpus
from tests.support.makers.spoken import tiny_spoken

pytest.importorskip("espeakng_loader")


@pytest.fixture(scope="module")
def corpus() -> SpokenCorpus:
    return speak_corpus(tiny_spoken(), progress=SilentProgress())


@pytest.fixture(scope="module")
def recordings(corpus: SpokenCorpus) -> dict[str, list[Recording]]:
    return {split: list(raw) for split, raw in corpus.splits.items()}


def every(recordings: dict[str, list[Recording]]) -> Iterator[Recording]:
    for raw in recordings.values():
        yield from raw


def digest(recordings: dict[str, list[Recording]]) -> str:
    digest = hashlib.sha256()
    for raw in every(recordings):
        digest.update(f"{raw.id} {raw.speaker} {raw.transcript}".encode())
        digest.update(raw.samples_T.tobytes() + raw.labels_T.tobytes())
    return digest.hexdigest()


def test_corpus_is_the_same_for_the_same_settings(corpus, recordings):
    again = speak_corpus(tiny_spoken(), progress=SilentProgress())
    assert again.lang == corpus.lang
    assert digest({split: list(raw) for split, raw in again.splits.items()}) == digest(recordings)


def test_corpus_has_other_sentences_for_another_seed(recordings):
    corpus = speak_corpus(tiny_spoken(seed=2), progress=SilentProgress())
    dev = list(corpus.splits["dev"])
    assert [raw.transcript for raw in dev] != [raw.transcript for raw in recordings["dev"]]


def test_splits_are_as_long_as_the_settings_want(recordings):
    for split, minutes in (("train", 1.5), ("dev", 0.3), ("test", 0.35)):
        frames = sum(len(raw.labels_T) for raw in recordings[split])
        assert minutes * 6000 - 2 <= frames <= minutes * 6000 + 1000


def test_speakers_take_turns_and_stay_in_their_split(recordings):
    speakers = {split: {raw.speaker for raw in raws} for split, raws in recordings.items()}
    assert len(speakers["train"]) >= 40
    assert len(speakers["dev"]) == 3
    assert len(speakers["test"]) == 4
    assert len(set.union(*speakers.values())) == sum(map(len, speakers.values()))


def test_ids_are_unique_and_begin_with_the_speaker(recordings):
    ids = [raw.id for raw in every(recordings)]
    assert len(set(ids)) == len(ids)
    assert all(raw.id.startswith(raw.speaker) for raw in every(recordings))


def test_lexicon_has_every_word(corpus, recordings):
    spoken = {word for raw in every(recordings) for word in raw.transcript.split()}
    assert spoken <= set(corpus.lang.words)
    assert 200 <= len(corpus.lang.words) <= 260
    assert all(2 <= len(raw.transcript.split()) <= 10 for raw in every(recordings))


def test_lexicon_has_few_pronunciations_of_a_word(corpus):
    words = [entry.word for entry in corpus.lang.lexicon]
    assert max(words.count(word) for word in corpus.lang.words) <= 5


def test_recording_has_a_label_for_every_frame(corpus, recordings):
    for recording in every(recordings):
        assert recording.labels_T.dtype == np.int32
        assert len(recording.labels_T) == num_frames_of(len(recording.samples_T))
        assert recording.labels_T.min() >= 0
        assert recording.labels_T.max() < corpus.lang.num_classes


def test_recording_is_within_sixteen_bits(recordings):
    for recording in every(recordings):
        assert recording.samples_T.dtype == np.float32
        assert np.array_equal(recording.samples_T, recording.samples_T.astype(np.int16))


def test_recording_is_clean_without_a_distortion(recordings):
    clean = speak_corpus(tiny_spoken(distortion=None), progress=SilentProgress())
    for noisy, found in zip(recordings["dev"], clean.splits["dev"], strict=True):
        assert (found.id, found.transcript) == (noisy.id, noisy.transcript)
        assert np.array_equal(found.labels_T, noisy.labels_T)
        assert np.array_equal(found.samples_T, found.samples_T.astype(np.int16))
        assert root_mean_square(found.samples_T) == pytest.approx(SPEECH_LEVEL, rel=0.01)
        lead_T = found.samples_T[: SAMPLE_RATE // 20]  # pauses are at least 0.1 s
        assert (
            root_mean_square(lead_T)
            < 0.01 * SPEECH_LEVEL
            < root_mean_square(noisy.samples_T[: SAMPLE_RATE // 20])
        )


def test_labels_last_two_frames_at_least_and_survive_subsampling_by_two(recordings):
    for raw in every(recordings):
        changes = np.flatnonzero(np.diff(raw.labels_T)) + 1
        runs = np.diff([0, *changes, len(raw.labels_T)])
        assert runs.min() >= 2


def test_utterances_begin_and_end_in_silence(corpus, recordings):
    silence = corpus.lang.units[SILENCE]
    for raw in every(recordings):
        assert raw.labels_T[0] == silence[0]
        assert raw.labels_T[-1] == silence[-1]


def test_lang_on_disk_is_the_lang_in_memory(corpus, tmp_path):
    write_lang(corpus.lang, tmp_path / "lang")
    assert read_lang(tmp_path / "lang") == corpus.lang


def test_labels_spell_the_transcript(corpus, recordings):
    """The labels of most training words are the classes of one of their pronunciations."""
    units, silence = corpus.lang.units, set(corpus.lang.units[SILENCE])
    ways = {word: [] for word in corpus.lang.words}
    for entry in corpus.lang.lexicon:
        ways[entry.word].append([pdf for unit in entry.units for pdf in units[unit]])
    read = 0
    for raw in recordings["train"]:
        changed = np.concatenate([[True], np.diff(raw.labels_T) != 0])
        said = [pdf for pdf in raw.labels_T[changed] if pdf not in silence]
        ends = {0}
        for word in raw.transcript.split():
            ends = {
                e + len(way) for e in ends for way in ways[word] if said[e : e + len(way)] == way
            }
        read += len(said) in ends
    assert read >= 0.7 * len(recordings["train"])


def test_corpus_of_default_settings_has_500_classes_or_more():
    settings = tiny_spoken(hours=1.0, train_voices=48)
    corpus = speak_corpus(settings, progress=SilentProgress())
    assert corpus.lang.num_classes >= 500


def test_missing_espeak_is_an_error_that_names_what_to_install(monkeypatch):
    monkeypatch.setattr(synthesis, "LOADER", "no_such_synthesiser")
    with pytest.raises(MissingPart, match="run 'pip install espeakng-loader'"):
        speak_corpus(tiny_spoken(), progress=SilentProgress())


def test_states_that_do_not_fit_into_the_frames_are_refused():
    settings = tiny_spoken(states_per_unit=5, min_frames_per_state=4)
    with pytest.raises(BadInput, match="do not fit"):
        speak_corpus(settings, progress=SilentProgress())
