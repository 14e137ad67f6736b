"""Credentials in an address appear in no output and in no file, whatever a command does with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pipeline.cli import main
from tests.support.makers.kaldi import make_kaldi_directory
from tests.support.makers.pipeline import TINY, essence
from tests.support.servers.remote import http_server, read_objects, shorten_outages

SECRET = "s3cr3t"
USER = f"me:{SECRET}%2Fx%40y"  # as it is written in a URL that works
ODD_USERS = (
    f"me:{SECRET}/x",
    f"me:x/{SECRET}",
    f"me:x@{SECRET}",
    f"me:x?{SECRET}",
    f"{SECRET}:x",
    f"me:{SECRET}{'x' * 60}",
)
EITHER = (0, 1)
QUICK = {"epochs": 1, "batch_frames": 700}
SMALL = {"kind": "tdnn", "hidden": 8, "layers": 1}


@pytest.fixture(autouse=True)
def short_outages(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_outages(monkeypatch)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A directory with a teacher, and its store on a server that asks for a password."""
    here = tmp_path_factory.mktemp("house")
    data = make_kaldi_directory(here / "data", sentences=12)
    settings = TINY | {
        "corpus": {"source": "kaldi", "path": str(data), "features": {"subsample": 1}},
        "ensemble": {"members": [{"name": "one", "architecture": SMALL, "training": QUICK}]},
        "teacher": {**TINY["teacher"], "kept": 5},
        "student": {"k": 3, "architecture": SMALL, "training": QUICK},
        "compare": [],
        "evaluate": {**TINY["evaluate"], "processes": 1},
    }
    (here / "pipeline.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    for command in ("corpus", "ensemble", "teacher"):
        ran = CliRunner().invoke(main, [command, *settings_in(here)])
        assert ran.exit_code == 0, ran.output
    (store,) = here.glob("work/teacher-*/train.zarr")
    with http_server() as server:
        server.objects = read_objects(store)
        yield here, server.url


def settings_in(here: Path) -> list[str]:
    return ["--config", str(here / "pipeline.yaml"), "--set", f"work_dir={here / 'work'}"]


def with_user(url: str, user: str) -> str:
    return url.replace("://", f"://{user}@")


def run(*words: str, codes: tuple[int, ...] = (0,)) -> str:
    """Run a command; its whole output, in which there must be no secret."""
    ran = CliRunner().invoke(main, list(words))
    assert ran.exit_code in codes, ran.output
    assert SECRET not in ran.output
    assert SECRET not in ran.stderr
    return ran.output


def assert_nowhere(folder: Path) -> None:
    for path in folder.rglob("*"):
        assert SECRET not in path.name
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path


def test_secret_is_not_shown_by_commands_on_stores(
    house: tuple[Path, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """RELIABILITY 38: info, verify, pull, split and merge of a store behind a password."""
    url = with_user(house[1], USER)
    for command in ("info", "verify"):
        assert "***@127.0.0.1" in run("cache", command, url)
        run("cache", command, "--json", url)
    run("cache", "pull", "--k", "1", url, str(tmp_path / "part.zarr"))
    assert "***@127.0.0.1" in (tmp_path / "part.zarr" / "part.json").read_text()
    run("cache", "pull", "--json", url, str(tmp_path / "whole.zarr"))
    run("cache", "split", "--num-parts", "2", url, str(tmp_path / "parts"))
    parts = map(str, sorted((tmp_path / "parts").iterdir()))
    run("cache", "merge", "--json", str(tmp_path / "merged.zarr"), *parts)
    assert_nowhere(tmp_path)
    assert SECRET not in "".join(capfd.readouterr())


@pytest.mark.parametrize("user", ODD_USERS)
def test_secret_with_unescaped_characters_is_not_shown(
    house: tuple[Path, str], tmp_path: Path, user: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """RELIABILITY 38: some such addresses work, others fail with a message."""
    unreachable = (f"{scheme}://{user}@127.0.0.1:9/a.zarr" for scheme in ("https", "sftp"))
    for url in (with_user(house[1], user), *unreachable):
        run("cache", "info", url, codes=EITHER)
        run("cache", "pull", url, str(tmp_path / "a.zarr"), codes=EITHER)
        run("cache", "push", str(tmp_path), url, codes=EITHER)
        run("student", *settings_in(house[0]), "--set", f"student.store={url}", codes=EITHER)
        run("student", *settings_in(house[0]), "--set", f"student.k.x={url}", codes=(2,))
        run("student", *settings_in(house[0]), "--set", f"student.k={url}", codes=(2,))
        run("student", *settings_in(house[0]), "--set", f"student.store=[{url}", codes=(2,))
    assert_nowhere(tmp_path)
    assert SECRET not in "".join(capfd.readouterr())


def test_presigned_query_is_not_shown(house: tuple[Path, str], tmp_path: Path) -> None:
    """RELIABILITY 38: a presigned address is a password."""
    url = f"{house[1]}?X-Amz-Signature={SECRET}"
    assert "a.zarr?***" in run("cache", "info", url, codes=(1,))
    run("cache", "pull", url, str(tmp_path / "a.zarr"), codes=(1,))
    run("student", *settings_in(house[0]), "--set", f"student.store={url}", codes=(1,))


def test_secret_of_a_compared_store_is_in_no_artefact(house: tuple[Path, str]) -> None:
    """RELIABILITY 38: students, their evaluations, the page, a sweep and its JSON."""
    here, url = house[0], with_user(house[1], USER)
    compared = ("--set", f"compare=[{{store: '{url}', k: 2}}, {{store: '{url}', k: 1}}]")
    words = [*settings_in(here), *compared]
    run("run", *words)
    run("status", *words)
    for form in ((), ("--json",), ("--csv",)):
        vary = f"student.store={url}"
        run("sweep", *settings_in(here), "--vary", vary, "--k", "1,2", "--no-evaluate", *form)
    assert len(list(here.glob("work/student-*"))) >= 3
    assert_nowhere(here / "work")


def test_secret_is_not_logged_when_a_server_is_unreachable(tmp_path: Path) -> None:
    """RELIABILITY 38: a real process, with what its libraries print."""
    ran = essence(tmp_path, "cache", "pull", f"http://{USER}@127.0.0.1:9/a.zarr", "a.zarr")
    assert ran.returncode == 1
    assert "http://***@127.0.0.1:9/a.zarr/HEAD cannot be read" in ran.stderr
    assert SECRET not in ran.stderr + ran.stdout
