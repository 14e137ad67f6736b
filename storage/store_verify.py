"""Verify: every object of a sealed store against the manifest."""

from pathlib import Path

from storage.errors import StoreCorrupt
from storage.fingerprint import file_digest
from storage.manifest import HEAD, STAGE, ObjectRecord, Records, manifest_name

NAMED = 10  # problems that a message spells out


def verify_objects(root: Path, records: Records, *, digest: str, data: bool) -> None:
    """Compare sizes, and with `data` the sha256 of every object; nothing else may be there.

    Raises:
        StoreCorrupt: naming what is wrong.
    """
    problems = [
        problem
        for name, record in sorted(records.items())
        if (problem := _problem(root / name, record, data=data))
    ]
    known = {*records, HEAD, manifest_name(digest)}
    problems += [f"{name} is not in the manifest" for name in _files(root) if name not in known]
    if problems:
        more = f" and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
        raise StoreCorrupt(
            f"{root}: {'; '.join(problems[:NAMED])}{more}: "
            "copy the store again, or remove it and run 'essence teacher'"
        )


def _problem(path: Path, record: ObjectRecord, *, data: bool) -> str | None:
    if path.is_symlink() or not path.is_file():
        return f"{path} is missing or not a plain file"
    found = path.stat().st_size
    if found != record.num_bytes:
        return f"{path} has {found} bytes, written were {record.num_bytes}"
    if data and file_digest(path) != record.sha256:
        return f"{path}: its sha256 differs from the manifest's"
    return None


def _files(root: Path) -> list[str]:
    names = (path.relative_to(root) for path in sorted(root.rglob("*")) if not path.is_dir())
    return [name.as_posix() for name in names if name.parts[0] != STAGE]
