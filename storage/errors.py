"""Errors that a user can act on: what was found, what was wanted, what to do.

EssenceError                  the root: the command line prints its message and exits with 1
└── StorageError              a file of the program is not what it should be
    ├── CorpusFileError       a corpus file cannot be read or written
    └── StoreError            a soft-label store cannot be read or written
        ├── StoreIncomplete   it has no HEAD yet: it is under construction
        ├── StoreCorrupt      bytes are missing, or differ from those written
        ├── StorePartial      this copy holds a part of the store, and another part is needed
        ├── StoreMismatch     it was made from another corpus, ensemble or class inventory
        └── StoreUnreachable  the system or the server refuses: permission, disk, network
"""


class EssenceError(Exception):
    """Any error that the user can fix, not the programmer."""


class StorageError(EssenceError):
    """A file of the program is not what it should be."""


class CorpusFileError(StorageError):
    """A corpus file cannot be read or written."""


class StoreError(StorageError):
    """A soft-label store cannot be read or written."""


class StoreIncomplete(StoreError):
    """The store has no HEAD: it is under construction."""


class StoreCorrupt(StoreError):
    """Bytes of the store are missing, or differ from those written."""


class StorePartial(StoreError):
    """This copy holds a part of the store, and another part is needed."""


class StoreMismatch(StoreError):
    """The store was made from another corpus, ensemble or class inventory."""


class StoreUnreachable(StoreError):
    """The system or the server refuses to let it be read or written."""


def shown(value: object, most: int = 1000) -> str:
    """A value as it is printed in a message, cut if it is long."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"
