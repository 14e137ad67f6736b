"""Claim: an unfinished store belongs to the code that has begun it.

    _stage/program    the digest of that code; it goes with the stage when the store is sealed

Shards that two versions of a program have made may differ in their values, and no reader could
find that. The first writer's claim counts, as with commit records.
"""

from pathlib import Path

from storage.errors import StoreMismatch
from storage.files.object_file import is_there, read_whole
from storage.files.program import program_digest
from storage.format.records import HEAD, STAGE
from storage.write.commit import link_record

CLAIM = f"{STAGE}/program"
NONE = b"none"  # of a store of an earlier version, or of a sealed one whose HEAD was lost


def claim_new(root: Path) -> None:
    """Claim a store before its metadata are written.

    Raises:
        StoreMismatch: when other code has claimed it.
    """
    if is_there(root, CLAIM):
        _refuse_other(root, read_whole(root, CLAIM))
    else:
        _refuse_other(root, link_record(root, CLAIM, _own()))


def check_claim(root: Path) -> None:
    """Make sure that this code has begun the store at `root`. A sealed store has no claim.

    Raises:
        StoreMismatch: when other code has, or a version that left no claim.
    """
    if is_there(root, CLAIM):
        _refuse_other(root, read_whole(root, CLAIM))
    elif not is_there(root, HEAD):  # asked last: a writer that seals removes the claim after that
        _refuse_other(root, NONE)


def claim_again(root: Path) -> None:
    """Claim a store that a repair puts under construction again."""
    (root / CLAIM).unlink(missing_ok=True)
    claim_new(root)


def _own() -> bytes:
    return f"{program_digest()}\n".encode()


def _refuse_other(root: Path, found: bytes) -> None:
    if found != _own():
        text = found.decode("ascii", errors="replace").strip()
        lost = f" (if its {HEAD} was lost: 'essence cache repair {root}')" if found == NONE else ""
        raise StoreMismatch(
            f"{root} was begun by other code of this program, and would be a mixture: found the "
            f"sources {text}, wanted {program_digest()}: finish it with that code, or start again: "
            f"rm -r {root}{lost}"
        )
