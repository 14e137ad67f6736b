"""examples/fillets: Debian's game data become tables of audio."""

import wave
from pathlib import Path

import pytest

from stages.acoustic.sound.speech_table import read_table_of_speech
from tests.examples.loading import EXAMPLES, load_example

prepare = load_example("fillets/prepare.py")

DIALOGS = """\
-- dialogId("commented", "font_big", "no")
dialogId("a-m-one", "font_small", "What \\"is\\" that?")
dialogStr("Co je to za \\"divnou\\" loď?")


dialogId("a-v-two", "font_big",
    "Said (over) two lines")
dialogStr(
    "Na dvou, řádcích...")
dialogId("a-x-untold", "font_white", "no text of it")
dialogId("a-v-two", "font_statue", "the later one counts")
dialogStr("Znovu.")
"""


def write_game(data: Path) -> None:
    """Two levels and a folder of shared dialogs, with silence of half a second each."""
    texts = {
        "alfa": [("a-m-jedna", "font_small", "Ahoj, rybo!"), ("a-s-dva", "font_statue", "Kde?")],
        "beta": [("b-v-jedna", "font_big", "Tady je 12 ryb."), ("b-m-dva", "font_small", "Tady.")],
        "share": [("s-v-jedna", "font_big", "Nuda.")],
    }
    for level, dialogs in texts.items():
        script = data / "script" / level / "dialogs_cs.lua"
        script.parent.mkdir(parents=True)
        script.write_text(
            "".join(f'dialogId("{i}", "{f}", "")\ndialogStr("{t}")\n' for i, f, t in dialogs)
        )
        folder = data / "sound" / (level if level != "share" else "share/bore") / "cs"
        folder.mkdir(parents=True)
        for id, _, _ in dialogs:
            with wave.open(str(folder / f"{id}.ogg"), "wb") as file:
                file.setparams((1, 2, 16_000, 0, "NONE", ""))
                file.writeframes(bytes(16_000))
    (data / "sound" / "beta" / "cs" / "b-m-dva.ogg").unlink()


def test_dialogs_are_read_with_escapes_and_over_lines() -> None:
    found = prepare.read_dialogs(DIALOGS)
    assert [(each.name, each.voice, each.text) for each in found] == [
        ("a-m-one", "small", 'Co je to za "divnou" loď?'),
        ("a-v-two", "statue", "Znovu."),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Sedadla. Proč jsou tu VŠUDE sedadla?", "sedadla proč jsou tu všude sedadla"),
        ("No a co... jakž-takž „UFO-únik”!", "no a co jakž takž ufo únik"),
        ("Lod\u030c", "loď"),  # composed
    ],
)
def test_words_are_in_lower_case_without_punctuation(text: str, words: str) -> None:
    assert prepare.words_of(text) == words.split()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Konkrétně %1 hodin!", "game fills in"),
        ("Stiskni F2.", "digits"),
        ("V adresáři C:\\WINDOWS.", "file name"),
        ("To ti nestačí FDTO?", "spelled letters"),
        ("Подожди.", "another alphabet"),
        ("...", "no words"),
    ],
)
def test_texts_that_do_not_show_what_is_spoken_are_left_out(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        prepare.words_of(text)


def test_levels_are_split_by_their_names_alone() -> None:
    levels = [f"level-{number}" for number in range(40)]
    splits = prepare.split_levels(levels)
    assert splits == prepare.split_levels(reversed(levels))
    assert sorted(splits.values()) == ["dev"] * 4 + ["test"] * 6 + ["train"] * 30


def test_a_share_of_the_time_is_transcribed() -> None:
    seconds = {f"level-{number}": 10.0 + number for number in range(30)}
    chosen = prepare.choose_transcribed(seconds, 1 / 3)
    assert 1 / 3 <= sum(seconds[each] for each in chosen) / sum(seconds.values()) < 0.42
    assert prepare.choose_transcribed(seconds, 1.0) == set(seconds)


def test_utterances_are_subtitles_with_a_recording(tmp_path: Path) -> None:
    write_game(tmp_path)
    found = {each.id: each for each in prepare.read_utterances(tmp_path)}
    assert list(found) == ["alfa-a-m-jedna", "alfa-a-s-dva", "beta-b-v-jedna", "bore-s-v-jedna"]
    assert found["bore-s-v-jedna"].speaker == "bore-big"
    kept, left_out = prepare.sort_out(found.values())
    assert kept["alfa-a-m-jedna"] == ["ahoj", "rybo"]
    assert left_out == {"beta-b-v-jedna": "a number in digits"}


def test_missing_packages_are_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="apt-get install fillets-ng-data fillets-ng-data-cs"):
        prepare.main([str(tmp_path / "out"), "--data", str(tmp_path)])


def test_tables_are_made_of_a_game(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="espeak-ng makes the phones")
    pytest.importorskip("soundfile", reason="soundfile measures the recordings")
    write_game(tmp_path / "data")
    plan = prepare.plan_corpus(tmp_path / "data", transcribed=1.0)
    prepare.write_tables(plan, tmp_path / "out")
    assert list(prepare.summary_lines(plan))[-1] == "left out: 1 with a number in digits"
    words = {row.id: row for row in read_table_of_speech(tmp_path / "out" / "words.tsv")}
    assert words["alfa-a-s-dva"].split == "test"  # no lead voice
    assert words["alfa-a-m-jedna"].text == "ahoj rybo"
    phones = {row.id: row for row in read_table_of_speech(tmp_path / "out" / "phones.tsv")}
    assert phones["alfa-a-m-jedna"].text == "a h o j r i b o"
    lexicon = (tmp_path / "out" / "phones.txt").read_text().splitlines()
    assert {line.split()[0] for line in lexicon} == {
        phone for row in phones.values() for phone in (row.text or "").split()
    }


@pytest.mark.skipif(
    not list(prepare.DATA.glob("sound/*/cs")), reason="fillets-ng-data-cs is not installed"
)
def test_debian_s_data_are_what_the_example_describes() -> None:
    utterances = list(prepare.read_utterances(prepare.DATA))
    kept, left_out = prepare.sort_out(utterances)
    assert (len(utterances), len(kept), len(left_out)) == (1879, 1774, 105)
    assert sum(map(len, kept.values())) == 11_836


def test_the_settings_are_valid() -> None:
    from pipeline.settings.read import read_settings

    read_settings(EXAMPLES / "fillets" / "fillets.yaml")
