"""ShardWork: one shard as a task: everything that it needs, as plain data, and who can do it.

The same work done twice, by anybody, anywhere, gives the same bytes, and the first one counts. It
knows nothing of clusters: a process that sees the same files at the same paths can do it.
"""

import platform
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from threading import Lock

import numpy as np
import torch

from stages.contract.errors import MissingPart, OtherWorld
from stages.contract.progress import Task
from stages.contract.version import VERSION
from stages.members.kinds import open_member
from stages.teacher.members import LoadedShares, Share, load_members
from stages.teacher.shard import BadUtterances, label_shard
from stages.teacher.torch_threads import fixed_threads
from storage.corpus.corpus_file import CorpusFile
from storage.files.fingerprint import SHORT, file_digest
from storage.format.layout import StoreAbout
from storage.format.records import GROUP
from storage.write.shard_commit import is_committed, write_shard
from storage.write.top_k import KeptBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """Versions of the programs that decide the bytes of a shard."""

    essence: str
    torch: str
    numpy: str

    @classmethod
    def here(cls) -> "Versions":
        """The versions that this process runs."""
        return cls(essence=VERSION, torch=str(torch.__version__), numpy=np.__version__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberPlace:
    """Where a member lies, what it must be, and its share of the mean."""

    directory: Path
    fingerprint: str
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """What all shards of a store have in common. Two equal ones need the same things loaded."""

    versions: Versions
    store: Path
    store_digest: str  # SHA-256 of its zarr.json
    corpus: Path
    corpus_fingerprint: str
    members: tuple[MemberPlace, ...]
    about: StoreAbout
    device: str
    threads: int
    batch_frames: int
    most_loaded_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardWork:
    """One shard: the utterances at `indices` of the corpus, which have `num_frames` together."""

    ensemble: Ensemble
    shard: int
    indices: tuple[int, ...]
    num_frames: int
    utterances: str  # in words, for messages


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardDone:
    """A shard that is committed; or `bad`: why not, by utterance."""

    shard: int
    bad: dict[str, str]


def store_digest(store: Path) -> str:
    """Identity of a store that was begun: what it is to hold."""
    path = store / GROUP
    return file_digest(path) if path.is_file() else "nothing"


class Labeller:
    """Does shards, one at a time. What it has opened and loaded stays for the next."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._ensemble: Ensemble | None = None
        self._corpus: CorpusFile | None = None
        self._loaded = LoadedShares(shares=(), all_at_once=False)

    def do(self, work: ShardWork, *, task: Task) -> ShardDone:
        """Label and commit one shard; nothing, where that was done.

        Raises:
            OtherWorld: where this process has other versions or files than it should.
            EssenceError: whatever is wrong with member, corpus or store.
        """
        with self._lock, fixed_threads(work.ensemble.threads):
            corpus = self.open(work.ensemble)
            _refuse_other_store(work.ensemble)
            done = ShardDone(shard=work.shard, bad={})
            if is_committed(work.ensemble.store, work.shard):
                return done
            blocks = label_shard(
                work.ensemble.about,
                self._loaded,
                corpus,
                work.indices,
                batch_frames=work.ensemble.batch_frames,
                device=work.ensemble.device,
                task=task,
            )
            try:
                write_shard(
                    work.ensemble.store,
                    work.ensemble.about,
                    work.shard,
                    _while_planned(blocks, work.ensemble),
                    num_frames=work.num_frames,
                )
            except BadUtterances as found:
                return ShardDone(shard=work.shard, bad=found.found)
            return done

    def look(self, ensemble: Ensemble) -> str:
        """Make sure that this process may work, without any. Returns what it computes with."""
        with self._lock:
            self.open(ensemble)
        if ensemble.device.startswith("cuda"):
            return torch.cuda.get_device_name()
        return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"

    def open(self, ensemble: Ensemble) -> CorpusFile:
        """Make sure that this process may work, and load what it needs. Returns the corpus."""
        if self._ensemble != ensemble or self._corpus is None:
            self.close()
            _refuse_other_versions(ensemble)
            _refuse_other_store(ensemble)
            shares = _open_members(ensemble)
            corpus = _open_corpus(ensemble)
            self._loaded = load_members(shares, most_bytes=ensemble.most_loaded_bytes)
            self._ensemble, self._corpus = ensemble, corpus
        return self._corpus

    def close(self) -> None:
        """Let go of everything."""
        if self._corpus is not None:
            self._corpus.close()
        self._ensemble, self._corpus = None, None
        self._loaded = LoadedShares(shares=(), all_at_once=False)


def _refuse_other_versions(ensemble: Ensemble) -> None:
    found = Versions.here()
    for field in fields(Versions):
        here, wanted = getattr(found, field.name), getattr(ensemble.versions, field.name)
        if here != wanted:
            raise OtherWorld(
                f"{platform.node()} has {field.name} {here}, wanted {wanted}: "
                "install the same versions on every machine"
            )
    if ensemble.device.startswith("cuda") and not torch.cuda.is_available():
        raise OtherWorld(f"{platform.node()} has no CUDA device for device={ensemble.device}")


def _while_planned(blocks: Iterator[KeptBlock], ensemble: Ensemble) -> Iterator[KeptBlock]:
    """The blocks; after the last one, and before the commit, the store must still be that one.

    A straggler of a plan that was given up (an utterance is left out now) would else land in the
    next one. It takes minutes to label a shard, and a moment to commit it after this look.
    """
    yield from blocks
    _refuse_other_store(ensemble)


def _refuse_other_store(ensemble: Ensemble) -> None:
    _refuse_other(ensemble.store, store_digest(ensemble.store), ensemble.store_digest)


def _open_members(ensemble: Ensemble) -> list[Share]:
    shares = []
    for place in ensemble.members:
        try:
            member = open_member(place.directory, device=ensemble.device)
        except MissingPart as cause:
            raise OtherWorld(_not_shared(place.directory, found="nothing")) from cause
        _refuse_other(place.directory, member.about.fingerprint, place.fingerprint)
        shares.append(Share(directory=place.directory, member=member, weight=place.weight))
    return shares


def _open_corpus(ensemble: Ensemble) -> CorpusFile:
    if not ensemble.corpus.is_file():
        raise OtherWorld(_not_shared(ensemble.corpus, found="nothing"))
    corpus = CorpusFile(ensemble.corpus)
    _refuse_other(ensemble.corpus, corpus.fingerprint, ensemble.corpus_fingerprint)
    return corpus


def _refuse_other(path: Path, found: str, wanted: str) -> None:
    if found != wanted:
        raise OtherWorld(_not_shared(path, found=found[:SHORT], wanted=wanted[:SHORT]))


def _not_shared(path: Path, *, found: str, wanted: str = "what the command sees there") -> str:
    return (
        f"{path}: {platform.node()} finds {found}, wanted {wanted}: every worker must see the "
        "same files at the same paths, on a shared file system"
    )
