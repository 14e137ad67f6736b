"""Aligner: transcribed utterances -> a model that aligns, by passes over the data.

    flat start -> Gaussians, several times -> a network on phones -> networks on tied contexts

One utterance is in memory at a time, or one batch of a network, and the state of every frame. A
pass takes the alignment of the one before and nothing else, so that after an interruption the next
run goes on with the last alignment that was kept.

Shapes: T frames, F feature dims, C classes, S states of a transcript.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from stages.contract.errors import BadInput
from stages.contract.progress import Progress
from stages.corpus.align.classes import PhoneClasses, class_of_unit, tie_contexts
from stages.corpus.align.edges import louder_in_the_middle, silent_edges
from stages.corpus.align.frames import FeatureSpace
from stages.corpus.align.gaussians import GaussianSums, flat_start
from stages.corpus.align.hmms import Alignment, ClassOf, Hmms, Transcribed
from stages.corpus.align.network import AlignmentNetwork, Example, plan_batches, train_network
from stages.corpus.align.passes import Passes
from stages.corpus.align.settings import AlignSettings
from stages.corpus.raw import RawUtterance
from stages.corpus.spoken.units import UnitClasses

GAUSSIAN_PASSES = 12
NETWORKS_ON_PHONES = 1  # if there are several networks; the others have classes of contexts
LAST_NETWORK = "last-network"
Pass = Callable[[Alignment], Alignment]  # by a model that is trained on the one before


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignmentModel:
    """A network on the classes of HMM states, which aligns the utterances of any split."""

    hmms: Hmms
    space: FeatureSpace
    network: AlignmentNetwork
    class_of: ClassOf

    def align(self, split: Transcribed, *, title: str, progress: Progress) -> Alignment:
        """The state of every frame of the utterances that have enough frames."""

        def score(raw: RawUtterance) -> NDArray[np.float32]:
            return self.network.loglike(self.space.scaled(raw))

        return self.hmms.align(
            split, score=score, class_of=self.class_of, title=title, progress=progress
        )

    def label(self, split: Transcribed, *, title: str, progress: Progress) -> Alignment:
        """The class of every frame instead of its state."""
        labels = {}
        for number, state_T in self.align(split, title=title, progress=progress).items():
            class_S = self.hmms.classes(split.words_of[number], self.class_of)
            labels[number] = class_S[state_T]
        return labels


class Aligner:
    """Trains models on the transcribed utterances of train, each on the paths of the one before."""

    def __init__(
        self,
        train: Transcribed,
        hmms: Hmms,
        settings: AlignSettings,
        *,
        passes: Passes,
        progress: Progress,
    ) -> None:
        self._train = train
        self._hmms = hmms
        self._settings = settings
        self._passes = passes
        self._progress = progress
        self._phones = PhoneClasses(hmms.phones, states_per_phone=settings.states)
        self._space = FeatureSpace.of(train.kept.read(train.words_of))

    def train(self) -> tuple[AlignmentModel, UnitClasses]:
        """The last model, and its classes.

        Raises:
            BadInput: if no utterance has enough frames.
        """
        alignment = self._make_passes()
        classes = self._tie(alignment)
        arrays = self._passes.read(LAST_NETWORK)
        if arrays is not None:
            network = AlignmentNetwork.of_arrays(arrays)
            return self._model(network, class_of_unit(classes)), classes
        model = self._fit_contexts(alignment, classes, turn=self._settings.realignments)
        self._passes.write(LAST_NETWORK, model.network.arrays())
        return model, classes

    def _make_passes(self) -> Alignment:
        """The alignment by the last pass before the last network."""
        passes = self._plan()
        names = list(passes)
        before = self._passes.newest(names)
        alignment = self._passes.read_alignment(before) if before else None
        if before is not None and alignment is not None:
            names = names[names.index(before) + 1 :]
            self._progress.note(f"the alignment goes on after {before}, which an earlier run made")
        else:
            before, alignment = None, self._flat_start()
        for name in names:
            alignment = passes[name](alignment)
            self._passes.write_alignment(name, alignment, instead_of=before)
            before = name
        return alignment

    def _plan(self) -> dict[str, Pass]:
        """The passes by name, in order."""
        gaussians: dict[str, Pass] = {
            f"gaussians-{turn}": partial(self._by_gaussians, turn=turn)
            for turn in range(1, GAUSSIAN_PASSES + 1)
        }
        networks: dict[str, Pass] = {
            f"network-{turn}": partial(self._by_network, turn=turn)
            for turn in range(1, self._settings.realignments)
        }
        return gaussians | networks

    def _flat_start(self) -> Alignment:
        alignment: Alignment = {}
        words_of, kept = self._train.words_of, self._train.kept
        num_frames = kept.num_frames
        numbers = [number for number in words_of if num_frames[number]]
        sign = louder_in_the_middle(map(self._space.loudness, kept.read(numbers)))
        for number, raw in zip(numbers, kept.read(numbers), strict=True):
            edges = silent_edges(sign * self._space.loudness(raw))
            hmm = self._hmms.of(words_of[number])
            state_T = flat_start(hmm, num_frames[number], edges=edges)
            if state_T is not None:
                alignment[number] = state_T
        if not alignment:
            raise BadInput(
                f"no utterance of train can be aligned: all {len(words_of)} have fewer "
                "frames than states of their words: are features and transcripts of one corpus?"
            )
        return alignment

    def _by_gaussians(self, alignment: Alignment, *, turn: int) -> Alignment:
        phones = self._phones
        sums = GaussianSums(phones.num_classes, self._space.num_rotated)
        for raw, class_T in self._aligned(alignment, list(alignment), phones.class_of):
            sums.add(self._space.rotated(raw), class_T)
        gaussians = sums.estimate()

        def score(raw: RawUtterance) -> NDArray[np.float64]:
            return gaussians.loglike(self._space.rotated(raw))

        return self._hmms.align(
            self._train,
            score=score,
            class_of=phones.class_of,
            title=f"align train by Gaussians, pass {turn} of {GAUSSIAN_PASSES}",
            progress=self._progress,
        )

    def _by_network(self, alignment: Alignment, *, turn: int) -> Alignment:
        phones = self._phones
        if turn <= NETWORKS_ON_PHONES:
            model = self._fit(alignment, phones.class_of, num_classes=phones.num_classes, turn=turn)
        else:
            model = self._fit_contexts(alignment, self._tie(alignment), turn=turn)
        title = f"align train by network {turn} of {self._settings.realignments}"
        return model.align(self._train, title=title, progress=self._progress)

    def _tie(self, alignment: Alignment) -> UnitClasses:
        return tie_contexts(alignment, self._train, self._hmms, min_count=self._settings.min_count)

    def _fit_contexts(
        self, alignment: Alignment, classes: UnitClasses, *, turn: int
    ) -> AlignmentModel:
        class_of = class_of_unit(classes)
        return self._fit(alignment, class_of, num_classes=classes.num_classes, turn=turn)

    def _aligned(
        self, alignment: Alignment, numbers: Sequence[int], class_of: ClassOf
    ) -> Iterator[tuple[RawUtterance, NDArray[np.int64]]]:
        """Utterances and the class of each of their frames."""
        for number, raw in zip(numbers, self._train.kept.read(numbers), strict=True):
            class_S = self._hmms.classes(self._train.words_of[number], class_of)
            yield raw, class_S[alignment[number]]

    def _fit(
        self, alignment: Alignment, class_of: ClassOf, *, num_classes: int, turn: int
    ) -> AlignmentModel:
        def read(batch: Sequence[int]) -> Iterator[Example]:
            for raw, class_T in self._aligned(alignment, [numbers[i] for i in batch], class_of):
                yield self._space.scaled(raw), class_T

        numbers = list(alignment)
        lengths = [self._train.kept.num_frames[number] for number in numbers]
        seed = self._settings.seed + turn
        batches = plan_batches(lengths, seed=seed)
        title = f"train network {turn} of {self._settings.realignments}"
        with self._progress.task(title, total=len(batches), unit="batches") as task:
            network = train_network(
                batches,
                read,
                num_classes=num_classes,
                feature_dim=self._space.num_features,
                seed=seed,
                task=task,
            )
        return self._model(network, class_of)

    def _model(self, network: AlignmentNetwork, class_of: ClassOf) -> AlignmentModel:
        return AlignmentModel(
            hmms=self._hmms, space=self._space, network=network, class_of=class_of
        )
