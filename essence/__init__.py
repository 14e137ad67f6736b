"""essence: the public names of the library, each imported when it is first used.

    import essence

    store = essence.open_store("train.zarr")
    labels = store.read(["utterance-1"], k=8)

`import essence` itself loads neither numpy, zarr and h5py nor torch. `essence.torch` has what a
trainer in PyTorch needs, and is the only name that imports torch. The names are described in
docs/library.md; the command line is `python -m essence`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from essence.floors import refuse_other_floors

if TYPE_CHECKING:
    from essence import torch as torch
    from storage.care.audit import audit_store as audit
    from storage.care.match import match_corpus
    from storage.contents.frame_map import Span
    from storage.corpus.corpus_file import CorpusFile
    from storage.errors import EssenceError
    from storage.files.fingerprint import inventory_digest
    from storage.format.layout import StoreAbout, StoreUtterance
    from storage.format.value_code import LOGP_OF_CODE
    from storage.read.reader import open_store
    from storage.read.soft_labels import SoftLabels
    from storage.write.recorder import record
    from storage.write.top_k import keep_top_k
    from storage.write.writer import StoreWriter

    __version__: str

__all__ = [
    "LOGP_OF_CODE",
    "CorpusFile",
    "EssenceError",
    "SoftLabels",
    "Span",
    "StoreAbout",
    "StoreUtterance",
    "StoreWriter",
    "__version__",
    "audit",
    "inventory_digest",
    "keep_top_k",
    "match_corpus",
    "open_store",
    "record",
]

# A type checker reads the imports above, the interpreter this table; a test compares the two.
_OWNERS = {
    "CorpusFile": "storage.corpus.corpus_file.CorpusFile",
    "EssenceError": "storage.errors.EssenceError",
    "LOGP_OF_CODE": "storage.format.value_code.LOGP_OF_CODE",
    "SoftLabels": "storage.read.soft_labels.SoftLabels",
    "Span": "storage.contents.frame_map.Span",
    "StoreAbout": "storage.format.layout.StoreAbout",
    "StoreUtterance": "storage.format.layout.StoreUtterance",
    "StoreWriter": "storage.write.writer.StoreWriter",
    "__version__": "stages.contract.version.VERSION",
    "audit": "storage.care.audit.audit_store",
    "inventory_digest": "storage.files.fingerprint.inventory_digest",
    "keep_top_k": "storage.write.top_k.keep_top_k",
    "match_corpus": "storage.care.match.match_corpus",
    "open_store": "storage.read.reader.open_store",
    "record": "storage.write.recorder.record",
}

if not TYPE_CHECKING:  # to a type checker, a module with __getattr__ has every attribute

    def __getattr__(name: str) -> Any:
        if name == "torch":  # not in __all__: `from essence import *` works without torch
            return import_module("essence.torch")
        if name not in _OWNERS:
            raise AttributeError(f"module 'essence' has no attribute {name!r}")
        refuse_other_floors()
        module, _, attribute = _OWNERS[name].rpartition(".")
        value = getattr(import_module(module), attribute)
        globals()[name] = value  # found there from now on, without this function
        return value


def __dir__() -> list[str]:
    return [*globals(), *__all__, "torch"]
