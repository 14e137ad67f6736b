"""Makers of stores whose checksums and digests all agree, and whose content does harm."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import google_crc32c

from storage.care.repair import plan_repair
from storage.errors import EssenceError
from storage.files.fingerprint import canonical_json
from storage.format.records import record_of
from storage.format.shard_object import CRC_BYTES
from storage.read.reader import open_store
from storage.write.writer import StoreWriter
from tests.support.stores import head_of, verified


def reseal(
    path: Path, name: str, content: bytes, chunks: Sequence[int | None] | None = None
) -> None:
    """Put an object into a store so that all checksums and digests agree with it."""
    (path / name).write_bytes(content)
    manifest = json.loads((path / f"manifest-{head_of(path)}.json").read_bytes())
    _describe(manifest, name, content)
    if chunks is not None:
        manifest["objects"][name]["chunks"] = list(chunks)
    for place in path.glob("commits/*.json"):
        committed = place.relative_to(path).as_posix()
        commit = {"objects": {}} if committed == name else json.loads(place.read_bytes())
        if name in commit["objects"]:
            commit["objects"][name] = manifest["objects"][name]
            encoded = (canonical_json(commit) + "\n").encode()
            place.write_bytes(encoded)
            _describe(manifest, committed, encoded)
    publish_manifest(path, manifest)


def _describe(manifest: Any, name: str, content: bytes) -> None:
    record = record_of(content)
    manifest["objects"][name] |= {"bytes": record.num_bytes, "sha256": record.sha256}


def publish_manifest(path: Path, manifest: Any) -> None:
    """A manifest, and the HEAD that names it, in the place of the one before."""
    encoded = (canonical_json(manifest) + "\n").encode()
    (path / f"manifest-{head_of(path)}.json").unlink()
    digest = record_of(encoded).sha256
    (path / f"manifest-{digest}.json").write_bytes(encoded)
    (path / "HEAD").write_text(f"{digest}\n")


def checksummed(body: bytes) -> bytes:
    return body + google_crc32c.value(body).to_bytes(CRC_BYTES, "little")


def assert_only_our_errors(path: Path) -> None:
    """Every reader of a store succeeds or raises one of the program's own errors."""
    for act in (
        lambda: open_store(path).read_shard(0, 2),
        lambda: verified(path, data=True, allow_unfinished=True),
        lambda: plan_repair(path),
        lambda: StoreWriter.open(path),
    ):
        with suppress(EssenceError):
            act()
