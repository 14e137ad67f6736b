"""Boundaries of an alignment against the times that the synthesiser gives.

    python benchmarks/alignment.py --hours 1.5

The spoken corpus is made with its defaults, its labels are hidden, and its speech is aligned with
the pronunciations of its own lexicon (stages/corpus/align). For each split the script prints the
phone boundaries that both have, as a share of the synthesiser's, the median distance of these in
milliseconds, and the shares within 20 and 30 ms. Phones are matched as `diff` matches lines, since
an alignment may choose another pronunciation or another pause; equal neighbours count as one.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from stages.acoustic.lang.lang import Lang
from stages.acoustic.lang.phones import phone_of_unit, phones_of
from stages.contract.progress import SilentProgress
from stages.corpus.align.settings import AlignSettings
from stages.corpus.align.source import AlignedSource
from stages.corpus.spoken.segments import find_segments
from stages.corpus.spoken.settings import SpokenSettings
from stages.corpus.spoken.speak import speak_split
from stages.corpus.spoken.synthesis import SAMPLE_RATE
from stages.corpus.spoken_source import SpokenSource

SILENT = SilentProgress()
SPLITS = ("train", "dev", "test")


@dataclass(frozen=True, slots=True)
class Boundaries:
    """Names of the phones of an utterance, and the start of each in milliseconds."""

    names: list[str]
    starts_ms: list[float]

    @classmethod
    def of(cls, names: list[str], starts_ms: list[float]) -> "Boundaries":
        """Equal neighbours are joined."""
        kept = [n for n, name in enumerate(names) if n == 0 or name != names[n - 1]]
        return cls([names[n] for n in kept], [starts_ms[n] for n in kept])

    def distances(self, other: "Boundaries") -> list[float]:
        """How much later each boundary is in `other`; the first phone has none."""
        matcher = SequenceMatcher(None, self.names, other.names, autojunk=False)
        return [
            other.starts_ms[block.b + n] - self.starts_ms[block.a + n]
            for block in matcher.get_matching_blocks()
            for n in range(block.size)
            if block.a + n
        ]


def spoken_boundaries(split: str, settings: SpokenSettings) -> Iterator[tuple[str, Boundaries]]:
    """The times of the synthesiser, before they are rounded to frames."""
    for spoken in speak_split(split, settings, title="", progress=SILENT):
        segments, lead = find_segments(spoken), spoken.planned.lead_seconds
        starts = [1000 * (lead + segment.start / SAMPLE_RATE) for segment in segments]
        yield spoken.planned.id, Boundaries.of([segment.name for segment in segments], starts)


def write_lexicon(lang: Lang, path: Path) -> None:
    """The lexicon of a lang with phones instead of units."""
    lines = {
        f"{entry.word} {' '.join(phone_of_unit(unit) for unit in entry.units)}\n": None
        for entry in lang.lexicon
    }
    path.write_text("".join(lines), encoding="utf-8")


def report(split: str, aligned: AlignedSource, settings: SpokenSettings) -> None:
    """Print the line of a split."""
    phones = phones_of(aligned.lang)
    assert phones is not None
    found = {}
    for raw in aligned.utterances(split):
        if raw.labels_T is not None:
            names = [phones.of_class[label] for label in raw.labels_T]
            starts = [raw.frame_shift_ms * frame for frame in range(len(names))]
            found[raw.id] = Boundaries.of(names, starts)
    num_boundaries, late_ms = 0, []
    for id, spoken in spoken_boundaries(split, settings):
        if id in found:
            num_boundaries += len(spoken.names) - 1
            late_ms += spoken.distances(found[id])
    error = np.abs(late_ms)
    print(
        f"{split:5}  {len(found)} utterances  {num_boundaries} boundaries  "
        f"matched {len(error) / num_boundaries:.1%}  median {np.median(error):.1f} ms  "
        f"within 20 ms {np.mean(error <= 20):.1%}  within 30 ms {np.mean(error <= 30):.1%}  "
        f"median late by {np.median(late_ms):+.1f} ms",
        flush=True,
    )


def main() -> None:
    """Align and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hours", type=float, default=1.5, help="of training speech")
    parser.add_argument("--realignments", type=int, default=5)
    parser.add_argument("--states", type=int, default=3)
    parser.add_argument("--clean", action="store_true", help="without distortion")
    given = parser.parse_args()
    changes = {"distortion": None} if given.clean else {}
    settings = SpokenSettings(hours=given.hours, **changes)
    with TemporaryDirectory() as folder:
        scratch, lexicon = Path(folder), Path(folder) / "lexicon.txt"
        spoken = SpokenSource(settings, scratch=scratch, progress=SILENT)
        for split in SPLITS:
            spoken.kept(split)  # the speech is made before the clock starts
        write_lexicon(spoken.lang, lexicon)
        align = AlignSettings(
            lexicon=str(lexicon), states=given.states, realignments=given.realignments
        )
        started = time.perf_counter()
        aligned = AlignedSource(spoken, align, passes=scratch / "passes", progress=SILENT)
        seconds = time.perf_counter() - started
        print(f"{aligned.lang.num_classes} classes in {seconds:.0f} s, one thread")
        for split in SPLITS:
            report(split, aligned, settings)


if __name__ == "__main__":
    main()
