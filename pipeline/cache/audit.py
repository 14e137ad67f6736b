"""The audit that `essence cache audit` prints: from the teacher's summary, or by reading it."""

from contextlib import ExitStack
from pathlib import Path

from pipeline.terminal.progress import TerminalProgress
from stages.teacher.summary import read_audit
from storage.care.audit import audit_store
from storage.care.store_audit import StoreAudit
from storage.corpus.corpus_file import CorpusFile
from storage.place.place import Place
from storage.read.reader import open_store


def dev_audit(store: Place | Path, corpus: Path | None) -> StoreAudit | None:
    """The audit of dev that belongs to a train store: dev.zarr next to it, or None.

    `corpus` is the train store's corpus file; dev's lies next to it.
    """
    folder = open_store(store).place.folder
    if folder is None or folder.name != "train.zarr":
        return None
    dev = folder.with_name("dev.zarr")
    labels = corpus.with_name("dev.h5") if corpus is not None else None
    if not dev.is_dir() or not (labels is None or labels.is_file()):
        return None
    return read_or_measure(dev, labels)


def read_or_measure(store: Place | Path, corpus: Path | None) -> StoreAudit:
    """The audit of the store.

    With a corpus the store is always read: its hard labels may be others than the teacher's.
    """
    opened = open_store(store)
    folder = opened.place.folder
    if corpus is None and folder is not None:
        found = read_audit(folder, digest=opened.digest)
        if found is not None:
            return found
    with ExitStack() as stack:
        labels = stack.enter_context(CorpusFile(corpus)) if corpus is not None else None
        title = f"audit {str(store).rsplit('/', 1)[-1]}"
        task = stack.enter_context(
            TerminalProgress().task(title, total=opened.num_frames, unit="frames")
        )
        return audit_store(opened, corpus=labels, advance=task.advance)
