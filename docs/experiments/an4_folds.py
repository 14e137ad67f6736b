"""Write AN4 as four Kaldi data directories for cross-validation over speakers.

    python docs/experiments/an4_folds.py AN4 OUT

AN4: the data directory that examples/an4.yaml reads. OUT/fold1 to OUT/fold4 have train, dev and
test: every speaker is in the test of one fold. Features stay where they are; alignments are not
taken over. OUT/lexicon.txt has the pronunciations in phones, without the contexts of AN4's units.
"""

import sys
from pathlib import Path

FOLDS = 4
DEV_EVERY = 6  # of the speakers who are not in test: 10 or 11 of 63


def read_table(directory: Path, name: str) -> dict[str, str]:
    """A Kaldi table: the first field of each line, and the rest of it."""
    lines = (directory / name).read_text().splitlines()
    return {key: rest for key, _, rest in (line.partition(" ") for line in lines)}


def read_all(an4: Path) -> dict[str, dict[str, str]]:
    """feats.scp (with absolute paths), text and utt2spk of all three parts together."""
    tables: dict[str, dict[str, str]] = {"feats.scp": {}, "text": {}, "utt2spk": {}}
    for part in ("train", "dev", "test"):
        for name, table in tables.items():
            found = read_table(an4 / part, name)
            if name == "feats.scp":
                found = {key: f"{(an4 / part).resolve()}/{where}" for key, where in found.items()}
            table.update(found)
    return tables


def split_of_speakers(speakers: list[str], fold: int) -> dict[str, str]:
    """The part of each speaker in one fold."""
    others = [speaker for number, speaker in enumerate(speakers) if number % FOLDS != fold]
    dev = set(others[::DEV_EVERY])
    parts = {speaker: "dev" if speaker in dev else "train" for speaker in others}
    return {speaker: parts.get(speaker, "test") for speaker in speakers}


def write_fold(out: Path, tables: dict[str, dict[str, str]], parts: dict[str, str]) -> None:
    """The data directories of one fold."""
    speaker_of = tables["utt2spk"]
    for part in ("train", "dev", "test"):
        directory = out / part
        directory.mkdir(parents=True, exist_ok=True)
        ids = sorted(key for key, speaker in speaker_of.items() if parts[speaker] == part)
        for name, table in tables.items():
            lines = [f"{key} {table[key]}\n" for key in ids]
            (directory / name).write_text("".join(lines))


def lexicon_in_phones(an4: Path) -> str:
    """The lexicon with each unit `left-phone` as its phone."""
    lines = []
    for line in (an4 / "lang" / "lexicon.txt").read_text().splitlines():
        word, *units = line.split()
        lines.append(" ".join([word, *(unit.rpartition("-")[2] for unit in units)]))
    return "".join(f"{line}\n" for line in dict.fromkeys(lines))


def main(an4: Path, out: Path) -> None:
    """Write all folds and print their sizes."""
    tables = read_all(an4)
    speakers = sorted(set(tables["utt2spk"].values()))
    for fold in range(FOLDS):
        parts = split_of_speakers(speakers, fold)
        write_fold(out / f"fold{fold + 1}", tables, parts)
        sizes = {part: list(parts.values()).count(part) for part in ("train", "dev", "test")}
        print(f"fold{fold + 1}: speakers of {sizes}")
    (out / "lexicon.txt").write_text(lexicon_in_phones(an4))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
