"""ShortAnswer: an HTTP response of which no more is read than was requested.

fsspec reads a response to its end. A server that ignores ranges, or never stops sending, would
fill the memory. Imported only if aiohttp is installed.
"""

import re

import aiohttp

PIECE_BYTES = 1 << 16
REDIRECTS = range(300, 400)
UNASKED_BYTES = 1 << 16  # read of a response to a request without range


class Redirected(PermissionError):
    """The server redirects to another address."""

    def __init__(self) -> None:
        super().__init__(0, "it redirects to another address, which is not followed: name that one")


class ShortAnswer(aiohttp.ClientResponse):
    """Reads one byte more than was requested, and hangs up: the caller sees that it is too long."""

    async def read(self) -> bytes:
        """The body, or its beginning.

        Raises:
            Redirected: when the server redirects to another address.
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
        # A connection with an unread rest cannot serve the next request: it is closed, not reused.
        if num_bytes == most:
            self.close()
        else:
            self.release()
        return b"".join(pieces)

    def _num_asked(self) -> int:
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.request_info.headers.get("Range", ""))
        return int(found[2]) + 1 - int(found[1]) if found else UNASKED_BYTES
