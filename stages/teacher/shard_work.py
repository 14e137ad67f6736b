"""ShardWork: one shard as a task, in plain data; Labeller: does such tasks in any process.

The same work done twice, in any process on any machine, gives the same bytes, and the first result
counts. Nothing here depends on clusters: any process with the same files at the same paths can do
the work.
"""

import platform
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from threading import Lock

import numpy as np
import torch

from stages.contract.errors import MissingPart, WorkerMismatch
from stages.contract.progress import Task
from stages.contract.version import VERSION
from stages.members.kinds import open_member
from stages.members.shares import LoadedShares, Share, load_members
from stages.teacher.given_transcript import GivenTranscript, TranscriptPlace, graph_digest
from stages.teacher.shard import BadUtterances, label_shard
from stages.training.torch_threads import fixed_threads
from storage.corpus.corpus_file import CorpusFile
from storage.files.fingerprint import SHORT, file_digest
from storage.files.program import program_digest
from storage.format.layout import StoreAbout
from storage.format.records import GROUP
from storage.write.shard_commit import is_committed, write_shard
from storage.write.top_k import KeptBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """Versions of the programs that decide the bytes of a shard; of this one also the sources."""

    essence: str
    sources: str
    torch: str
    numpy: str

    @classmethod
    def here(cls) -> "Versions":
        """The versions that this process runs."""
        return cls(
            essence=VERSION,
            sources=program_digest(),
            torch=str(torch.__version__),
            numpy=np.__version__,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberPlace:
    """Directory of a member, its expected fingerprint, and its share of the mean."""

    directory: Path
    fingerprint: str
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """What all shards of a store have in common. Equal ones need the same members loaded."""

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
    transcripts: TranscriptPlace | None  # None: plain posteriors


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardWork:
    """One shard: the utterances at `indices` of the corpus, which have `num_frames` together."""

    ensemble: Ensemble
    shard: int
    indices: tuple[int, ...]
    num_frames: int
    utterances: str  # the first and the last, for messages


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardDone:
    """A shard that is committed; or, if it is not, `bad`: utterance id -> reason.

    `plain`: utterances that have plain posteriors although they have a transcript, with reasons.
    """

    shard: int
    bad: dict[str, str]
    plain: dict[str, str] = field(default_factory=dict)


def store_digest(store: Path) -> str:
    """Identity of an unfinished store: digest of its description of what it will hold."""
    path = store / GROUP
    return file_digest(path) if path.is_file() else "nothing"


class Labeller:
    """Labels shards, one at a time. Files and members stay open for the next shard."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._ensemble: Ensemble | None = None
        self._corpus: CorpusFile | None = None
        self._loaded = LoadedShares(shares=(), all_at_once=False)
        self._transcripts: GivenTranscript | None = None

    def do(self, work: ShardWork, *, task: Task) -> ShardDone:
        """Label and commit one shard, unless it is committed already.

        Raises:
            WorkerMismatch: if this process has other versions or files than it should.
            EssenceError: if a member, the corpus or the store is not what it should be.
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
                transcripts=self._transcripts,
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
            return replace(done, plain=self._take_plain())

    def _take_plain(self) -> dict[str, str]:
        """Utterances of the last shard that no path spells; each is returned once."""
        if self._transcripts is None:
            return {}
        plain = dict(self._transcripts.without_path)
        self._transcripts.without_path.clear()
        return plain

    def probe(self, ensemble: Ensemble) -> str:
        """Check that this process can do such work. Returns the name of its processor or GPU."""
        with self._lock:
            self.open(ensemble)
        if ensemble.device.startswith("cuda"):
            return torch.cuda.get_device_name()
        return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"

    def open(self, ensemble: Ensemble) -> CorpusFile:
        """Check that this process can do such work, and load what it needs. Returns the corpus."""
        if self._ensemble != ensemble or self._corpus is None:
            self.close()
            _refuse_other_versions(ensemble)
            _refuse_other_store(ensemble)
            shares = _open_members(ensemble)
            corpus = _open_corpus(ensemble)
            self._loaded = load_members(shares, most_bytes=ensemble.most_loaded_bytes)
            self._transcripts = _open_transcripts(ensemble, corpus)
            self._ensemble, self._corpus = ensemble, corpus
        return self._corpus

    def close(self) -> None:
        """Close the corpus and free the members."""
        if self._corpus is not None:
            self._corpus.close()
        self._ensemble, self._corpus, self._transcripts = None, None, None
        self._loaded = LoadedShares(shares=(), all_at_once=False)


def _refuse_other_versions(ensemble: Ensemble) -> None:
    found = Versions.here()
    for name in (each.name for each in fields(Versions)):
        here, wanted = getattr(found, name), getattr(ensemble.versions, name)
        if here != wanted:
            raise WorkerMismatch(
                f"{platform.node()} has {name} {here}, wanted {wanted}: "
                "install the same versions on every machine"
            )
    if ensemble.device.startswith("cuda") and not torch.cuda.is_available():
        raise WorkerMismatch(f"{platform.node()} has no CUDA device for device={ensemble.device}")


def _while_planned(blocks: Iterator[KeptBlock], ensemble: Ensemble) -> Iterator[KeptBlock]:
    """The blocks; after the last one, and before the commit, the store must be the same still.

    Otherwise late work of an abandoned plan (an utterance is left out now) would be written into
    the next store. Labelling a shard takes minutes, and the commit after this check a moment.
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
            raise WorkerMismatch(_not_shared(place.directory, found="nothing")) from cause
        _refuse_other(place.directory, member.about.fingerprint, place.fingerprint)
        shares.append(Share(directory=place.directory, member=member, weight=place.weight))
    return shares


def _open_corpus(ensemble: Ensemble) -> CorpusFile:
    if not ensemble.corpus.is_file():
        raise WorkerMismatch(_not_shared(ensemble.corpus, found="nothing"))
    corpus = CorpusFile(ensemble.corpus)
    _refuse_other(ensemble.corpus, corpus.fingerprint, ensemble.corpus_fingerprint)
    return corpus


def _open_transcripts(ensemble: Ensemble, corpus: CorpusFile) -> GivenTranscript | None:
    place = ensemble.transcripts
    if place is None:
        return None
    found = graph_digest(place.graph_directory)
    _refuse_other(place.graph_directory, found, place.graph_digest)
    return GivenTranscript.open(place, corpus)


def _refuse_other(path: Path, found: str, wanted: str) -> None:
    if found != wanted:
        raise WorkerMismatch(_not_shared(path, found=found[:SHORT], wanted=wanted[:SHORT]))


def _not_shared(path: Path, *, found: str, wanted: str = "the file of the command") -> str:
    return (
        f"{path}: {platform.node()} finds {found}, wanted {wanted}: every worker needs the "
        "same files at the same paths, on a shared file system"
    )
