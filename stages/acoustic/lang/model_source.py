"""Model source: the tokens, numbers and topology of a Kaldi model file, in binary or text form.

binary   \\0B, then tokens that end with a space, numbers that begin with their size in bytes
text     everything separated by white space

Every count is compared with the bytes that are left before memory is taken for it. The formats are
those of WriteToken, WriteBasicType, WriteIntegerVector (base/io-funcs*.h) and of HmmTopology::Write
(hmm/hmm-topology.cc).
"""

import struct
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

NO_PDF = -1  # of a state that emits nothing
MAX_TOKEN = 64  # characters
END = b"</TransitionModel>"

TopologyState = tuple[int, tuple[int, ...]]  # forward pdf-class, next states
Topology = dict[int, list[TopologyState]]  # by phone


class Damage(Exception):
    """The bytes are not those of a model."""


class ModelSource(Protocol):
    """A position in a model file, and what comes next there. All raise Damage."""

    def token(self) -> str:
        """The next token."""

    def integer(self) -> int:
        """An int32."""

    def count(self, *, each: int) -> int:
        """A number of items of `each` integers, which the rest of the file can hold."""

    def integers(self, count: int) -> NDArray[np.int64]:
        """Successive integers (count,)."""

    def floats(self) -> NDArray[np.float32]:
        """A vector."""

    def topology(self) -> Topology:
        """The states of each phone's HMM, up to and with </Topology>."""


def open_source(content: bytes) -> ModelSource:
    """The source for the form of `content`, the beginning of a model file."""
    return BinarySource(content) if content[:2] == b"\0B" else TextSource(content)


def expect(source: ModelSource, wanted: str) -> None:
    """Read one token.

    Raises:
        Damage: when it is another one.
    """
    found = source.token()
    if found != wanted:
        raise Damage(f"found {found[:40]!r}, wanted {wanted!r}")


class BinarySource:
    """The binary form: a token ends with a space, a number begins with its size in bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 2

    def _take(self, num_bytes: int) -> bytes:
        end = self._at + num_bytes
        if end > len(self._content):
            raise Damage(f"{num_bytes} bytes wanted, {len(self._content) - self._at} found")
        taken, self._at = self._content[self._at : end], end
        return taken

    def token(self) -> str:
        """The text before the next space."""
        end = self._content.find(b" ", self._at, self._at + MAX_TOKEN)
        if end < 0:
            raise Damage("no token")
        return self._take(end + 1 - self._at)[:-1].decode("ascii", "replace")

    def integer(self) -> int:
        """An int32."""
        size, value = struct.unpack("<bi", self._take(5))
        if size != 4:
            raise Damage(f"an integer of {size} bytes, wanted 4")
        return int(value)

    def count(self, *, each: int) -> int:
        """A number of items of `each` integers, which the rest of the file can hold."""
        count = self.integer()
        if not 0 <= count <= (len(self._content) - self._at) // (5 * each):
            raise Damage(f"{count} items, more than the file can hold")
        return count

    def integers(self, count: int) -> NDArray[np.int64]:
        """Successive integers."""
        pairs = np.frombuffer(
            self._take(5 * count), dtype=np.dtype([("size", "u1"), ("value", "<i4")])
        )
        if (pairs["size"] != 4).any():
            raise Damage("an integer of another size, wanted 4 bytes")
        return pairs["value"].astype(np.int64)

    def floats(self) -> NDArray[np.float32]:
        """A vector of float32 or float64."""
        kind = self.token()
        if kind not in ("FV", "DV"):
            raise Damage(f"found {kind!r}, wanted a vector")
        dtype = np.dtype("<f4" if kind == "FV" else "<f8")
        size = self.integer()
        return np.frombuffer(self._take(max(0, size) * dtype.itemsize), dtype).astype(np.float32)

    def topology(self) -> Topology:
        """The phones, and for each the number of its entry; then the entries."""
        phones, entry_of = self._vector(), self._vector()
        size = self.integer()
        is_extended = size == -1  # self-loops have a pdf-class of their own
        entries = []
        for _ in range(self.integer() if is_extended else size):
            num_states = self.integer()
            entries.append([self._state(is_extended=is_extended) for _ in range(num_states)])
        expect(self, "</Topology>")
        if any(not 0 <= phone < len(entry_of) for phone in phones) or any(
            not 0 <= entry_of[phone] < len(entries) for phone in phones
        ):
            raise Damage("a phone without a topology")
        return {phone: entries[entry_of[phone]] for phone in phones}

    def _state(self, *, is_extended: bool) -> TopologyState:
        pdf_class = self.integer()
        if is_extended:
            self.integer()
        targets = []
        for _ in range(self.integer()):
            targets.append(self.integer())
            self._take(5)  # its probability before training
        return pdf_class, tuple(targets)

    def _vector(self) -> list[int]:
        size, count = struct.unpack("<bi", self._take(5))
        if size != 4 or count < 0:
            raise Damage("a vector of other integers, wanted int32")
        return list(struct.unpack(f"<{count}i", self._take(4 * count)))


class TextSource:
    """The text form: everything is separated by white space."""

    def __init__(self, content: bytes) -> None:
        # The acoustic model after the end may be large, and is not needed.
        end = content.find(END)
        if end < 0:
            raise Damage(f"no {END.decode()} in the first {len(content):,} bytes")
        self._tokens = content[: end + len(END)].decode("ascii", "replace").split()
        self._next = 0

    def token(self) -> str:
        """The next token."""
        if self._next >= len(self._tokens):
            raise Damage("the text ends within the transition model")
        self._next += 1
        return self._tokens[self._next - 1]

    def integer(self) -> int:
        """The next token, as an integer."""
        return _as_integer(self.token())

    def count(self, *, each: int) -> int:
        """A number of items of `each` integers, which the rest of the text can hold."""
        count = self.integer()
        if not 0 <= count <= (len(self._tokens) - self._next) // each:
            raise Damage(f"{count} items, more than the file can hold")
        return count

    def integers(self, count: int) -> NDArray[np.int64]:
        """Successive integers."""
        return np.array([self.integer() for _ in range(count)], np.int64)

    def floats(self) -> NDArray[np.float32]:
        """A vector between brackets."""
        expect(self, "[")
        values = []
        while (token := self.token()) != "]":
            try:
                values.append(float(token))
            except ValueError as cause:
                raise Damage(f"found {token[:20]!r}, wanted a number") from cause
        return np.array(values, np.float32)

    def topology(self) -> Topology:
        """Entries, each for a list of phones."""
        topology: Topology = {}
        while (token := self.token()) != "</Topology>":
            if token != "<TopologyEntry>":
                raise Damage(f"found {token[:40]!r}, wanted <TopologyEntry>")
            expect(self, "<ForPhones>")
            phones = [_as_integer(token) for token in self._until("</ForPhones>")]
            states = list(self._states())
            topology |= dict.fromkeys(phones, states)
        return topology

    def _states(self) -> Iterator[TopologyState]:
        while (token := self.token()) != "</TopologyEntry>":
            if token != "<State>":
                raise Damage(f"found {token[:40]!r}, wanted <State>")
            fields = list(self._until("</State>"))
            pdf_class, targets = NO_PDF, []
            for at, field in enumerate(fields[:-1]):
                if field in ("<PdfClass>", "<ForwardPdfClass>"):
                    pdf_class = _as_integer(fields[at + 1])
                elif field == "<Transition>":
                    targets.append(_as_integer(fields[at + 1]))
            yield pdf_class, tuple(targets)

    def _until(self, end: str) -> Iterator[str]:
        while (token := self.token()) != end:
            yield token


def _as_integer(token: str) -> int:
    if not token.removeprefix("-").isdecimal() or len(token) > 10:
        raise Damage(f"found {token[:20]!r}, wanted an integer")
    return int(token)
