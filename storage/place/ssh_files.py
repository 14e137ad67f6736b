"""SshFiles: fsspec's file system over ssh, reading ranges of a file instead of all of it.

sshfs has no ranges: for a range, fsspec would fetch the whole file. Imported only if sshfs is
installed.
"""

from typing import Any

from sshfs import SSHFileSystem
from sshfs.utils import wrap_exceptions


class SshFiles(SSHFileSystem):  # type: ignore[misc]  # it has no types
    """As sshfs, with ranges."""

    protocol = ("ssh", "sftp")

    @wrap_exceptions  # type: ignore[untyped-decorator]
    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes:
        begin = start or 0
        size = -1 if end is None else end - begin
        async with self._pool.get() as channel, channel.open(path, "rb") as file:
            return bytes(await file.read(size, begin))
