"""Voices, phones, plans and the synthesiser process."""

import itertools
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages.contract.errors import StageError
from stages.corpus.spoken import synthesis
from stages.corpus.spoken.phones import PHONE_OF, PHONES, phone_of
from stages.corpus.spoken.plan import plan_text, plan_utterances
from stages.corpus.spoken.sentences import sentence
from stages.corpus.spoken.settings import DistortionSettings, SpokenSettings
from stages.corpus.spoken.synthesis import synthesise
from stages.corpus.spoken.voices import ACCENTS, SPLITS, VARIANTS, speakers_of


def first_plan(**changes):
    return replace(next(plan_utterances("train", SpokenSettings())), **changes)


def test_splits_share_no_variant():
    variants = [variant for split in SPLITS for variant in VARIANTS[split]]
    assert len(set(variants)) == len(variants)


def test_voices_of_the_default_are_many_and_differ():
    speakers = {split: speakers_of(split, SpokenSettings()) for split in SPLITS}
    used = {split: {speaker.variant for speaker in speakers[split]} for split in SPLITS}
    assert len(used["train"]) >= 40
    assert len(used["dev"]) >= 8
    assert len(used["test"]) >= 8
    assert {speaker.accent for speaker in speakers["train"]} == set(ACCENTS.values())


def test_voices_beyond_the_variants_have_other_accents():
    most = SpokenSettings(train_voices=400, dev_voices=80, test_voices=80)
    for split, count in (("train", 400), ("dev", 80), ("test", 80)):
        speakers = speakers_of(split, most)
        assert len({speaker.id for speaker in speakers}) == count
        assert len({(speaker.variant, speaker.accent) for speaker in speakers}) == count


def test_voices_exist_in_espeak():
    loader = pytest.importorskip("espeakng_loader")
    there = {path.name for path in (Path(loader.get_data_path()) / "voices" / "!v").iterdir()}
    assert {variant for variants in VARIANTS.values() for variant in variants} <= there


@pytest.mark.parametrize("accent", ACCENTS.values())
def test_accents_have_phones_of_the_inventory_only(accent):
    pytest.importorskip("espeakng_loader")
    text = list(plan_text(SpokenSettings(lm_sentences=5_000)))[:60]
    speaker = replace(speakers_of("train", SpokenSettings())[0], accent=accent)
    for spoken in synthesise(first_plan(speaker=speaker, words=words) for words in text):
        for event in spoken.events:
            assert event.name.startswith("_") or phone_of(event.name) in {*PHONES, None}


def test_letters_are_spoken_by_their_names():
    pytest.importorskip("espeakng_loader")
    (spoken,) = synthesise([first_plan(words=("A", "C", "A"))])
    phones = [
        (event.word, phone_of(event.name)) for event in spoken.events if "_" not in event.name
    ]
    assert [phone for phone in phones if phone[1]] == [(0, "EY"), (1, "S"), (1, "IY"), (2, "EY")]


def test_voice_that_does_not_exist_is_an_error():
    pytest.importorskip("espeakng_loader")
    speaker = replace(first_plan().speaker, variant="nobody")
    with pytest.raises(StageError, match="no variant 'nobody'"):
        list(synthesise([first_plan(speaker=speaker)]))
    speaker = replace(first_plan().speaker, accent="en-gb")
    with pytest.raises(StageError, match="no voice 'en-gb'"):
        list(synthesise([first_plan(speaker=speaker)]))


def test_synthesiser_that_dies_is_an_error(monkeypatch):
    pytest.importorskip("espeakng_loader")
    monkeypatch.setattr(synthesis, "COMMAND", (sys.executable, "-c", "input()"))
    with pytest.raises(StageError, match="exited before it had spoken"):
        list(synthesis.synthesise(itertools.repeat(first_plan(), 9)))


def test_library_that_cannot_be_loaded_is_an_error(monkeypatch):
    loader = pytest.importorskip("espeakng_loader")
    code = (
        "import espeakng_loader as e; e.get_library_path = lambda: '/nowhere/lib.so';"
        "from stages.corpus.spoken.synthesiser import main; main()"
    )
    assert Path(loader.get_library_path()).is_file()
    monkeypatch.setattr(synthesis, "COMMAND", (sys.executable, "-c", code))
    with pytest.raises(StageError, match="espeak-ng cannot be loaded"):
        list(synthesis.synthesise([first_plan()]))


def test_synthesiser_that_joins_words_is_an_error():
    pytest.importorskip("espeakng_loader")
    with pytest.raises(StageError, match=r"gave 4 word events for .*, wanted 5"):
        list(synthesise([first_plan(words=("TURN", "ON", "THE", "KITCHEN", "LIGHT"))]))


def test_phone_that_is_unknown_is_an_error():
    with pytest.raises(StageError, match="not in the inventory"):
        phone_of("'Q^")


def test_phones_are_few_and_all_reached():
    assert set(PHONE_OF.values()) == set(PHONES)
    assert len(PHONES) <= 48


def test_sentences_are_short_and_upper_case():
    rng = np.random.default_rng(5)
    for words in (sentence(rng) for _ in range(500)):
        assert 2 <= len(words) <= 10
        assert all(word.isalpha() and word.isupper() for word in words)


def test_plan_is_deterministic_and_differs_between_splits():
    def start(split):
        plans = itertools.islice(plan_utterances(split, SpokenSettings()), 30)
        return [(plan.words, plan.lead_seconds) for plan in plans]

    assert start("train") == start("train")
    assert start("train") != start("test")


def test_settings_out_of_order_are_refused():
    with pytest.raises(ValueError, match="words_per_minute_low 250 is above"):
        SpokenSettings(words_per_minute_low=250)
    with pytest.raises(ValueError, match="snr_db_low"):
        DistortionSettings(snr_db_low=30.0)
    with pytest.raises(ValueError, match="echo_seconds_low"):
        DistortionSettings(echo_seconds_low=1.0)
