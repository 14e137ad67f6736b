"""Lhotse manifest -> rows, read by lhotse itself.

The id of an utterance is that of its cut, or of its supervision where there are no cuts.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.acoustic.sound.speech_table import SpeechRow
from stages.contract.errors import BadInput
from stages.corpus.audio.kaldi_rows import resolve
from stages.corpus.audio.lhotse_files import Manifest, find_manifests
from stages.corpus.audio.settings import AudioSettings

HARMLESS = ("Resample",)  # other transforms change what is spoken, or when


def read_lhotse_rows(path: Path, settings: AudioSettings) -> list[SpeechRow]:
    """The utterances of the manifests at `path`.

    Raises:
        BadInput: naming manifest and cut, for what is no span of one audio file.
    """
    rows = []
    for manifest in find_manifests(path, settings):
        try:
            rows += list(_cuts(manifest) if manifest.cuts else _supervisions(manifest))
        except BadInput:
            raise
        except Exception as cause:  # whatever lhotse raises is about this manifest
            reason = " ".join(str(cause).split()) or type(cause).__name__
            raise BadInput(
                f"{manifest.files[0]} cannot be read by lhotse ({reason}): is it whole, and a "
                "manifest of cuts, or of recordings and supervisions?"
            ) from cause
    return rows


def _cuts(manifest: Manifest) -> Iterator[SpeechRow]:
    from lhotse import CutSet  # imports torch: only where a manifest is read

    assert manifest.cuts is not None
    for cut in CutSet.from_file(manifest.cuts):
        where = f"{manifest.cuts}, cut {cut.id!r}"
        if type(cut).__name__ not in ("MonoCut", "MultiCut") or cut.recording is None:
            raise BadInput(
                f"{where} is a {type(cut).__name__} without a recording of its own, wanted a span "
                "of one: export the audio (save_audios), or leave it out"
            )
        if len(cut.supervisions) > 1:
            raise BadInput(
                f"{where} has {len(cut.supervisions)} supervisions, wanted 1: split the cuts "
                "(trim_to_supervisions)"
            )
        supervision = cut.supervisions[0] if cut.supervisions else None
        yield _row(
            cut.id, cut.recording, cut, supervision, split=manifest.split, where=(where, manifest)
        )


def _supervisions(manifest: Manifest) -> Iterator[SpeechRow]:
    from lhotse import RecordingSet, SupervisionSet  # imports torch, see above

    recordings = {each.id: each for each in RecordingSet.from_file(manifest.recordings)}
    for supervision in SupervisionSet.from_file(manifest.supervisions):
        where = f"{manifest.supervisions}, supervision {supervision.id!r}"
        recording = recordings.get(supervision.recording_id)
        if recording is None:
            raise BadInput(
                f"{where} is of the recording {supervision.recording_id!r}, which "
                f"{manifest.recordings} does not have"
            )
        yield _row(
            supervision.id,
            recording,
            supervision,
            supervision,
            split=manifest.split,
            where=(where, manifest),
        )


def _row(
    id: str,
    recording: Any,
    span: Any,
    supervision: Any,
    *,
    split: str | None,
    where: tuple[str, Manifest],
) -> SpeechRow:
    """`span` is a cut or a supervision: it has start, duration and channel."""
    place, manifest = where
    _refuse_transforms(recording, place)
    channels = span.channel if isinstance(span.channel, list) else [span.channel]
    sources = [each for each in recording.sources if set(channels) & set(each.channels)]
    if len(sources) != 1 or sources[0].type != "file":
        kinds = ", ".join(f"{each.type}: {str(each.source)[:60]}" for each in recording.sources)
        raise BadInput(
            f"{place}: found audio from {kinds}, wanted one file: commands (shell pipes) are "
            "refused, since a corpus would run them; write the audio to files"
        )
    (source,) = sources
    is_one_channel = len(source.channels) > 1 and len(channels) == 1
    return SpeechRow(
        id=id,
        path=resolve(source.source, manifest.files[0].parent),
        start=span.start,
        end=span.start + span.duration,
        channel=source.channels.index(channels[0]) if is_one_channel else None,
        duration=recording.duration,
        speaker=(supervision and supervision.speaker) or recording.id,
        split=split,
        text=supervision.text if supervision else None,
    )


def _refuse_transforms(recording: Any, place: str) -> None:
    for transform in recording.transforms or ():
        name = transform.get("name") if isinstance(transform, dict) else type(transform).__name__
        if name not in HARMLESS:
            raise BadInput(
                f"{place}: its recording is changed by {name}, which would not be in the file: "
                "export the audio (save_audios), or use corpus.copies"
            )
