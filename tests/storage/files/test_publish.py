"""Publication: a file has the old content or the new content, never a part of it."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.files.publish import (
    publish_copy,
    publish_directory,
    publish_file,
    publish_pieces,
    sync_tree,
    write_and_sync,
)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_publish_file_writes_the_content_and_no_other_file(tmp_path: Path) -> None:
    for content in (b"one", b"", b"three" * 1000):
        publish_file(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == content
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("step", ["write", "replace"])
def test_publish_file_keeps_the_old_content_on_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    publish_file(tmp_path / "file", b"old")

    def torn() -> Iterator[bytes]:
        yield b"new"
        if step == "write":
            raise OSError("disk full")

    def refuse(*_: object) -> None:
        raise OSError("disk full")

    if step == "replace":
        monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        publish_pieces(tmp_path / "file", torn())
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_publish_file_flushes_before_it_renames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    replace = os.replace

    def noted_replace(source: Path, target: Path) -> None:
        steps.append("replace")
        replace(source, target)

    def noted_fsync(handle: int) -> None:
        where = Path(f"/proc/self/fd/{handle}").resolve()
        steps.append("fsync directory" if where.is_dir() else "fsync file")

    monkeypatch.setattr(os, "replace", noted_replace)
    monkeypatch.setattr(os, "fsync", noted_fsync)
    publish_file(tmp_path / "file", b"content")
    assert steps == ["fsync file", "replace", "fsync directory"]


def test_publish_directory_flushes_everything_before_it_renames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = tmp_path / "a.partial"
    (partial / "inner").mkdir(parents=True)
    write_and_sync(partial / "inner" / "file", b"content")
    flushed: set[str] = set()

    def noted_fsync(handle: int) -> None:
        flushed.add(Path(f"/proc/self/fd/{handle}").resolve().name)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    sync_tree(partial)
    assert flushed == {"a.partial", "inner", "file"}
    publish_directory(partial, tmp_path / "a")
    assert (tmp_path / "a" / "inner" / "file").read_bytes() == b"content"
    assert names(tmp_path) == ["a"]


def test_publish_directory_never_replaces_another(tmp_path: Path) -> None:
    for name in ("a", "a.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    with pytest.raises(FileExistsError, match="is there already; it is not replaced"):
        publish_directory(tmp_path / "a.partial", tmp_path / "a")
    assert (tmp_path / "a" / "file").read_text() == "a"
    assert (tmp_path / "a.partial" / "file").read_text() == "a.partial"


def test_copy_has_the_bytes_and_its_digest_is_returned(tmp_path: Path) -> None:
    content = os.urandom((1 << 20) + 7)  # more than is read at once
    (tmp_path / "source").write_bytes(content)
    digest = publish_copy(tmp_path / "source", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    assert digest == hashlib.sha256(content).hexdigest()
    assert names(tmp_path) == ["copy", "source"]


def test_copy_of_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        publish_copy(tmp_path / "pipe", tmp_path / "copy")
    assert names(tmp_path) == ["pipe"]
