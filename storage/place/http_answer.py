"""ShortAnswer: an HTTP answer of which no more is read than was asked for.

fsspec reads an answer to its end. A server that ignores ranges, or that never stops, would fill
the memory. Loaded only where aiohttp is.
"""

import re

import aiohttp

PIECE_BYTES = 1 << 16
REDIRECTS = range(300, 400)
UNASKED_BYTES = 1 << 16  # of an answer whose request names no range


class Redirected(PermissionError):
    """The server sends us elsewhere."""

    def __init__(self) -> None:
        super().__init__(0, "it sends us to another address, which is not followed: name that one")


class ShortAnswer(aiohttp.ClientResponse):
    """Read one byte more than was asked for, and hang up: who asked sees that it is too long."""

    async def read(self) -> bytes:
        """The body, or its beginning.

        Raises:
            Redirected: when the server sends us elsewhere.
        """
        if self.status in REDIRECTS:
            self.close()
            raise Redirected
        if self._body is None:
            self._body = await self._read_short(self._num_asked() + 1)
        return self._body

    async def _read_short(self, most: int) -> bytes:
        pieces, num_bytes = [], 0
        try:
            while num_bytes < most:
                piece = await self.content.read(min(PIECE_BYTES, most - num_bytes))
                if not piece:
                    break
                pieces.append(piece)
                num_bytes += len(piece)
        except BaseException:
            self.close()
            raise
        if num_bytes == most:
            self.close()
        else:
            self.release()
        return b"".join(pieces)

    def _num_asked(self) -> int:
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.request_info.headers.get("Range", ""))
        return int(found[2]) + 1 - int(found[1]) if found else UNASKED_BYTES
