"""A model of the commit protocol: every interleaving of two writers, with a power cut at any step.

The file system of the model is as unkind as POSIX allows:

- the content of a file survives a power cut only if the file was flushed before;
- a change of a directory (create, rename, link, remove) survives only if a directory that it
  touches was flushed after it; of the changes that were not flushed, any subset survives;
- a rename is atomic: both names change, or neither.

The store of the model has one shard with one object. Its names:

    top/store                    the store's own directory
    root/zarr.json               metadata           root/object      the shard's object
    root/manifest, root/HEAD     seal               commits/record   the commit record
    stage/...                    temporary and staged files

A program is a list of instructions, one for each system call of storage/write/commit.py and
writer.py, so that a search can stop between any two of them. `without` leaves out the calls of
one kind: a protocol that survives that does not need them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, cached_property

Entry = tuple[str, str]  # directory, name
Inode = tuple[str, str, int]  # object, content, the writer that made it
Change = tuple[tuple[Entry, Inode | None], ...]

DIRECTORY = ("directory", "", 0)
PLACES: dict[str, Entry] = {
    "zarr.json": ("root", "zarr.json"),
    "object": ("root", "object"),
    "record": ("commits", "record"),
    "manifest": ("root", "manifest"),
    "HEAD": ("root", "HEAD"),
}
GARBAGE = "garbage"


@dataclass(frozen=True)
class Disk:
    """`names` is what processes see; `durable` and a subset of `pending` survive a power cut."""

    names: frozenset[tuple[Entry, Inode]] = frozenset()
    durable: frozenset[tuple[Entry, Inode]] = frozenset()
    pending: tuple[Change, ...] = ()
    flushed: frozenset[Inode] = frozenset()  # files whose content is on the disk

    @cached_property
    def _inodes(self) -> dict[Entry, Inode]:
        return dict(self.names)

    @cached_property
    def _hash(self) -> int:
        return hash((self.names, self.durable, self.pending, self.flushed))

    def __hash__(self) -> int:
        return self._hash

    def get(self, entry: Entry) -> Inode | None:
        return self._inodes.get(entry)

    def content(self, name: str) -> str | None:
        inode = self.get(PLACES[name])
        return inode[1] if inode else None

    def change(self, *changes: tuple[Entry, Inode | None]) -> "Disk":
        return replace(
            self, names=_applied(self.names, changes), pending=(*self.pending, tuple(changes))
        )

    def flush_file(self, inode: Inode) -> "Disk":
        return replace(self, flushed=self.flushed | {inode})

    def flush_directory(self, directory: str) -> "Disk":
        touched = [c for c in self.pending if any(entry[0] == directory for entry, _ in c)]
        durable = self.durable
        for change in touched:
            durable = _applied(durable, change)
        left = tuple(c for c in self.pending if c not in touched)
        return replace(self, durable=durable, pending=left)

    @property
    def after_power_cuts(self) -> frozenset["Disk"]:
        """Every disk that a power cut may leave."""
        return _after_power_cuts(self.durable, self.pending, self.flushed)


@cache
def _after_power_cuts(
    durable: frozenset[tuple[Entry, Inode]],
    pending: tuple[Change, ...],
    flushed: frozenset[Inode],
) -> frozenset[Disk]:
    survivors = {durable}
    for change in pending:
        survivors |= {_applied(names, change) for names in survivors}
    return frozenset(_disk_of(names, flushed) for names in survivors)


@cache
def _disk_of(survived: frozenset[tuple[Entry, Inode]], flushed: frozenset[Inode]) -> Disk:
    names = frozenset(
        (entry, inode if inode in flushed or inode == DIRECTORY else _spoiled(inode))
        for entry, inode in _reachable(survived)
    )
    return Disk(names=names, durable=names, flushed=frozenset(inode for _, inode in names))


def _applied(
    names: frozenset[tuple[Entry, Inode]], changes: Change | tuple[tuple[Entry, Inode | None], ...]
) -> frozenset[tuple[Entry, Inode]]:
    found = dict(names)
    for entry, inode in changes:
        if inode is None:
            found.pop(entry, None)
        else:
            found[entry] = inode
    return frozenset(found.items())


def _reachable(names: frozenset[tuple[Entry, Inode]]) -> Iterator[tuple[Entry, Inode]]:
    """Files in a directory whose own name was lost are lost with it."""
    entries = {entry for entry, _ in names}
    if ("top", "store") not in entries:
        return
    for entry, inode in names:
        parent = {"stage": ("root", "stage"), "commits": ("root", "commits")}.get(entry[0])
        if parent is None or parent in entries:
            yield entry, inode


def _spoiled(inode: Inode) -> Inode:
    return inode[0], GARBAGE, inode[2]


@dataclass(frozen=True)
class Writer:
    """Where a writer is in the program, and what it has promised its caller so far."""

    number: int
    content: str  # of the shard's object, by which two writers may disagree
    step: int = 0
    has_committed: bool = False  # write_shard returned
    has_sealed: bool = False  # seal returned
    outcome: str = ""  # "done", "refused" (other content was committed), "error"


@dataclass(frozen=True)
class Instruction:
    """One system call, or one look at names. `kind` is what `without` names."""

    kind: str
    name: str = ""
    target: str = ""  # label to jump to
    on_missing: str = ""  # label to jump to where the stage was cleared by another writer


@dataclass
class Protocol:
    """The program of a writer: begin, write the shard, seal."""

    without: frozenset[str] = frozenset()
    rename_the_record: bool = False  # instead of a hard link
    install_together: bool = False  # manifest and HEAD in one go
    has_objects: bool = True  # a shard whose utterances have no frames has none
    program: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._begin()
        self._write_shard()
        self._seal()

    def _add(self, kind: str, name: str = "", target: str = "", on_missing: str = "") -> None:
        if kind not in self.without:
            self.program.append(Instruction(kind, name, target, on_missing))

    def _label(self, label: str) -> None:
        self.labels[label] = len(self.program)

    def _stage(self, *names: str, on_missing: str) -> None:
        """storage/write/commit.py: stage."""
        self._add("mkdir stage", on_missing=on_missing)
        for name in names:
            self._add("write", name, on_missing=on_missing)
            self._add("flush file", name)
            self._add("rename to staged", name, on_missing=on_missing)
        self._add("flush stage", on_missing=on_missing)
        self._add("flush root after staging")

    def _install(self, *names: str, on_missing: str) -> None:
        """storage/write/commit.py: install."""
        for name in names:
            self._add("install", name, on_missing=on_missing)
        self._add("flush root after install")

    @property
    def _objects(self) -> tuple[str, ...]:
        return ("object",) if self.has_objects else ()

    def _install_shard(self) -> None:
        """The process that linked the record may not have flushed the link."""
        self._add("flush commits")
        self._add("flush root after link")
        if self.has_objects:
            self._install("object", on_missing="lost")

    def _begin(self) -> None:
        """storage/write/writer.py: create_planned."""
        self._add("if in place", "zarr.json", target="resume")
        self._add("mkdir store")
        self._add("flush top")
        self._stage("zarr.json", on_missing="metadata")
        self._install("zarr.json", on_missing="metadata")
        self._add("go", target="resume")
        self._label("metadata")
        self._add("fail unless in place", "zarr.json")
        self._label("resume")
        self._add("if in place", "HEAD", target="shard")
        self._add("if not in place", "record", target="shard")
        self._install_shard()
        self._label("shard")

    def _write_shard(self) -> None:
        """storage/write/shard_commit.py: _commit."""
        self._add("if in place", "record", target="compare")
        self._stage(*self._objects, on_missing="cleared")
        self._stage("record", on_missing="cleared")
        self._add("mkdir commits")
        call = "rename record" if self.rename_the_record else "link record"
        self._add(call, on_missing="cleared")
        self._add("go", target="compare")
        self._label("cleared")
        self._add("fail unless in place", "record")
        self._label("compare")
        self._add("refuse other content")
        self._install_shard()
        self._add("return committed")

    def _seal(self) -> None:
        """storage/write/writer.py: seal."""
        self._stage("manifest", "HEAD", on_missing="sealed by another")
        if self.install_together:
            self._install("HEAD", "manifest", on_missing="sealed by another")
        else:
            self._install("manifest", on_missing="sealed by another")
            self._install("HEAD", on_missing="sealed by another")
        self._label("sealed by another")
        self._add("fail unless in place", "HEAD")
        self._add("clear stage")
        self._add("flush root after clearing")
        self._add("return sealed")
        self._add("end")
        self._label("lost")
        self._add("error")

    def advance(self, disk: Disk, writer: Writer) -> tuple[Disk, Writer]:
        """One instruction of one writer."""
        instruction = self.program[writer.step]
        after = replace(writer, step=writer.step + 1)
        act = _ACTS.get(instruction.kind)
        if act is not None:
            changed = act(disk, writer, instruction.name)
            if changed is None:
                return disk, replace(writer, step=self.labels[instruction.on_missing])
            return changed, after
        looked = self._look(disk, after, instruction)
        # What touches no disk cannot be seen by another writer: it is part of the same step.
        while not looked.outcome and self.program[looked.step].kind in ("go", "return committed"):
            looked = self._look(
                disk, replace(looked, step=looked.step + 1), self.program[looked.step]
            )
        return disk, looked

    def _look(self, disk: Disk, writer: Writer, instruction: Instruction) -> Writer:
        is_there = bool(instruction.name) and disk.get(PLACES[instruction.name]) is not None
        jump = replace(writer, step=self.labels.get(instruction.target, -1))
        match instruction.kind:
            case "go":
                return jump
            case "if in place":
                return jump if is_there else writer
            case "if not in place":
                return writer if is_there else jump
            case "fail unless in place":
                return writer if is_there else replace(writer, outcome="error")
            case "refuse other content":
                agrees = disk.content("record") == writer.content
                return writer if agrees else replace(writer, outcome="refused")
            case "return committed":
                return replace(writer, has_committed=True)
            case "return sealed":
                return replace(writer, has_sealed=True)
            case "end":
                return replace(writer, outcome="done")
        return replace(writer, outcome="error")

    def begun(self) -> tuple[Disk, int]:
        """The disk after one writer has begun the store, and the step that follows."""
        disk, writer = Disk(), Writer(number=8, content="x")
        while writer.step != self.labels["resume"]:
            disk, writer = self.advance(disk, writer)
        return disk, writer.step


def _made(writer: Writer, name: str) -> Inode:
    content = "same" if name in ("zarr.json",) else writer.content
    return name, content, writer.number


def _temporary(writer: Writer, name: str) -> Entry:
    return "stage", f"{name}.tmp{writer.number}"


def _staged(content: str, name: str) -> Entry:
    return "stage", f"{name}.{content}"


def _mkdir(entry: Entry) -> Callable[[Disk, Writer, str], Disk | None]:
    def make(disk: Disk, writer: Writer, name: str) -> Disk | None:
        return disk if disk.get(entry) else disk.change((entry, DIRECTORY))

    return make


def _flush(directory: str) -> Callable[[Disk, Writer, str], Disk | None]:
    def flush(disk: Disk, writer: Writer, name: str) -> Disk | None:
        if directory == "stage" and not disk.get(("root", "stage")):
            return None
        return disk.flush_directory(directory)

    return flush


def _write(disk: Disk, writer: Writer, name: str) -> Disk | None:
    if not disk.get(("root", "stage")):
        return None
    inode = _made(writer, name)
    forgotten = replace(disk, flushed=disk.flushed - {inode})  # a new file, not flushed yet
    return forgotten.change((_temporary(writer, name), inode))


def _flush_file(disk: Disk, writer: Writer, name: str) -> Disk | None:
    return disk.flush_file(_made(writer, name))


def _rename_to_staged(disk: Disk, writer: Writer, name: str) -> Disk | None:
    temporary = _temporary(writer, name)
    inode = disk.get(temporary)
    if inode is None:
        return None
    return disk.change((temporary, None), (_staged(inode[1], name), inode))


def _install(disk: Disk, writer: Writer, name: str) -> Disk | None:
    # The object that is installed is the committed one, whoever resumes.
    content = disk.content("record") if name == "object" else _made(writer, name)[1]
    staged = _staged(content or "", name)
    inode = disk.get(staged)
    if inode is None:
        return disk if disk.get(PLACES[name]) else None
    return disk.change((staged, None), (PLACES[name], inode))


def _link(disk: Disk, writer: Writer, name: str) -> Disk | None:
    inode = disk.get(_staged(writer.content, "record"))
    if inode is None:
        return None
    if disk.get(PLACES["record"]):
        return disk  # the first link holds
    return disk.change((PLACES["record"], inode))


def _rename_record(disk: Disk, writer: Writer, name: str) -> Disk | None:
    staged = _staged(writer.content, "record")
    inode = disk.get(staged)
    return disk.change((staged, None), (PLACES["record"], inode)) if inode else None


def _clear_stage(disk: Disk, writer: Writer, name: str) -> Disk | None:
    for entry, _ in sorted(disk.names):
        if entry[0] == "stage":
            disk = disk.change((entry, None))
    return disk.change((("root", "stage"), None)) if disk.get(("root", "stage")) else disk


_ACTS: dict[str, Callable[[Disk, Writer, str], Disk | None]] = {
    "mkdir store": _mkdir(("top", "store")),
    "mkdir stage": _mkdir(("root", "stage")),
    "mkdir commits": _mkdir(("root", "commits")),
    "flush top": _flush("top"),
    "flush stage": _flush("stage"),
    "flush commits": _flush("commits"),
    "flush root after staging": _flush("root"),
    "flush root after link": _flush("root"),
    "flush root after install": _flush("root"),
    "flush root after clearing": _flush("root"),
    "write": _write,
    "flush file": _flush_file,
    "rename to staged": _rename_to_staged,
    "install": _install,
    "link record": _link,
    "rename record": _rename_record,
    "clear stage": _clear_stage,
}


def broken_promise(disk: Disk, *, has_objects: bool = True) -> str:
    """What a reader of this disk would find wrong, or nothing. docs/store-format.md, section 8."""
    record = disk.content("record")
    if record is not None:
        staged = disk.get(_staged(record, "object"))
        placed = disk.get(PLACES["object"])
        found = [inode[1] for inode in (staged, placed) if inode]
        if record == GARBAGE or (has_objects and record not in found):
            return "a shard is committed and its object is lost"
    if disk.content("zarr.json") == GARBAGE:
        return "the metadata are in place and damaged"
    head = disk.content("HEAD")
    if head is not None:
        for name in ("HEAD", "manifest", "record", *(["object"] if has_objects else [])):
            if disk.content(name) != record or record is None:
                return f"the store is sealed and {name} is missing, damaged or another's"
        if disk.content("zarr.json") != "same":
            return "the store is sealed and its metadata are missing"
    return ""


def explore(
    protocol: Protocol, contents: tuple[str, ...], *, begun: bool = False
) -> tuple[int, str]:
    """(states seen, the first broken promise): writers with these contents, stopped anywhere.

    With `begun` the metadata are in place already, as when a second writer joins a store.
    """
    disk, step = protocol.begun() if begun else (Disk(), 0)
    start = (disk, tuple(Writer(number=n, content=c, step=step) for n, c in enumerate(contents)))
    seen, to_visit = {start}, [start]
    broken_by_disk: dict[Disk, str] = {}
    ends: dict[tuple[Disk, Writer], str] = {}

    def broken(disk: Disk) -> str:
        if disk not in broken_by_disk:
            broken_by_disk[disk] = broken_promise(disk, has_objects=protocol.has_objects)
        return broken_by_disk[disk]

    def resume(disk: Disk, content: str) -> str:
        """What goes wrong where a fresh writer takes up this disk, alone."""
        writer, on_the_way = Writer(number=9, content=content), []
        while not writer.outcome and (disk, writer) not in ends:
            on_the_way.append((disk, writer))
            disk, writer = protocol.advance(disk, writer)
        if (disk, writer) not in ends:
            ends[disk, writer] = broken(disk) or _broken_end(disk, writer)
        for passed in on_the_way:  # all of them end here
            ends[passed] = ends[disk, writer]
        return ends[disk, writer]

    while to_visit:
        disk, writers = to_visit.pop()
        problem = broken(disk) or _broken_outcome(disk, writers)
        for content in set(contents):
            problem = problem or resume(disk, content)  # all writers were killed here
        for left in disk.after_power_cuts:
            problem = problem or broken(left) or _broken_return(left, writers)
            for content in set(contents):
                problem = problem or resume(left, content)
            if problem:
                break
        if problem:
            return len(seen), problem
        for number, writer in enumerate(writers):
            if writer.outcome:
                continue
            changed, advanced = protocol.advance(disk, writer)
            others = (*writers[:number], *writers[number + 1 :])
            state = (changed, tuple(sorted((advanced, *others), key=_order)))
            if state not in seen:
                seen.add(state)
                to_visit.append(state)
    return len(seen), ""


def _order(writer: Writer) -> tuple[int, int]:
    return writer.number, writer.step


def _broken_end(disk: Disk, writer: Writer) -> str:
    """A writer that is left alone finishes the store, or finds other content committed."""
    wanted = "done" if disk.content("record") == writer.content else "refused"
    if writer.outcome != wanted:
        return f"a fresh writer ends with {writer.outcome!r}, expected {wanted!r}"
    if wanted == "done" and disk.content("HEAD") != writer.content:
        return "a fresh writer ends and the store is not sealed"
    return ""


def _broken_outcome(disk: Disk, writers: tuple[Writer, ...]) -> str:
    for writer in writers:
        if writer.outcome == "error":
            return "a writer fails though no system call does"
        if writer.outcome == "refused" and disk.content("record") == writer.content:
            return "a writer is refused though its own content was committed"
    return ""


def _broken_return(left: Disk, writers: tuple[Writer, ...]) -> str:
    """What a writer promised when it returned must survive every power cut."""
    for writer in writers:
        if writer.has_committed and left.content("record") != writer.content:
            return "write_shard returned and the commit is lost"
        if writer.has_sealed and left.content("HEAD") != writer.content:
            return "seal returned and HEAD is lost"
        if writer.has_sealed and len(writers) == 1 and left.get(("root", "stage")):
            return "seal returned and the stage is still there"
    return ""
