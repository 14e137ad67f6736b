"""The spoken corpus as a whole, at a tiny size, with the real synthesiser."""

import hashlib
from collections.abc import Iterator

import numpy as np
import pytest

from stages.acoustic.lang.lang import SILENCE, read_lang, write_lang
from stages.contract.errors import BadInput, MissingPart
from stages.contract.progress import SilentProgress
from stages.corpus.raw import RawUtterance
from stages.corpus.spoken import synthesis
from stages.corpus.spoken.speak import SpokenCorpus, speak_corpus
from tests.support.makers.spoken import tiny_spoken

pytest.importorskip("espeakng_loader")


@pytest.fixture(scope="module")
def corpus() -> SpokenCorpus:
    return speak_corpus(tiny_spoken(), progress=SilentProgress())


@pytest.fixture(scope="module")
def utterances(corpus: SpokenCorpus) -> dict[str, list[RawUtterance]]:
    return {split: list(raw) for split, raw in corpus.splits.items()}


def every(utterances: dict[str, list[RawUtterance]]) -> Iterator[RawUtterance]:
    for raw in utterances.values():
        yield from raw


def digest(utterances: dict[str, list[RawUtterance]]) -> str:
    digest = hashlib.sha256()
    for raw in every(utterances):
        digest.update(f"{raw.id} {raw.speaker} {raw.transcript}".encode())
        digest.update(raw.features_TF.tobytes() + raw.labels_T.tobytes())
    return digest.hexdigest()


def test_the_same_settings_give_the_same_bytes(corpus, utterances):
    again = speak_corpus(tiny_spoken(), progress=SilentProgress())
    assert again.lang == corpus.lang
    assert digest({split: list(raw) for split, raw in again.splits.items()}) == digest(utterances)


def test_another_seed_says_something_else(utterances):
    corpus = speak_corpus(tiny_spoken(seed=2), progress=SilentProgress())
    dev = list(corpus.splits["dev"])
    assert [raw.transcript for raw in dev] != [raw.transcript for raw in utterances["dev"]]


def test_there_is_as_much_speech_as_was_asked_for(utterances):
    for split, minutes in (("train", 1.5), ("dev", 0.3), ("test", 0.35)):
        frames = sum(len(raw.features_TF) for raw in utterances[split])
        assert minutes * 6000 - 2 <= frames <= minutes * 6000 + 1000


def test_speakers_take_turns_and_stay_in_their_split(utterances):
    speakers = {split: {raw.speaker for raw in raws} for split, raws in utterances.items()}
    assert len(speakers["train"]) >= 40
    assert len(speakers["dev"]) == 3
    assert len(speakers["test"]) == 4
    assert len(set.union(*speakers.values())) == sum(map(len, speakers.values()))


def test_ids_are_unique_and_begin_with_the_speaker(utterances):
    ids = [raw.id for raw in every(utterances)]
    assert len(set(ids)) == len(ids)
    assert all(raw.id.startswith(raw.speaker) for raw in every(utterances))


def test_every_word_is_in_the_lexicon(corpus, utterances):
    spoken = {word for raw in every(utterances) for word in raw.transcript.split()}
    assert spoken <= set(corpus.lang.words)
    assert 200 <= len(corpus.lang.words) <= 260
    assert all(2 <= len(raw.transcript.split()) <= 10 for raw in every(utterances))


def test_no_word_has_too_many_pronunciations(corpus):
    words = [entry.word for entry in corpus.lang.lexicon]
    assert max(words.count(word) for word in corpus.lang.words) <= 5


def test_features_and_labels_match_frame_by_frame(corpus, utterances):
    for raw in every(utterances):
        assert raw.features_TF.dtype == np.float32
        assert raw.labels_T.dtype == np.int32
        assert raw.features_TF.shape == (len(raw.labels_T), 23)
        assert np.isfinite(raw.features_TF).all()
        assert raw.labels_T.min() >= 0
        assert raw.labels_T.max() < corpus.lang.num_classes
        assert raw.frame_shift_ms == 10.0


def test_no_class_lasts_a_single_frame_so_all_survive_subsampling_by_two(utterances):
    for raw in every(utterances):
        changes = np.flatnonzero(np.diff(raw.labels_T)) + 1
        runs = np.diff([0, *changes, len(raw.labels_T)])
        assert runs.min() >= 2


def test_utterances_begin_and_end_in_silence(corpus, utterances):
    silence = corpus.lang.units[SILENCE]
    for raw in every(utterances):
        assert raw.labels_T[0] == silence[0]
        assert raw.labels_T[-1] == silence[-1]


def test_the_lang_on_disk_is_the_lang_in_memory(corpus, tmp_path):
    write_lang(corpus.lang, tmp_path / "lang")
    assert read_lang(tmp_path / "lang") == corpus.lang


def test_a_transcript_can_be_read_off_its_labels(corpus, utterances):
    """The labels of most training words are the classes of one of their pronunciations."""
    units, silence = corpus.lang.units, set(corpus.lang.units[SILENCE])
    ways = {word: [] for word in corpus.lang.words}
    for entry in corpus.lang.lexicon:
        ways[entry.word].append([pdf for unit in entry.units for pdf in units[unit]])
    read = 0
    for raw in utterances["train"]:
        changed = np.concatenate([[True], np.diff(raw.labels_T) != 0])
        said = [pdf for pdf in raw.labels_T[changed] if pdf not in silence]
        ends = {0}
        for word in raw.transcript.split():
            ends = {
                e + len(way) for e in ends for way in ways[word] if said[e : e + len(way)] == way
            }
        read += len(said) in ends
    assert read >= 0.7 * len(utterances["train"])


def test_default_settings_give_500_classes_or_more():
    settings = tiny_spoken(hours=1.0, train_voices=48)
    corpus = speak_corpus(settings, progress=SilentProgress())
    assert corpus.lang.num_classes >= 500


def test_without_espeak_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(synthesis, "LOADER", "no_such_synthesiser")
    with pytest.raises(MissingPart, match="run 'pip install espeakng-loader'"):
        speak_corpus(tiny_spoken(), progress=SilentProgress())


def test_too_many_states_for_the_frames_are_refused():
    settings = tiny_spoken(states_per_unit=5, min_frames_per_state=4)
    with pytest.raises(BadInput, match="do not fit"):
        speak_corpus(settings, progress=SilentProgress())
