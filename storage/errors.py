"""Errors a person can act on: what was found, what was wanted, what to do.

EssenceError                 the root: the command line prints its message and exits with 1
└── StorageError             a file of ours is not what it should be
    ├── CorpusFileError      a corpus file cannot be read or written
    └── StoreError           a soft-label store cannot be read or written
        ├── StoreIncomplete  it has no HEAD yet: the teacher has not finished
        ├── StoreCorrupt     bytes are missing or differ from what was written
        ├── StorePartial     this copy holds a part, and another one is asked for
        ├── StoreMismatch    it was made from another corpus, ensemble or class inventory
        └── StoreUnreachable the system does not let us read: no right, no disk, a stale handle
"""


class EssenceError(Exception):
    """Anything that a person, not a programmer, must mend."""


class StorageError(EssenceError):
    """A file of ours is not what it should be."""


class CorpusFileError(StorageError):
    """A corpus file cannot be read or written."""


class StoreError(StorageError):
    """A soft-label store cannot be read or written."""


class StoreIncomplete(StoreError):
    """The store has no HEAD: it is under construction."""


class StoreCorrupt(StoreError):
    """Bytes of the store are missing, or differ from what was written."""


class StorePartial(StoreError):
    """This copy holds a part of the store, and another part is asked for."""


class StoreMismatch(StoreError):
    """The store was made from another corpus, ensemble or class inventory."""


class StoreUnreachable(StoreError):
    """The system does not let us read: no right, no disk, a stale handle."""


def shown(value: object, most: int = 1000) -> str:
    """A value as it stands in a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"
