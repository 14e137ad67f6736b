"""Tables of speech: what they may hold, and errors that name the line."""

from pathlib import Path

import pytest

from stages.acoustic.sound.speech_table import (
    Columns,
    SpeechRow,
    read_speech,
    read_table_of_speech,
)
from stages.contract.errors import BadInput


def test_tsv_and_json_lines_give_the_same_rows(tmp_path: Path) -> None:
    tsv, lines = tmp_path / "a.tsv", tmp_path / "a.jsonl"
    tsv.write_text("id\tpath\tspeaker\tstart\tend\ttext\nu1\tx/a.wav\tanna\t0.5\t2\tHI\n")
    lines.write_text(
        '{"id":"u1","path":"x/a.wav","speaker":"anna","start":0.5,"end":2,"text":"HI"}\n\n'
    )
    wanted = SpeechRow(
        id="u1", path=tmp_path / "x/a.wav", speaker="anna", start=0.5, end=2.0, text="HI"
    )
    assert read_speech([tsv]) == read_speech([lines]) == [wanted]


def test_path_alone_is_enough_and_absolute_paths_stay(tmp_path: Path) -> None:
    table = tmp_path / "a.tsv"
    table.write_text("path\na.wav\n/b.wav\n")
    first, second = read_speech([table])
    assert (first.id, first.speaker, first.path) == ("a.wav", "a.wav", tmp_path / "a.wav")
    assert second.path == Path("/b.wav")
    assert (first.start, first.end) == (0.0, None)


def test_files_are_their_own_speakers() -> None:
    rows = read_speech([Path("a.wav"), Path("b.flac")])
    assert [row.speaker for row in rows] == ["a.wav", "b.flac"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.tsv", "id\nu\n", "a.tsv:1: no column 'path'"),
        ("a.tsv", "path\tend\na.wav\tlate\n", "a.tsv:2: end"),
        ("a.tsv", "path\tstart\tend\na.wav\t3\t2\n", "end 2 is not after start 3"),
        ("a.tsv", "path\na.wav\tmore\n", "a.tsv:2: more fields"),
        ("a.tsv", "id\tpath\nu\t\n", "a.tsv:2: no path"),
        ("a.tsv", "path\n\n\na.wav\tmore\n", "a.tsv:4: more fields"),
        ("a.tsv", "path\tchannel\na.wav\t-1\n", "a.tsv:2: channel"),
        ("a.jsonl", "{\n", "a.jsonl:1: no JSON"),
        ("a.jsonl", '"path"\n', "a.jsonl:1: wanted an object"),
        ("a.tsv", "path\na.wav\na.wav\n", "two utterances have the id 'a.wav'"),
    ],
)
def test_table_that_is_wrong_is_refused(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput) as caught:
        read_speech([tmp_path / name])
    assert words in str(caught.value)


def test_table_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.tsv").write_bytes(b"\xff\xfe\x00")
    for name in ("a.tsv", "b.tsv"):
        with pytest.raises(BadInput, match="cannot be read"):
            read_speech([tmp_path / name])


def test_columns_may_have_other_names_and_paths_another_folder(tmp_path: Path) -> None:
    table = tmp_path / "train.tsv"
    table.write_text("client_id\tpath\tsentence\ttext\n17\tu1.mp3\tA b\tno\n")
    columns = Columns(speaker="client_id", text="sentence")
    (row,) = read_table_of_speech(table, columns, folder=tmp_path / "clips")
    assert row.path == tmp_path / "clips" / "u1.mp3"
    assert (row.id, row.speaker, row.text) == ("u1.mp3", "17", "A b")


def test_text_may_hold_other_line_ends_than_the_table(tmp_path: Path) -> None:
    text = "a\u2028b\x0bc\x85d"
    (tmp_path / "a.tsv").write_text(f"\ufeffpath\ttext\r\na.wav\t{text}\r\n", newline="")
    (tmp_path / "a.jsonl").write_text('{"path": "a.wav", "speaker": 7, "text": "a\u2028b"}\n')
    (of_tsv,) = read_speech([tmp_path / "a.tsv"])
    (of_lines,) = read_speech([tmp_path / "a.jsonl"])
    assert of_tsv.text == text
    assert of_lines.text == "a\u2028b"
    assert of_lines.speaker == "7"
