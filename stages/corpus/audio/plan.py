"""Rows of all formats -> the utterances of train, dev and test that are read."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from stages.acoustic.sound.speech_table import SpeechRow, refuse_twice
from stages.contract.errors import BadInput
from stages.corpus.audio.settings import AudioSettings
from stages.corpus.source import SPLITS
from stages.corpus.speaker_shares import choose_speakers

NO_TRANSCRIPT = "no transcript"


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioPlan:
    """Split -> its utterances, and split -> the ids of those that are left out, by reason."""

    rows: dict[str, tuple[SpeechRow, ...]]
    left_out: dict[str, dict[str, list[str]]]


def plan_audio(rows: Sequence[SpeechRow], settings: AudioSettings, *, where: object) -> AudioPlan:
    """Sort the utterances into splits; `where` is the path for messages.

    Raises:
        BadInput: for two utterances of one id, audio files that are missing, a split that is
            unknown or has no utterance, and a transcript that is missing and needed.
    """
    rows = [_with_channel(row, settings.channel) for row in rows]
    refuse_twice(rows)
    if settings.unreadable == "fail":  # otherwise they are skipped when they are to be read
        _refuse_missing_files(rows)
    parts = _by_split(rows, settings, where=where)
    if settings.shares:
        counts = Counter(row.speaker for row in parts["train"])
        split_of = choose_speakers(counts, settings.shares, where=where)
        train = parts.pop("train")
        parts |= {split: [] for split in ("train", *settings.shares)}
        for row in train:
            parts[split_of.get(row.speaker, "train")].append(row)
    kept, left_out = {}, {}
    for split in SPLITS:
        whole = parts.get(split, [])
        if not whole:
            raise BadInput(
                f"{where} has no utterance of {split}: name it in corpus.audio.splits.{split}, or "
                "take dev and test from train (corpus.audio.dev_share and test_share)"
            )
        kept[split], left_out[split] = _with_transcripts(split, whole, settings, where=where)
    return AudioPlan(rows=kept, left_out=left_out)


def _with_channel(row: SpeechRow, channel: int | None) -> SpeechRow:
    is_stated = row.channel is not None
    return row if is_stated or channel is None else row.model_copy(update={"channel": channel})


def _by_split(
    rows: Sequence[SpeechRow], settings: AudioSettings, *, where: object
) -> dict[str, list[SpeechRow]]:
    if all(row.split is None for row in rows):
        return {"train": list(rows)}
    parts: dict[str, list[SpeechRow]] = defaultdict(list)
    for row in rows:
        split = settings.split_of.get(row.split or "")
        if split is None:
            _refuse_stated_share(row, settings, where=where)
            wanted = " or ".join(settings.names)
            raise BadInput(
                f"{where}: utterance {row.id!r} is of the split {row.split!r}, wanted {wanted}: "
                "set its name in corpus.audio.splits, or leave the utterance out"
            )
        parts[split].append(row)
    return parts


def _refuse_stated_share(row: SpeechRow, settings: AudioSettings, *, where: object) -> None:
    """A split that is taken from train must not be stated as well."""
    for split in settings.shares:
        if row.split == getattr(settings.splits, split):
            raise BadInput(
                f"{where}: utterance {row.id!r} is of {row.split!r}, and corpus.audio."
                f"{split}_share takes {split} from train: set it to 0, or state another split"
            )


def _refuse_missing_files(rows: Sequence[SpeechRow]) -> None:
    paths = dict.fromkeys(row.path for row in rows)
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise BadInput(
            f"{missing[0]} is missing, and so are {len(missing)} of {len(paths)} audio files: are "
            "the paths right? Relative ones begin at the folder of the table that names them; "
            "corpus.audio.unreadable: skip leaves such utterances out"
        )


def _with_transcripts(
    split: str, rows: Sequence[SpeechRow], settings: AudioSettings, *, where: object
) -> tuple[tuple[SpeechRow, ...], dict[str, list[str]]]:
    without = [row.id for row in rows if not (row.text or "").split()]
    policy = settings.no_transcript
    if not without or (policy == "untranscribed" and split == "train"):
        return tuple(rows), {}
    if policy != "leave_out":
        raise BadInput(
            f"{where}: utterance {without[0]!r} of {split} has no transcript, as {len(without)} of "
            f"{len(rows)}: add them, or set corpus.audio.no_transcript to leave_out, or, for "
            "train, to untranscribed (docs/untranscribed.md)"
        )
    excluded = set(without)
    return tuple(row for row in rows if row.id not in excluded), {NO_TRANSCRIPT: without}
