"""essence cache merge | split, as a user calls them."""

import json
from pathlib import Path

import fsspec
import pytest

from pipeline.cache.commands import DAMAGED, UNDER_CONSTRUCTION
from pipeline.cache.parts import read_ids
from pipeline.errors import SettingsError
from storage.read.reader import open_store
from tests.support.makers.cache import cache
from tests.support.makers.parts import (
    ROWS,
    assert_same_values,
    make_part,
    shard_bytes,
    stored_values,
)
from tests.support.makers.store import tree_digest
from tests.support.stores import head_of

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_part(tmp_path_factory.mktemp("whole") / "train.zarr", ROWS)


def test_split_and_merge_print_what_they_did(whole: Path, tmp_path: Path) -> None:
    done = cache("split", whole, tmp_path / "parts", "--num-parts", "3")
    assert done.exit_code == 0
    names = [f"train-{number}-of-3.zarr" for number in (1, 2, 3)]
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == names
    assert done.stdout.count("as they were, 0 encoded again") == 3
    parts = [tmp_path / "parts" / name for name in names]
    done = cache("merge", tmp_path / "new/m.zarr", *parts, "--json")
    found = json.loads(done.stdout)
    assert found == {
        "store": str(tmp_path / "new/m.zarr"),
        "digest": head_of(tmp_path / "new/m.zarr"),
        "num_utterances": len(ROWS),
        "num_frames": sum(row.num_frames for row in ROWS),
        "num_shards": 6,
        "num_shards_as_they_were": 6,
    }
    assert shard_bytes(tmp_path / "new/m.zarr") == shard_bytes(whole)
    text = cache("info", tmp_path / "new/m.zarr").stdout
    for part in parts:
        assert f"merge of            {head_of(part)}" in text
    assert f"corpora             1, the first {'c' * 64}" in text
    assert f"split of            {head_of(whole)}" in cache("info", parts[0]).stdout
    facts = json.loads(cache("info", parts[0], "--json").stdout)
    assert facts["about"]["origin"]["stores"] == [head_of(whole)]
    assert "of  " not in cache("info", whole).stdout.split("ranks")[0]


@pytest.mark.parametrize("form", ["{}\n", "{}\r\n", "{}\0"])
def test_list_of_ids_is_read_from_a_file_or_standard_input(
    whole: Path, tmp_path: Path, form: str
) -> None:
    ids = [ROWS[row].id for row in (3, 1, 12)]
    text = "".join(form.format(id) for id in ids).encode()
    (tmp_path / "list").write_bytes(text)
    for name, done in (
        ("a.zarr", cache("split", whole, tmp_path / "a.zarr", "--utterances", tmp_path / "list")),
        ("b.zarr", cache("split", whole, tmp_path / "b.zarr", "--utterances", "-", stdin=text)),
    ):
        assert done.exit_code == 0, done.output
        assert {row.id for row in open_store(tmp_path / name).utterances} == set(ids)
    assert tree_digest(tmp_path / "a.zarr") == tree_digest(tmp_path / "b.zarr")


def test_ids_may_hold_anything_but_nul() -> None:
    """RELIABILITY 20: also line ends, if the ids are separated by NUL."""
    assert read_ids(b"a b\n\n c\t\n\x0bd\xc2\x85e", where="-") == ["a b", " c\t", "\x0bd\x85e"]
    assert read_ids(b"a\nb\0\0c\r\0", where="-") == ["a\nb", "", "c\r"]
    for content, message in ((b"\n\n", "names no utterance"), (b"\xff\n", "is not UTF-8")):
        with pytest.raises(SettingsError, match=message):
            read_ids(content, where="list.txt")


def test_recode_makes_a_store_of_another_codec_and_names_its_origin(
    whole: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        done = cache("recode", whole, tmp_path / "z.zarr", "--codec", "zstd")
        assert done.exit_code == 0, done.output
        assert "0 of them as they were" in done.stdout
    before, after = open_store(whole), open_store(tmp_path / "z.zarr")
    assert f"sealed: {after.digest}" in done.stdout
    assert_same_values(stored_values(tmp_path / "z.zarr"), stored_values(whole))
    shown = cache("info", tmp_path / "z.zarr").stdout
    assert "recode of" in shown
    assert "format 2, blosc zstd 1, bitshuffle; ids_0: zstd 1; val_0: zstd 1" in shown
    assert before.digest[:12] in shown
    again = cache("recode", whole, tmp_path / "z.zarr", "--codec", "lz4")
    assert again.exit_code == 1


def test_dry_run_of_split_prints_the_plan_and_writes_nothing(whole: Path, tmp_path: Path) -> None:
    done = cache("split", whole, tmp_path / "s", "--num-parts", "4", "--dry-run")
    assert done.exit_code == 0
    assert done.stdout.count("this is a dry run") == 4
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["merge", "{t}/o.zarr"], 2, "Missing argument"),
        (["merge", "{t}/o.zarr", "{w}"], 1, "found 1 store, wanted two or more"),
        (["merge", "{t}/o.zarr", "{w}", "{t}/none.zarr"], 1, "is not there"),
        (["merge", "{t}/o.zarr", "{w}", "{w}"], 1, "are in two stores, with the same content"),
        (["merge", "s3://bucket/o.zarr", "{w}", "{w}"], 2, "not here: name a folder"),
        (["split", "{w}", "http://a:b@host/o", "--num-parts", "2"], 2, "http://***@host/o is not"),
        (["recode", "{w}", "{t}/o.zarr"], 1, "is in format 2, blosc lz4"),
        (["recode", "{w}", "{t}/o.zarr", "--codec", "gzip"], 2, "is not one of"),
        (["split", "{w}", "{t}/o.zarr"], 2, "give either --utterances or --num-parts"),
        (["split", "{w}", "{t}/o", "--num-parts", "2", "--utterances", "-"], 2, "give either"),
        (["split", "{w}", "{t}/o", "--num-parts", "1"], 2, "not in the range"),
        (["split", "{w}", "{t}/o", "--num-parts", "99"], 1, "holds 13 utterances, asked 99"),
        (["split", "{w}", "{t}/o", "--utterances", "{t}/none"], 2, "does not exist"),
        (["split", "{w}", "{t}/o", "--utterances", "-"], 2, "names no utterance"),
    ],
)
def test_impossible_requests_give_an_exit_code_and_a_message(
    whole: Path, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    done = cache(*(word.format(t=tmp_path, w=whole) for word in words))
    assert done.exit_code == code, done.output
    assert message in done.output
    assert list(tmp_path.iterdir()) == []


def test_damaged_and_unfinished_stores_have_their_exit_codes(whole: Path, tmp_path: Path) -> None:
    part = make_part(tmp_path / "p.zarr", ROWS[:4])
    (part / "HEAD").unlink()
    done = cache("split", part, tmp_path / "o", "--num-parts", "2")
    assert done.exit_code == UNDER_CONSTRUCTION
    other = make_part(tmp_path / "q.zarr", ROWS[:4])
    (other / "ids_0/c/1/0").write_bytes(b"")
    done = cache("split", other, tmp_path / "o", "--num-parts", "2")
    assert done.exit_code == DAMAGED
    assert "ids_0/c/1/0" in done.output


def test_damaged_merged_store_is_repaired_by_the_same_merge(whole: Path, tmp_path: Path) -> None:
    cache("split", whole, tmp_path, "--num-parts", "2")
    parts = [tmp_path / f"train-{number}-of-2.zarr" for number in (1, 2)]
    merged = tmp_path / "m.zarr"
    cache("merge", merged, *parts)
    before = tree_digest(merged)
    (merged / "val_1/c/3/0").write_bytes(b"\0" * 99)
    done = cache("repair", merged)
    assert done.exit_code == 0
    assert "run the same 'essence cache merge' again" in done.stdout
    assert not (merged / "HEAD").exists()
    assert cache("merge", merged, *parts).exit_code == 0
    assert tree_digest(merged) == before
    assert_same_values(stored_values(merged), stored_values(whole))


def test_split_of_a_partial_copy_names_the_command_for_its_other_ranks(
    whole: Path, tmp_path: Path
) -> None:
    """The command in the message copies what is needed, and no more."""
    copy = tmp_path / "copy.zarr"
    assert cache("pull", whole, copy, "--k", "4", "--shards", "0-3").exit_code == 0
    ids = "\n".join(ROWS[row].id for row in (0, 3, 5))
    words = ["split", copy, tmp_path / "s.zarr", "--utterances", "-"]
    done = cache(*words, stdin=ids)
    assert done.exit_code == 1
    assert "without all ranks of shards 0-1,3: run 'essence cache pull --shards" in done.output
    assert not (tmp_path / "s.zarr").exists()
    pull = done.output.split("run 'essence cache ")[1].split("' first")[0]
    assert cache(*pull.split()).exit_code == 0
    assert cache(*words, stdin=ids).exit_code == 0
    every = stored_values(whole)
    wanted = {ROWS[row].id: every[ROWS[row].id] for row in (0, 3, 5)}
    assert_same_values(stored_values(tmp_path / "s.zarr"), wanted)
    done = cache("split", copy, tmp_path / "parts", "--num-parts", "2")
    assert done.exit_code == 1
    assert "without all ranks of shards 2" in done.output


def test_merge_and_split_read_from_urls(tmp_path: Path) -> None:
    system = fsspec.filesystem("memory")
    for name, rows in (("a", ROWS[:4]), ("b", ROWS[4:])):
        part = make_part(tmp_path / f"{name}.zarr", rows)
        system.put(str(part), f"/parts/{name}.zarr", recursive=True)
    done = cache("merge", tmp_path / "m.zarr", "memory://parts/a.zarr", tmp_path / "b.zarr")
    assert done.exit_code == 0, done.output
    done = cache("split", "memory://parts/b.zarr", tmp_path / "s", "--num-parts", "3")
    assert done.exit_code == 0, done.output
    parts = [tmp_path / f"s/b-{number}-of-3.zarr" for number in (1, 2, 3)]
    done = cache("merge", tmp_path / "n.zarr", tmp_path / "a.zarr", *parts, "--recode")
    assert done.exit_code == 0, done.output
    assert_same_values(stored_values(tmp_path / "n.zarr"), stored_values(tmp_path / "m.zarr"))
    system.pipe("/parts/a.zarr/ids_0/c/0/0", b"another")
    done = cache("merge", tmp_path / "o.zarr", "memory://parts/a.zarr", tmp_path / "b.zarr")
    assert done.exit_code == DAMAGED
    assert "memory://parts/a.zarr/ids_0/c/0/0 is 7 bytes long" in done.output
    system.rm("/parts", recursive=True)


def test_control_characters_are_escaped_in_output(tmp_path: Path) -> None:
    path = make_part(tmp_path / "a.zarr", ROWS[:2], split="\x1b[31mtrain\u202e\n\x9b")
    text = cache("info", path).stdout
    assert r"\x1b[31mtrain\u202e\n\x9b" in text
    assert text.replace("\n", "").isprintable()
