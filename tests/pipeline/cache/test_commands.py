"""essence cache: output and exit codes for sound, damaged and unfinished stores."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from pipeline.cache.commands import DAMAGED, UNDER_CONSTRUCTION
from storage.corpus.corpus_file import CorpusAbout, CorpusFile
from storage.corpus.corpus_writer import CorpusWriter
from storage.read.reader import open_store
from storage.write.recorder import record
from storage.write.writer import StoreWriter
from tests.support.makers.cache import cache
from tests.support.makers.store import (
    fill_store,
    make_about,
    make_logp,
    make_utterances,
    shard_block,
    tree_digest,
    utterances_of,
)

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


COMMANDS = ("info", "verify", "audit", "show", "repair")
LENGTHS = (5, 0, 20, 33, 1, 10)
PNG = b"\x89PNG\r\n"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hard labels for the utterances of the store; the first frame of each has none."""
    path = tmp_path_factory.mktemp("corpus") / "train.h5"
    about = CorpusAbout(
        split="train",
        num_classes=23,
        feature_dim=3,
        frame_shift_ms=30.0,
        subsampling=3,
        class_inventory="d" * 64,
        has_labels=True,
        feature_settings={},
    )
    rng = np.random.default_rng(5)
    with CorpusWriter(path, about) as writer:
        for row in make_utterances(LENGTHS):
            labels_T = rng.integers(0, 23, size=row.num_frames).astype(np.int32)
            labels_T[:1] = -1
            features_TF = rng.normal(size=(row.num_frames, 3)).astype(np.float32)
            writer.add(
                row.id,
                speaker="ada",
                transcript="a word",
                features_TF=features_TF,
                labels_T=labels_T,
            )
    return path


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    """A sealed store of the corpus; tests do not change it."""
    path = tmp_path_factory.mktemp("sound") / "train.zarr"
    with CorpusFile(corpus) as opened:
        about = make_about(corpus_fingerprint=opened.fingerprint)
        fill_store(path, about, utterances=utterances_of(opened))
    return path


@pytest.fixture
def store(sound: Path, tmp_path: Path) -> Path:
    """A copy for a test to damage, in a teacher's artefact."""
    folder = tmp_path / "work" / "teacher-0123456789ab"
    folder.mkdir(parents=True)
    (folder / "made.json").write_text("{}")
    return Path(shutil.copytree(sound, folder / "train.zarr"))


def damage(store: Path, name: str) -> None:
    content = bytearray((store / name).read_bytes())
    content[len(content) // 2] ^= 16
    (store / name).write_bytes(content)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_each_have_an_example_in_their_help(command: str) -> None:
    shown = cache(command, "--help")
    assert shown.exit_code == 0
    assert f"Example: essence cache {command}" in shown.output


@pytest.fixture
def url(store: Path) -> Iterator[str]:
    """The store in fsspec's memory; for HTTP and S3 see tests/storage/place."""
    memory, place = fsspec.filesystem("memory"), "memory://test_cache/train.zarr"
    memory.put(str(store), place, recursive=True)
    yield place
    memory.rm("memory://test_cache", recursive=True)


def test_commands_accept_a_url_in_place_of_a_path(
    sound: Path, corpus: Path, url: str, tmp_path: Path
) -> None:
    for words in (
        ["info"],
        ["info", "--json"],
        ["verify"],
        ["verify", "--data", "--subset", "2/3", "--json"],
        ["verify", "--data"],
        ["audit", "--json", "--corpus", corpus],
        ["show", "--json", "--k", "4"],
    ):
        rest = ["../ütt/3"] if words[0] == "show" else []
        rest += ["--out", tmp_path / "a.png"] if words[0] in ("audit", "show") else []
        here, there = (cache(*words, place, *rest) for place in (sound, url))
        assert there.exit_code == here.exit_code == 0, there.stderr
        assert there.stdout == here.stdout.replace(str(sound), url)


def test_exit_codes_are_the_same_for_a_url(url: str) -> None:
    memory = fsspec.filesystem("memory")
    name = f"{url}/val_1/c/1/0"
    memory.pipe_file(name, memory.cat_file(name)[:-1] + b"?")
    result = cache("verify", "--data", url)
    assert result.exit_code == DAMAGED
    assert f"{name}: its sha256 differs" in result.stdout
    assert "copy it again" in result.stdout
    result = cache("repair", url)
    assert result.exit_code == 1
    assert f"{url} is on a server" in result.stderr
    memory.rm_file(f"{url}/HEAD")
    for command in ("info", "verify", "audit"):
        assert cache(command, url).exit_code == UNDER_CONSTRUCTION
    assert cache("info", "nonsense://host/a.zarr").exit_code == 1


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("what", ["absent", "file", "folder"])
def test_path_without_a_store_gives_one_line_of_error(
    tmp_path: Path, command: str, what: str
) -> None:
    place = tmp_path / what
    if what == "file":
        place.write_text("no store")
    if what == "folder":
        place.mkdir()
        (place / "notes.txt").write_text("no store")
    words = [command, place, *(["someone"] if command == "show" else [])]
    result = cache(*words)
    assert result.exit_code == 1
    assert "is not there" in result.stderr or "is no soft-label store" in result.stderr
    assert result.stderr.count("\n") <= 2
    assert not result.stdout


def test_info_reads_headers_only(store: Path) -> None:
    for shard in store.glob("*_[0-9]/c"):
        shutil.rmtree(shard)
    text = cache("info", store).stdout
    assert "23, of which 7 are kept a frame" in text
    assert "69 in 6 utterances" in text
    facts = json.loads(cache("info", "--json", store).stdout)
    assert [tier["ranks"] for tier in facts["tiers"]] == [[1, 1], [2, 4], [5, 7]]
    assert facts["about"]["members"] == ["a" * 64, "b" * 64]
    assert facts["digest"] == open_store(store).digest


def test_info_and_show_of_a_recorded_store_name_what_was_not_recorded(tmp_path: Path) -> None:
    path = tmp_path / "train.zarr"
    with record(path, k=7, num_classes=23, made_by="my program") as recorder:
        recorder.add("utt", make_logp(20, 23))
    text = cache("info", path).stdout
    assert "frame            shift not recorded (subsampling 1)" in text
    assert "class inventory  not recorded" in text
    assert "written by       my program" in text
    shown = cache("show", path, "--out", tmp_path / "a.png")
    assert "the frame shift is not recorded: 10 ms assumed" in shown.stderr
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)


def test_verify_prints_that_a_sound_store_is_sound(sound: Path) -> None:
    assert "sound: " in cache("verify", "--data", sound).stdout
    assert cache("verify", sound).exit_code == 0
    found = json.loads(cache("verify", "--json", "--data", sound).stdout)
    assert found["problems"] == []
    assert found["num_shards"] == 3


def test_damage_has_a_separate_exit_code_and_names_the_object(store: Path) -> None:
    """RELIABILITY 8: sizes, data, distinct exit codes."""
    damage(store, "val_1/c/1/0")
    assert cache("verify", store).exit_code == 0
    result = cache("verify", "--data", store)
    assert result.exit_code == DAMAGED
    assert "val_1/c/1/0: its sha256 differs" in result.stdout
    (store / "HEAD").write_text("x")
    assert cache("verify", store).exit_code == DAMAGED
    assert cache("audit", store).exit_code == DAMAGED


@pytest.mark.parametrize("parts", [1, 3, 7])
def test_verify_subsets_cover_the_whole_store(store: Path, parts: int) -> None:
    """RELIABILITY 8: --subset n/t; the damaged object is in one of the parts."""
    damage(store, "ids_2/c/2/0")
    found = [
        json.loads(cache("verify", "--data", "--json", "--subset", f"{n}/{parts}", store).stdout)
        for n in range(1, parts + 1)
    ]
    assert sum(part["num_checked"] for part in found) == found[0]["num_objects"]
    assert sum(len(part["problems"]) for part in found) == 1


@pytest.mark.parametrize("subset", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2"])
def test_invalid_subset_is_misuse(sound: Path, subset: str) -> None:
    assert cache("verify", "--data", f"--subset={subset}", sound).exit_code == 2


def test_unfinished_store_lists_absent_shards(tmp_path: Path) -> None:
    """RELIABILITY 7: an unfinished store never looks complete."""
    path = tmp_path / "a.zarr"
    writer = StoreWriter.create(path, make_about(), utterances=make_utterances(LENGTHS))
    writer.write_shard(1, shard_block(writer, 1))
    for words in (["verify"], ["audit"], ["show", "x"]):
        result = cache(words[0], path, *words[1:])
        assert result.exit_code == UNDER_CONSTRUCTION
        assert "under construction (1 shards are done" in result.stderr
    result = cache("verify", "--allow-partial", "--data", path)
    assert result.exit_code == 0
    assert "2 of 3 shards are absent: 0, 2" in result.stdout
    assert "sound" not in result.stdout
    assert json.loads(cache("verify", "--json", "--allow-partial", path).stdout)["digest"] == ""
    assert "under construction, 2 of 3 shards absent" in cache("info", path).stdout
    damage(path, "tail_1/c/1")
    result = cache("verify", "--allow-partial", "--data", path)
    assert result.exit_code == DAMAGED
    assert "tail_1/c/1: its sha256" in result.stdout


def test_repair_removes_damaged_shards_only(store: Path) -> None:
    """RELIABILITY 8: remade shards have the same bytes; the artefact is no longer fresh."""
    before, digest = tree_digest(store), open_store(store).digest
    damage(store, "val_1/c/1/0")
    (store / "stranger").write_text("x")
    damaged = tree_digest(store)
    dry = json.loads(cache("repair", "--json", "--dry-run", store).stdout)
    assert dry["damaged_shards"] == [1]
    assert tree_digest(store) == damaged
    assert "damaged shards: 1" in cache("repair", store).stdout
    reopened = store.parent.with_name(store.parent.name + ".partial") / store.name
    assert not store.parent.exists()
    assert cache("verify", reopened).exit_code == UNDER_CONSTRUCTION
    writer = StoreWriter.open(reopened)
    assert writer.missing_shards() == [1]
    writer.write_shard(1, shard_block(writer, 1))
    assert writer.seal() == digest
    assert tree_digest(reopened) == before
    quarantine = reopened.with_name("train.zarr.quarantine")
    assert {path.name for path in quarantine.iterdir()} >= {"HEAD", "stranger", "val_1.c.1.0"}


def test_repair_rewrites_metadata_that_follow_from_the_rest(store: Path) -> None:
    before = tree_digest(store)
    damage(store, "tail_1/zarr.json")
    assert cache("verify", "--data", store).exit_code == DAMAGED
    result = cache("repair", store)
    assert "1 metadata objects were written again" in result.stdout
    assert tree_digest(store) == before
    assert "nothing is damaged" in cache("repair", store).stdout


def test_repair_refuses_a_damaged_utterance_table(store: Path) -> None:
    damage(store, "utterances/length/c/0")
    result = cache("repair", store)
    assert result.exit_code == DAMAGED
    assert "cannot be repaired: take" in result.stderr
    assert store.exists()


def test_audit_prints_kept_mass_and_hard_labels_for_each_k(
    sound: Path, corpus: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "audit.png"
    result = cache("audit", sound, "--corpus", corpus, "--out", picture)
    assert result.exit_code == 0
    assert "hard label inside" in result.stdout
    assert "train: rank 1 is not the hard label in" in result.stdout
    assert "mean -ln q(label)" in result.stdout
    assert picture.read_bytes().startswith(PNG)
    words = ["audit", sound, "--json", "--out", picture]
    found = json.loads(cache(*words).stdout)
    assert list(found["kept_mass"]) == ["1", "2", "4", "7"]
    assert found["hard_label_inside"] == {}


def test_show_draws_an_utterance(sound: Path, corpus: Path, tmp_path: Path) -> None:
    picture = tmp_path / "show.png"
    words = ["show", sound, "../ütt/3", "--out", picture, "--corpus", corpus, "--k", "4"]
    facts = json.loads(cache(*words, "--json").stdout)
    assert (facts["frames"], facts["k"], facts["utterance"]) == (33, 4, "../ütt/3")
    assert picture.read_bytes().startswith(PNG)
    assert "frames: 33" in cache(*words).stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nobody"], "holds no utterance 'nobody'"),
        (["../ütt/1"], "has no frames"),
        (["../ütt/0", "--k", "8"], "holds K=7, asked k=8"),
        (["../ütt/0", "--corpus", "absent.h5"], "absent.h5"),
    ],
)
def test_show_names_what_cannot_be_drawn(sound: Path, words: list[str], message: str) -> None:
    result = cache("show", sound, *words)
    assert result.exit_code == 1
    assert message in result.stderr
