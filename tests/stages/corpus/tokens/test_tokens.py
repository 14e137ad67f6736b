"""Corpora of token sequences: spelling, sources without alignments, what is left out."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from stages.acoustic.lang.lang_folder import read_lang_folder
from stages.acoustic.lang.token_lang import WORD_START, TokenLang
from stages.contract.errors import BadInput
from stages.contract.progress import SilentProgress
from stages.contract.results import CorpusSummary
from stages.corpus.build import NO_FRAMES, TOO_MANY_TOKENS, build_corpus
from stages.corpus.settings import CorpusSettings
from stages.corpus.source_fingerprint import source_fingerprint
from stages.corpus.spoken.settings import SpokenSettings
from stages.corpus.tokens.settings import TokenSettings
from stages.corpus.tokens.source import NO_SPELLING
from stages.corpus.tokens.spelling import Characters, Phones, Pieces
from storage.corpus.corpus_file import NO_LABEL, CorpusFile
from tests.support.makers.kaldi import LEXICON, add_unlabelled_folder, make_kaldi_directory
from tests.support.makers.spoken import tiny_spoken

PLAIN = {"cmvn": "none", "splice_left": 0, "splice_right": 0, "subsample": 1}
TEXT = ["ZERO ONE TWO", "ONE ONE THREE", "TWO THREE ZERO ZERO"] * 20


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A Kaldi directory without alignments and without a lang."""
    directory = make_kaldi_directory(tmp_path / "data")
    shutil.rmtree(directory / "lang")
    for path in directory.rglob("ali.*"):
        path.unlink()
    return directory


def _settings(data: Path, **changes: Any) -> CorpusSettings:
    fields = {"source": "kaldi", "path": data, "targets": "tokens", "features": PLAIN}
    return CorpusSettings.model_validate(fields | changes)


def _build(data: Path, out: Path, **changes: Any) -> CorpusSummary:
    out.mkdir()
    return build_corpus(_settings(data, **changes), directory=out, progress=SilentProgress())


def _lang(out: Path) -> TokenLang:
    lang = read_lang_folder(out / "lang")
    assert isinstance(lang, TokenLang)
    return lang


def _spelled(path: Path, lang: TokenLang) -> dict[str, str]:
    with CorpusFile(path) as corpus:
        assert all((corpus.labels(i) == NO_LABEL).all() for i in range(len(corpus.utterances)))
        found = {row.id: corpus.tokens(i) for i, row in enumerate(corpus.utterances)}
    return {
        id: " ".join(lang.tokens[int(token)] for token in tokens)
        for id, tokens in found.items()
        if tokens is not None
    }


def test_transcripts_become_characters_without_an_alignment(data: Path, tmp_path: Path) -> None:
    summary = _build(data, tmp_path / "out")
    lang = _lang(tmp_path / "out")
    assert lang.tokens == ("<blk>", WORD_START, "A", "B", "C")
    assert summary.num_classes == 5
    text = dict(line.split(" ", 1) for line in (data / "train/text").read_text().splitlines())
    spelled = _spelled(tmp_path / "out/train.h5", lang)
    assert spelled.keys() == text.keys()
    for id, tokens in spelled.items():
        assert tokens.replace(" ", "").replace(WORD_START, " ").split() == text[id].split()
    with CorpusFile(tmp_path / "out/train.h5") as corpus:
        assert corpus.about.class_inventory == lang.class_inventory


def test_lexicon_gives_phones_of_its_first_pronunciation(data: Path, tmp_path: Path) -> None:
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("".join(f"{word} {phones}\n" for word, phones in LEXICON.items()) + "C x\n")
    tokens = {"inventory": "phones", "lexicon": str(lexicon)}
    _build(data, tmp_path / "out", tokens=tokens)
    lang = _lang(tmp_path / "out")
    assert lang.tokens == ("<blk>", "a", "b", "c", "x")
    assert not lang.spells_text
    assert {entry.units for entry in lang.lexicon if entry.word == "C"} == {("c",), ("x",)}
    assert not any("x" in tokens for tokens in _spelled(tmp_path / "out/train.h5", lang).values())
    changed = source_fingerprint(_settings(data, tokens=tokens))
    lexicon.write_text(lexicon.read_text() + "D d\n")
    assert source_fingerprint(_settings(data, tokens=tokens)) != changed


def test_untranscribed_folder_and_withheld_speakers_have_no_tokens(
    data: Path, tmp_path: Path
) -> None:
    more = add_unlabelled_folder(data, "more")
    kaldi = {"unlabelled": ["more"], "labelled_share": 0.34}
    summary = _build(data, tmp_path / "out", kaldi=kaldi)
    lang = _lang(tmp_path / "out")
    spelled = _spelled(tmp_path / "out/train.h5", lang)
    speakers = {id.rsplit("-", 1)[0] for id in spelled}
    assert len(speakers) == 1
    assert not spelled.keys() & set(more)
    labelled = summary.train.labelled
    assert labelled is not None
    assert labelled.num_utterances == len(spelled) < summary.train.num_utterances
    listed = (tmp_path / "out/train-labelled.txt").read_text().splitlines()
    assert listed == list(spelled)


def test_utterance_of_train_whose_tokens_do_not_fit_is_left_out_by_name(
    data: Path, tmp_path: Path
) -> None:
    summary = _build(data, tmp_path / "out", features={**PLAIN, "subsample": 5})
    left_out = summary.train.left_out[TOO_MANY_TOKENS]
    assert left_out
    assert NO_FRAMES not in summary.train.left_out
    whole = _build(data, tmp_path / "whole")
    assert TOO_MANY_TOKENS not in whole.train.left_out
    assert summary.train.num_utterances + len(left_out) == whole.train.num_utterances
    for split in (1, 2):  # dev and test keep all: their words are scored
        assert summary.splits[split].num_utterances == whole.splits[split].num_utterances


def test_utterance_with_a_word_without_a_spelling_is_left_out_by_name(
    data: Path, tmp_path: Path
) -> None:
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("AB a b\nBA b a\nC c\n")  # lacks ABC
    summary = _build(
        data, tmp_path / "out", tokens={"inventory": "phones", "lexicon": str(lexicon)}
    )
    text = (data / "train/text").read_text().splitlines()
    wanted = {line.split()[0] for line in text if "ABC" in line.split()}
    assert wanted
    assert set(summary.train.left_out[NO_SPELLING]) == wanted
    with CorpusFile(tmp_path / "out/dev.h5") as dev:
        transcripts = [row.transcript.split() for row in dev.utterances]
        assert [not t for t in dev.is_transcribed()] == ["ABC" in words for words in transcripts]


@pytest.mark.parametrize("inventory", ["characters", "phones"])
def test_spoken_corpus_has_tokens_of_its_lexicon(tmp_path: Path, inventory: str) -> None:
    settings = CorpusSettings(
        targets="tokens",
        tokens=TokenSettings.model_validate({"inventory": inventory}),
        spoken=tiny_spoken(),
    )
    out = tmp_path / "out"
    out.mkdir()
    summary = build_corpus(settings, directory=out, progress=SilentProgress())
    lang = _lang(out)
    assert lang.spells_text == (inventory == "characters")
    assert "SIL" not in lang.tokens
    assert len(_spelled(out / "train.h5", lang)) == summary.train.num_utterances
    assert summary.num_words == len(lang.words) > 100


def test_characters_are_composed_and_unknown_ones_have_no_spelling() -> None:
    speller = Characters.of(["ba", "e\N{COMBINING ACUTE ACCENT}"])
    assert speller.tokens == (WORD_START, "a", "b", "é")
    assert speller.spellings("éa") == ((WORD_START, "é", "a"),)
    assert speller.spellings("x") == ()


def test_phones_without_a_word_have_no_spelling() -> None:
    speller = Phones({"AB": (("a", "b"), ("a",))})
    assert speller.tokens == ("a", "b")
    assert speller.spellings("AB")[0] == ("a", "b")
    assert speller.spellings("BA") == ()


def test_pieces_are_deterministic_and_join_to_the_word() -> None:
    pieces, again = (Pieces.train(TEXT, num_pieces=20) for _ in range(2))
    assert pieces.tokens == again.tokens
    assert "<unk>" not in pieces.tokens
    for word in ("ZERO", "THREE", "ZOO"):
        (spelling,) = pieces.spellings(word)
        assert set(spelling) <= set(pieces.tokens)
        assert "".join(spelling) == f"{WORD_START}{word}"
    assert pieces.spellings("ÄX") == ()


def test_given_piece_model_is_read_and_its_content_counts(data: Path, tmp_path: Path) -> None:
    import sentencepiece

    model = tmp_path / "m.model"
    text = (data / "train/text").read_text().splitlines()
    with model.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([line.split(" ", 1)[1] for line in text]),
            model_writer=file,
            vocab_size=12,
            hard_vocab_limit=False,
            minloglevel=2,
        )
    tokens = {"inventory": "pieces", "piece_model": model}
    _build(data, tmp_path / "out", tokens=tokens)
    lang = _lang(tmp_path / "out")
    assert lang.spells_text
    assert not {"<unk>", "<s>", "</s>"} & set(lang.tokens)
    before = source_fingerprint(_settings(data, tokens=tokens))
    model.write_bytes(b"no model")
    assert source_fingerprint(_settings(data, tokens=tokens)) != before
    with pytest.raises(BadInput, match="is not a model of SentencePiece"):
        _build(data, tmp_path / "bad", tokens=tokens)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": "frames", "tokens": {"inventory": "phones"}}, "but targets is frames"),
        ({"align": {"lexicon": "graphemes"}}, "remove align"),
        ({"tokens": {"inventory": "characters", "lexicon": "l.txt"}}, "remove lexicon"),
        (
            {"tokens": {"inventory": "phones", "lexicon": "graphemes"}},
            "inventory to characters",
        ),
        ({"tokens": {"inventory": "phones", "piece_model": "m"}}, "remove piece_model"),
        ({"kaldi": {"model": "exp/final.mdl"}}, "remove alignments and their model"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        _settings(tmp_path, **changes)


def test_audio_needs_no_alignment_for_tokens_and_makes_no_copies(tmp_path: Path) -> None:
    fields = {"source": "audio", "path": tmp_path, "targets": "tokens"}
    assert CorpusSettings.model_validate(fields).tokens == TokenSettings()
    copies = [{"kind": "noise", "name": "noisy", "snr_db_low": 0, "snr_db_high": 9, "seed": 1}]
    with pytest.raises(ValidationError, match="leave out copies"):
        CorpusSettings.model_validate(fields | {"copies": copies})


def test_phones_of_a_corpus_without_lexicon_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no lexicon is given"):
        _build(data, tmp_path / "out", tokens={"inventory": "phones"})
    (data / "train/text").write_text("")
    with pytest.raises(BadInput):
        _build(data, tmp_path / "none")


def test_settings_of_frames_have_the_identity_that_they_had() -> None:
    assert not {"targets", "tokens"} & CorpusSettings().identity().keys()
    of_tokens = CorpusSettings(targets="tokens", spoken=SpokenSettings())
    assert of_tokens.identity()["targets"] == "tokens"
    assert np.all("num_pieces" not in of_tokens.identity()["tokens"])
