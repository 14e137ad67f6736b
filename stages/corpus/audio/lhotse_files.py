"""Files of Lhotse manifests: which there are, of which split, and which audio they name.

    [CORPUS_]cuts[_SPLIT].jsonl[.gz]
    [CORPUS_]recordings[_SPLIT].jsonl[.gz]  and  [CORPUS_]supervisions[_SPLIT].jsonl[.gz]

as Lhotse's recipes name them. Cuts come first where there are both. lhotse is not loaded here.
"""

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stages.contract.errors import BadInput
from stages.corpus.audio.settings import AudioSettings

_NAME = re.compile(
    r"(?:(?P<corpus>.+)[_-])?(?P<kind>cuts|recordings|supervisions)"
    r"(?:[_-](?P<part>.+))?\.jsonl(?:\.gz)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Cuts, or recordings with supervisions, of one split; `split` None: of all."""

    split: str | None
    cuts: Path | None = None
    recordings: Path | None = None
    supervisions: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are read."""
        return tuple(path for path in (self.cuts, self.recordings, self.supervisions) if path)


def find_manifests(path: Path, settings: AudioSettings) -> list[Manifest]:
    """The manifests that a path is or holds; none if it is none.

    Raises:
        BadInput: if a split has two, or recordings come without supervisions.
    """
    if path.is_file():
        match = _NAME.fullmatch(path.name)
        if match is None or match["kind"] == "cuts":
            return [Manifest(split=None, cuts=path)] if match or path.suffix == ".gz" else []
        part = match["part"]
        return [_manifest(path.parent, None, _of_part(path.parent, part, match["corpus"]))]
    parts: dict[str, str | None] = {name: name for name in settings.names}
    found = [(split, _of_part(path, part)) for part, split in parts.items()]
    named = [_manifest(path, split, files) for split, files in found if files]
    of_all = {} if named else _of_part(path, None)
    return named or ([_manifest(path, None, of_all)] if of_all else [])


def audio_of(manifest: Path) -> Iterator[str]:
    """The audio files that a manifest names, as it writes them.

    Raises:
        BadInput: if it is no JSON.
    """
    open_text = gzip.open if manifest.suffix == ".gz" else open
    try:
        with open_text(manifest, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield from _sources(json.loads(line))
    except (OSError, EOFError, zlib.error, ValueError) as cause:
        raise BadInput(
            f"{manifest} cannot be read as a Lhotse manifest ({cause}): wanted lines of JSON"
        ) from cause


def _sources(value: object) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _sources(each)
    elif isinstance(value, dict):
        if value.get("type") == "file" and isinstance(value.get("source"), str):
            yield value["source"]
        for each in value.values():
            yield from _sources(each)


def _of_part(folder: Path, part: str | None, corpus: str | None = None) -> dict[str, Path]:
    """Kind -> file, of one split."""
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match is None or match["part"] != part or corpus not in (None, match["corpus"]):
            continue
        if match["kind"] in files:
            raise BadInput(
                f"{path} and {files[match['kind']].name}: two manifests of the same kind and "
                "split: move one away, or let corpus.path be one of them"
            )
        files[match["kind"]] = path
    return files


def _manifest(folder: Path, split: str | None, files: dict[str, Path]) -> Manifest:
    if "cuts" in files:
        return Manifest(split=split, cuts=files["cuts"])
    if len(files) < 2:
        (only,) = files.values()
        raise BadInput(
            f"{only}: wanted recordings and supervisions of the same name in {folder}, or cuts"
        )
    return Manifest(split=split, **files)
