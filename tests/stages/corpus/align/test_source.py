"""Speech with transcripts -> hard labels and a lang, on toy features whose states are known."""

import re
import shutil

import kaldiio
import numpy as np
import pytest

from stages.acoustic.lang.lang import SILENCE
from stages.acoustic.lang.lang_folder import build_decoding_graph, check_lang
from stages.acoustic.lang.phones import phone_of_unit, phones_of
from stages.contract.errors import BadInput
from stages.contract.progress import SilentProgress
from stages.corpus.align.settings import AlignSettings
from stages.corpus.align.source import TOO_SHORT, UNKNOWN_WORD, AlignedSource
from stages.corpus.build import build_corpus
from stages.corpus.kaldi_settings import KaldiSettings
from stages.corpus.kaldi_speech import KaldiSpeech
from stages.corpus.settings import CorpusSettings
from stages.corpus.source_fingerprint import source_fingerprint
from storage.corpus.corpus_file import CorpusFile
from tests.support.makers.kaldi import LEXICON, UNITS, make_kaldi_directory, write_archive

SPLITS = ("train", "dev", "test")


@pytest.fixture
def data(tmp_path):
    """A Kaldi directory without alignments and lang, and the lexicon next to it."""
    data = make_kaldi_directory(tmp_path / "data", sentences=40)
    shutil.rmtree(data / "lang")
    (data / "num_pdfs").unlink()
    lexicon = "".join(f"{word} {phones}\n" for word, phones in LEXICON.items())
    (tmp_path / "lexicon.txt").write_text(lexicon)
    return data


pytestmark = pytest.mark.usefixtures("small_network")


def align(data, *, passes=None, progress=None, **changes):
    settings = {"lexicon": str(data.parent / "lexicon.txt"), "states": 1, "min_count": 20}
    scratch = data.parent / f"scratch-{len(list(data.parent.iterdir()))}"
    scratch.mkdir()
    speech = KaldiSpeech(KaldiSettings(), data, scratch=scratch, progress=SilentProgress())
    return AlignedSource(
        speech,
        AlignSettings(**settings | {"realignments": 2} | changes),
        passes=passes or data.parent / f"passes-{scratch.name}",
        progress=progress or SilentProgress(),
    )


def labels_of(source, split):
    return {raw.id: raw.labels_T for raw in source.utterances(split)}


def replace_line(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def true_phones(data, split):
    of_pdf = {pdf: phone for phone, pdfs in UNITS.items() for pdf in pdfs}
    labels = dict(kaldiio.load_ark(str(data / split / "ali.ark")))
    return {id: [of_pdf[pdf] for pdf in labels_T] for id, labels_T in labels.items()}


def test_labels_are_the_phones_that_were_spoken(data):
    source = align(data, states=2)
    of_class = phones_of(source.lang).of_class
    for split in ("train", "dev"):
        labels, truth = labels_of(source, split), true_phones(data, split)
        found = [of_class[label] for id in truth for label in labels[id]]
        wanted = [phone for id in truth for phone in truth[id]]
        assert len(found) == len(wanted)
        share = np.mean([a == b for a, b in zip(found, wanted, strict=True)])
        assert share > 0.8  # 0.88


def test_every_labelled_utterance_spells_its_transcript(data):
    source = align(data, states=2)
    spelled = {entry.word: entry.units for entry in source.lang.lexicon}
    units = source.lang.units
    for split in SPLITS:
        for raw in source.utterances(split):
            assert len(raw.labels_T) == len(raw.features_TF)
            runs = raw.labels_T[np.flatnonzero(np.diff(raw.labels_T, prepend=-1))]
            spoken = [label for label in runs if label not in units[SILENCE]]
            words = raw.transcript.split()
            path = [c for word in words for unit in spelled[word] for c in units[unit]]
            # A class may follow itself, where two states share it: then the runs are one.
            wanted = [c for n, c in enumerate(path) if n == 0 or c != path[n - 1]]
            merged = [c for n, c in enumerate(spoken) if n == 0 or c != spoken[n - 1]]
            assert merged == wanted


def test_same_input_gives_the_same_labels(data):
    first, second = align(data), align(data)
    assert first.lang == second.lang
    for split in SPLITS:
        labels, again = labels_of(first, split), labels_of(second, split)
        assert list(labels) == list(again)
        for id, labels_T in labels.items():
            np.testing.assert_array_equal(labels_T, again[id])


def test_features_are_on_disk_once(data):
    align(data, realignments=1)
    (scratch,) = data.parent.glob("scratch-*")
    num_values = sum(
        array.size
        for split in SPLITS
        for _, array in kaldiio.load_ark(str(data / split / "feats.ark"))
    )
    assert sum(file.stat().st_size for file in scratch.iterdir()) == 4 * num_values


def test_lang_makes_a_decoding_graph_of_the_words_of_train(data, tmp_path):
    lang = align(data).lang
    text = (data / "train" / "text").read_text()
    assert set(lang.words) == {word for line in text.splitlines() for word in line.split()[1:]}
    assert {phone_of_unit(unit) for unit in lang.units} == {SILENCE, "a", "b", "c"}
    check_lang(lang)
    (tmp_path / "graph").mkdir()
    build_decoding_graph(lang, tmp_path / "graph")


def test_given_language_model_decides_the_words(data, tmp_path):
    arpa = tmp_path / "lm.arpa"
    arpa.write_text(
        "\\data\\\nngram 1=4\n\n\\1-grams:\n-1 <s>\n-1 </s>\n-0.3 SEE\n-0.3 AB\n\n\\end\\\n"
    )
    lang = align(data, arpa=arpa).lang
    assert lang.words == ("AB", "SEE")
    assert lang.arpa == arpa.read_text()


def test_unknown_word_fails_with_its_count_and_the_cure(data):
    replace_line(data / "train" / "text", "AB", "XYZ")
    wanted = "train: 1 words (1 times) are not in the lexicon"
    with pytest.raises(BadInput, match=re.escape(wanted)) as raised:
        align(data)
    assert "XYZ" in str(raised.value)
    assert "unknown_words to skip" in str(raised.value)


def test_unknown_word_leaves_out_its_utterance_in_train_alone(data):
    for split in SPLITS:
        replace_line(data / split / "text", "AB", "XYZ")
    source = align(data, unknown_words="skip")
    (left_out,) = source.left_out("train")[UNKNOWN_WORD]
    assert left_out not in labels_of(source, "train")
    assert source.left_out("dev") == {}
    assert [labels_T is None for labels_T in labels_of(source, "dev").values()].count(True) == 1
    assert any("XYZ" in remark for remark in source.remarks("dev"))
    assert "XYZ" not in source.lang.words


def test_unknown_word_is_one_sound_with_unk(data):
    replace_line(data / "train" / "text", "AB", "XYZ")
    source = align(data, unknown_words="unk")
    assert source.left_out("train") == {}
    assert all(labels_T is not None for labels_T in labels_of(source, "train").values())
    assert "XYZ" not in source.lang.words


def test_utterance_too_short_for_its_words_is_left_out_by_name(data):
    archive = dict(kaldiio.load_ark(str(data / "train" / "feats.ark")))
    short = next(iter(archive))
    features = {id: array[:1] if id == short else array for id, array in archive.items()}
    write_archive(data / "train", "feats", features)
    source = align(data)
    assert source.left_out("train") == {TOO_SHORT: [short]}
    assert short not in labels_of(source, "train")


def test_untranscribed_speech_is_kept_without_labels(data):
    replace = data / "train" / "text"
    lines = replace.read_text().splitlines()
    untranscribed = lines[3].split()[0]
    replace.write_text("\n".join([*lines[:3], untranscribed, *lines[4:]]) + "\n")
    labels = labels_of(align(data), "train")
    assert [id for id, labels_T in labels.items() if labels_T is None] == [untranscribed]


def test_corpus_is_built_with_the_labels_and_the_lang(data, tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    summary = build_corpus(settings_of(data), directory=corpus, progress=SilentProgress())
    assert summary.num_words > 0
    assert not [path for path in corpus.iterdir() if path.name.startswith(".")]
    with CorpusFile(corpus / "train.h5") as train, CorpusFile(corpus / "test.h5") as test:
        assert train.about.num_classes == summary.num_classes
        assert train.about.has_labels
        assert test.about.has_labels


def settings_of(data, **changes):
    align = {"lexicon": str(data.parent / "lexicon.txt"), "states": 1, "realignments": 1}
    return CorpusSettings(source="kaldi", path=data, align=AlignSettings(**align | changes))


def test_contents_of_lexicon_and_language_model_count_and_their_paths_do_not(data, tmp_path):
    moved, arpa = tmp_path / "moved.txt", tmp_path / "lm.arpa"
    shutil.copy(tmp_path / "lexicon.txt", moved)
    arpa.write_text("one")
    here, there = settings_of(data, arpa=arpa), settings_of(data, arpa=arpa, lexicon=str(moved))
    assert here.identity() == there.identity()
    assert source_fingerprint(here) == source_fingerprint(there)
    before = source_fingerprint(here)
    arpa.write_text("two")
    assert source_fingerprint(here) != before
    moved.write_text(moved.read_text() + "NEW a\n")
    assert source_fingerprint(there) != source_fingerprint(here)
    assert settings_of(data, states=2).identity() != settings_of(data).identity()
    assert settings_of(data, lexicon="graphemes").identity() != settings_of(data).identity()


def test_identity_is_that_of_older_corpora_without_an_alignment():
    assert "align" not in CorpusSettings().identity()


def test_missing_lexicon_is_named_before_anything_is_read(data):
    with pytest.raises(BadInput, match=r"corpus.align.lexicon: .*nowhere.txt is missing"):
        source_fingerprint(settings_of(data, lexicon="nowhere.txt"))


def test_spoken_corpus_takes_no_alignment():
    with pytest.raises(ValueError, match="remove align"):
        CorpusSettings(align=AlignSettings(lexicon="graphemes"))
