"""Foreign kinds: a model's files -> a member's directory, tried on some utterances.

    work/member-3f9c0a71b2d4/foreign/          the model, copied
    work/member-3f9c0a71b2d4/foreign-KIND.json its description

A foreign kind is its settings and a loader; the rest is here.

Shapes: T frames, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import lcm
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.models.permission import ALLOWED, is_allowed
from stages.contract.description import read_description
from stages.contract.errors import BadInput, BadPosterior
from stages.contract.progress import Progress
from stages.members.batches import plan_batches, read_batch
from stages.members.foreign.member import ForeignAbout, ForeignMember, Load, LoadedForeign
from stages.members.foreign.model_files import copy_files, digests_of
from stages.members.foreign.settings import ForeignMemberSettings, TrustedMemberSettings
from stages.members.foreign.waveform import NO_AUDIO
from stages.members.kind import MemberKind
from stages.members.member import Member
from stages.members.run import check_piece, run_member
from stages.training.ranks import ALONE, Ranks
from storage.corpus.corpus_file import CorpusFile
from storage.files.fingerprint import SHORT
from storage.files.publish import publish_file

SPLITS = ("dev", "train")  # what every teacher labels
SMALL_STRIDES = 4  # their least common multiple; more of them would take longer to try
SAME = 1e-3  # nats between two runs on one input; dropout that was left on moves more


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKind:
    """A kind of foreign member: its settings, and how its files become a Runner."""

    settings: type[ForeignMemberSettings]
    load: Load

    @property
    def description(self) -> str:
        """File name of the description."""
        return f"foreign-{self.settings.model_fields['kind'].default}.json"

    def row(self) -> MemberKind[Any]:
        """Its row of the table of kinds."""
        return MemberKind(
            settings=self.settings,
            make=self.make,
            descriptions=(self.description,),
            open=self.open,
            why_not=self.why_not,
        )

    def make(
        self,
        settings: ForeignMemberSettings,
        *,
        corpus_directory: Path,
        directory: Path,
        device: str,
        progress: Progress,
        ranks: Ranks = ALONE,
        keep_bad: bool = False,
    ) -> None:
        """Copy the model, run it on some utterances, describe it.

        Raises:
            BadInput: if a file cannot be read, or the model does not fit the corpus.
            MemberFailed, BadPosterior: if it raises, or its output is not what is declared.
        """
        if not ranks.is_first:
            return
        reads_audio = settings.input == "waveform"
        with CorpusFile(corpus_directory / "dev.h5") as corpus:
            about = ForeignAbout(
                title=settings.title,
                settings=settings.model_dump(mode="json"),
                counted=settings.identity(),
                files=(copy_files if settings.is_copied else _not_copied)(
                    settings.files, directory
                ),
                class_map=settings.read_map(),
                feature_dim=None if reads_audio else corpus.about.feature_dim,
                frame_shift_ms=corpus.about.frame_shift_ms if reads_audio else None,
                num_classes=corpus.about.num_classes,
                class_inventory=corpus.about.class_inventory,
            )
        where = f"member {settings.name}"
        member = self._member(settings, about, directory, device=device, where=where)
        loaded = member.load()
        _refuse_unfit(loaded, member)
        _try_out(loaded, corpus_directory, settings.name, device=device)
        about = about.model_copy(update={"num_parameters": loaded.runner.num_parameters})
        publish_file(directory / self.description, about.model_dump_json(indent=2).encode() + b"\n")

    def open(self, directory: Path, device: str) -> Member:
        """The member in `directory`; the model is not read.

        Raises:
            BadInput: if the description is not a valid one, or the settings do not trust the model.
        """
        if why := self.why_not(directory, ()):
            raise BadInput(f"{directory}: {why}")
        about, settings = self._read(directory)
        return self._member(settings, about, directory, device=device, where=str(directory))

    def why_not(self, directory: Path, _splits: Sequence[str]) -> str | None:
        """A model that can run code is not loaded, unless the settings trust it."""
        settings = self._read(directory)[1]
        if isinstance(settings, TrustedMemberSettings) and not is_allowed(settings.permission):
            return (
                f"{settings.runs} can run any code on this machine, and your settings name no such "
                f"member: if you trust it, set {ALLOWED}={settings.permission}"
            )
        return None

    def _read(self, directory: Path) -> tuple[ForeignAbout, ForeignMemberSettings]:
        path, advice = directory / self.description, f"remove {directory} and make it again"
        about = read_description(ForeignAbout, path, advice=advice)
        try:
            return about, self.settings.model_validate(about.settings)
        except ValueError as cause:
            raise BadInput(f"{path}: settings: {' '.join(str(cause).split())}: {advice}") from cause

    def _member(
        self,
        settings: ForeignMemberSettings,
        about: ForeignAbout,
        directory: Path,
        *,
        device: str,
        where: str,
    ) -> ForeignMember:
        return ForeignMember(
            directory=directory,
            settings=settings,
            about=about,
            device=device,
            load_runner=self.load,
            where=where,
        )


def _not_copied(files: Any, _directory: Path) -> dict[str, str]:
    return digests_of(files)


def _refuse_unfit(loaded: LoadedForeign, member: ForeignMember) -> None:
    """Compare what the model declares with the corpus, before it runs."""
    about, found = member.about, loaded.runner
    if about.feature_dim is not None and found.feature_dim not in (None, about.feature_dim):
        raise BadInput(
            f"{member.where}: the model reads {found.feature_dim} features, the corpus has "
            f"{about.feature_dim} (corpus.features): leave the member out, or make a corpus of "
            "the features that it was trained on"
        )
    inventory = found.class_inventory
    if about.class_map is None and inventory not in (None, about.class_inventory):
        raise BadInput(
            f"{member.where}: the model's classes are {str(inventory)[:SHORT]}, those of the "
            f"corpus {about.class_inventory[:SHORT]}: name a class_map, or leave the member out"
        )


def _try_out(loaded: LoadedForeign, corpus_directory: Path, name: str, *, device: str) -> None:
    """Run the model on an utterance of dev, twice, and on several lengths of each split.

    What would end the teacher after hours, an utterance too short or too long for the model, or of
    a length for which it gives another number of frames, is found in seconds.
    """
    posteriors = partial(_posteriors, loaded, name=name, device=device)
    with CorpusFile(corpus_directory / "dev.h5") as dev:
        first = next((i for i, row in enumerate(dev.utterances) if row.num_frames), None)
        if first is None:
            raise BadInput(f"{dev.path} has no frames: member {name} cannot be tried on them")
        difference = float(np.abs(posteriors(dev, first) - posteriors(dev, first)).max())
        if difference > SAME:
            raise BadPosterior(
                f"member {name}, utterance {dev.utterances[first].id!r}: run twice, its "
                f"log-posteriors differ by {difference:.3g}: was the model exported in training "
                "mode? Export it in evaluation mode, without dropout"
            )
    for split in SPLITS:
        with CorpusFile(corpus_directory / f"{split}.h5") as corpus:
            _refuse_without_audio(loaded, corpus, name)
            lengths = [row.num_frames for row in corpus.utterances]
            for index in choose_lengths(lengths, stride=loaded.settings.stride):
                posteriors(corpus, index)


def choose_lengths(lengths: Sequence[int], *, stride: int) -> list[int]:
    """Indices of the longest utterance, and of the shortest of every remainder that occurs.

    A model with a stride rounds its number of frames by the remainder of the length, in layers of
    stride 2 and 4 as well as in that of its own. Utterances without frames are not chosen.
    """
    divisor = lcm(SMALL_STRIDES, stride)
    by_length = sorted((i for i, length in enumerate(lengths) if length), key=lengths.__getitem__)
    shortest: dict[int, int] = {}
    for index in by_length:
        shortest.setdefault(lengths[index] % divisor, index)
    return list(dict.fromkeys([*by_length[-1:], *shortest.values()]))


def _refuse_without_audio(loaded: LoadedForeign, corpus: CorpusFile, name: str) -> None:
    """An utterance that has none, a copy for instance, would end the teacher after hours."""
    for row in corpus.utterances:
        if loaded.waveform is not None and row.num_frames and row.audio is None:
            raise BadInput(f"member {name}, utterance {row.id!r} of {corpus.path.name}: {NO_AUDIO}")


def _posteriors(
    loaded: LoadedForeign, corpus: CorpusFile, index: int, *, name: str, device: str
) -> NDArray[np.float32]:
    """Checked log-posteriors (T, C) of one utterance."""
    parts = []
    for pieces in plan_batches(corpus.utterances, [index], batch_frames=1):
        batch = read_batch(corpus, pieces, device=device, with_features=True)
        for piece, logp_TC in run_member(loaded, batch, loaded.about, name=name):
            array_TC = logp_TC.cpu().numpy()
            try:
                check_piece(array_TC, piece, num_classes=loaded.about.num_classes, name=name)
            except BadPosterior as error:
                raise BadPosterior(f"{error} (output is {loaded.settings.output!r})") from error
            parts.append(array_TC)
    return np.concatenate(parts)
