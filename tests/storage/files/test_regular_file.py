"""A regular file is opened; what is none is refused at once, a pipe without a writer included."""

import os
from pathlib import Path

import pytest

from storage.files.fingerprint import file_digest, sampled_digest
from storage.files.regular_file import open_regular


def test_regular_file_is_opened_also_at_the_end_of_a_link(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "b").symlink_to("a")
    for name in ("a", "b"):
        with open_regular(tmp_path / name) as file:
            assert file.read() == b"content"


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "missing"])
def test_anything_else_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path = Path("/dev/zero")
    wanted = "No such file" if kind == "missing" else "not a regular file"
    for read in (open_regular, file_digest, sampled_digest):
        with pytest.raises(OSError, match=wanted) as caught:
            read(path)
        assert caught.value.filename == str(path)
