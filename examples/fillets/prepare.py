"""Debian's fillets-ng data -> tables of audio: 90 minutes of acted, transcribed Czech.

    apt-get install fillets-ng-data fillets-ng-data-cs
    python examples/fillets/prepare.py fillets-data

writes

    phones.tsv, phones.txt   id, path, speaker, split, text; a word is a phone. Their lexicon
    words.tsv                the same utterances in words
    left-out.tsv             id, reason

Texts are in script/LEVEL/*dialogs_cs.lua, an utterance is sound/LEVEL/cs/ID.ogg. The font of a
subtitle is its voice. Two lead voices speak four fifths of the time: all other voices are test, and
so are the lead voices in some levels, which are chosen by the hash of their names; those of other
levels are dev. A speaker of the tables is a voice in a level: lead voices of test are in train too.
"""

import argparse
import hashlib
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

DATA = Path("/usr/share/games/fillets-ng")
LEADS = ("small", "big")
DEV_LEVELS, TEST_LEVELS = 0.10, 0.15  # shares of all levels
LETTERS = frozenset("aábcčdďeéěfghiíjklmnňoópqrřsštťuúůvwxyýzž")
# Read letter by letter, or as English: a pronunciation by rule is wrong.
SPELLED = frozenset(["FDTO", "ZX", "MMX", "VGA", "WC", "TMP", "OK", "LC", "XTéčko", "XTéčku"])

# dialogId("name", "font_voice", "English") or dialogStr("text"); Lua's strings go over no line.
_STRING = r'"((?:[^"\\]|\\.)*)"'
_CALL = re.compile(
    rf"dialogId\(\s*{_STRING}\s*,\s*{_STRING}\s*,\s*{_STRING}\s*\)|dialogStr\(\s*{_STRING}\s*\)"
)
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Dialog:
    """One subtitle: its name in the game, the voice that speaks it, and its text."""

    name: str
    voice: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """A subtitle with its recording."""

    level: str
    dialog: Dialog
    path: Path

    @property
    def id(self) -> str:
        """Unique: names of subtitles are so within their level."""
        return f"{self.level}-{self.dialog.name}"

    @property
    def speaker(self) -> str:
        """The voice in its level."""
        return f"{self.level}-{self.dialog.voice}"


def read_dialogs(text: str) -> list[Dialog]:
    """The subtitles of a dialogs_cs.lua, in its order; of two of one name the later counts."""
    found: dict[str, Dialog] = {}
    pending: tuple[str, str] | None = None
    for match in _CALL.finditer(_COMMENT.sub("", text)):
        name, font, _english, subtitle = match.groups()
        if name is not None:
            pending = (name, font.removeprefix("font_"))
        elif pending is not None:
            found[pending[0]] = Dialog(*pending, re.sub(r"\\(.)", r"\1", subtitle))
            pending = None
    return list(found.values())


def read_utterances(data: Path) -> Iterator[Utterance]:
    """The subtitles that have a recording, by level and file."""
    for script in sorted(data.glob("script/*/*dialogs_cs.lua")):
        level = script.parent.name
        folders = sorted((data / "sound" / "share").glob("*/cs")) if level == "share" else []
        for dialog in read_dialogs(script.read_text(encoding="utf-8")):
            for folder in folders or [data / "sound" / level / "cs"]:
                path = folder / f"{dialog.name}.ogg"
                if path.is_file():
                    yield Utterance(level=folder.parent.name, dialog=dialog, path=path)


def words_of(text: str) -> list[str]:
    """The words in lower case, without punctuation.

    Raises:
        ValueError: stating why the text does not show what is spoken.
    """
    if "%" in text:
        raise ValueError("a number that the game fills in")
    if re.search(r"\d", text):
        raise ValueError("a number in digits")
    if re.search(r"[\\/]", text):
        raise ValueError("a file name")
    marks = "".join(" " if unicodedata.category(mark)[0] in "PSZ" else mark for mark in text)
    words = unicodedata.normalize("NFC", marks).split()
    if SPELLED & set(words):
        raise ValueError("spelled letters")
    if not words:
        raise ValueError("no words")
    lowered = [word.lower() for word in words]
    if not LETTERS.issuperset("".join(lowered)):
        raise ValueError("letters of another alphabet")
    return lowered


def split_levels(levels: Iterable[str]) -> dict[str, str]:
    """Level -> the split of the lead voices in it, by the hash of its name."""
    ranked = sorted(set(levels), key=lambda level: hashlib.sha256(level.encode()).digest())
    num_test, num_dev = (round(share * len(ranked)) for share in (TEST_LEVELS, DEV_LEVELS))
    parts = ["test"] * num_test + ["dev"] * num_dev
    parts += ["train"] * (len(ranked) - len(parts))
    return dict(zip(ranked, parts, strict=True))


def choose_transcribed(seconds: dict[str, float], share: float) -> set[str]:
    """Levels of train that keep their transcripts: a share of the time, by another hash."""
    ranked = sorted(seconds, key=lambda level: hashlib.sha256(f"{level}.".encode()).digest())
    chosen: set[str] = set()
    for level in ranked:
        if sum(seconds[each] for each in chosen) >= share * sum(seconds.values()):
            break
        chosen.add(level)
    return chosen


def sort_out(utterances: Iterable[Utterance]) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Id -> words of the utterances that are kept, and id -> reason of those that are not."""
    kept: dict[str, list[str]] = {}
    left_out: dict[str, str] = {}
    for utterance in utterances:
        try:
            if utterance.dialog.voice == "both":
                raise ValueError("two voices at once")
            if not utterance.dialog.voice:
                raise ValueError("no voice")
            kept[utterance.id] = words_of(utterance.dialog.text)
        except ValueError as reason:
            left_out[utterance.id] = str(reason)
    return kept, left_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What becomes of each utterance. `hidden` are those of train that lose their transcripts."""

    kept: tuple[Utterance, ...]
    words: dict[str, list[str]]
    splits: dict[str, str]
    seconds: dict[str, float]
    hidden: set[str]
    left_out: dict[str, str]


def plan_corpus(data: Path, *, transcribed: float) -> Plan:
    """Sort the utterances of the game into splits."""
    import soundfile  # an extra of Essence: only where recordings are measured

    utterances = list(read_utterances(data))
    words, left_out = sort_out(utterances)
    kept = tuple(each for each in utterances if each.id in words)
    of_level = split_levels(each.level for each in kept)
    splits = {e.id: of_level[e.level] if e.dialog.voice in LEADS else "test" for e in kept}
    seconds = {each.id: float(soundfile.info(each.path).duration) for each in kept}
    train = [each for each in kept if splits[each.id] == "train"]
    of_levels: Counter[str] = Counter()
    for each in train:
        of_levels[each.level] += seconds[each.id]
    with_text = choose_transcribed(of_levels, transcribed)
    return Plan(
        kept=kept,
        words=words,
        splits=splits,
        seconds=seconds,
        hidden={each.id for each in train if each.level not in with_text},
        left_out=left_out,
    )


def write_tables(plan: Plan, out: Path) -> None:
    """Fill the folder `out`."""
    phones = _phones({word for each in plan.words.values() for word in each})
    spelled = {id: [p for word in each for p in phones[word]] for id, each in plan.words.items()}
    out.mkdir(parents=True, exist_ok=True)
    for name, texts in (("words", plan.words), ("phones", spelled)):
        rows = []
        for each in plan.kept:
            text = "" if each.id in plan.hidden else " ".join(texts[each.id])
            rows.append((each.id, str(each.path), each.speaker, plan.splits[each.id], text))
        _write_tsv(out / f"{name}.tsv", ("id", "path", "speaker", "split", "text"), rows)
    inventory = sorted({phone for each in phones.values() for phone in each})
    lexicon = "".join(f"{phone} {phone}\n" for phone in inventory)
    (out / "phones.txt").write_text(lexicon, encoding="utf-8")
    _write_tsv(out / "left-out.tsv", ("id", "reason"), plan.left_out.items())


def _phones(words: set[str]) -> dict[str, tuple[str, ...]]:
    """The pronunciation of each word, by espeak-ng."""
    from stages.corpus.align.lexicon import pronounce
    from stages.corpus.align.settings import AlignSettings

    found = pronounce(words, AlignSettings(lexicon="espeak:cs"))
    return {word: found[word][0] for word in words}


def _write_tsv(path: Path, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    lines = ["\t".join(row) for row in (head, *rows)]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def summary_lines(plan: Plan) -> Iterator[str]:
    """The sizes of the splits, their words that train's transcripts lack, and what is left out."""
    train = [e.id for e in plan.kept if plan.splits[e.id] == "train" and e.id not in plan.hidden]
    known = {word for id in train for word in plan.words[id]}
    for split in ("train", "dev", "test"):
        part = [each for each in plan.kept if plan.splits[each.id] == split]
        spoken = [word for each in part for word in plan.words[each.id]]
        unknown = sum(word not in known for word in spoken) / max(1, len(spoken))
        leads = sum(plan.seconds[e.id] for e in part if e.dialog.voice in LEADS)
        yield (
            f"{split}: {len(part)} utterances, {sum(plan.seconds[e.id] for e in part) / 60:.1f} "
            f"minutes, {leads / 60:.1f} of them by the lead voices, {len(spoken)} words, "
            f"{100 * unknown:.1f} % not in the transcripts of train"
        )
    minutes = sum(plan.seconds[id] for id in plan.hidden) / 60
    yield f"train without transcripts: {len(plan.hidden)} utterances, {minutes:.1f} minutes"
    for reason, count in Counter(plan.left_out.values()).most_common():
        yield f"left out: {count} with {reason}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, write the tables, print what is in them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="folder for the tables")
    parser.add_argument("--data", type=Path, default=DATA, help=f"the game's data ({DATA})")
    parser.add_argument(
        "--transcribed", type=float, default=1 / 3, help="share of train with transcripts (1/3)"
    )
    options = parser.parse_args(arguments)
    if not list(options.data.glob("sound/*/cs")):
        sys.exit(
            f"{options.data} has no sound/*/cs: apt-get install fillets-ng-data "
            "fillets-ng-data-cs, or name the folder with --data"
        )
    plan = plan_corpus(options.data, transcribed=options.transcribed)
    write_tables(plan, options.out)
    for line in summary_lines(plan):
        print(line)


if __name__ == "__main__":
    main()
