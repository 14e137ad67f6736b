"""corpus, members, graph -> hard labels of train: one pass of the ensemble, part by part.

Transcribed utterances are aligned along their transcripts, untranscribed ones are decoded. Members
in folds label an utterance with the model that was trained without its speaker, as for the teacher.
Finished parts are kept (parts.py): the result does not depend on when a run was stopped.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.acoustic.lang.priors import log_priors
from stages.contract.copies import originals_in_time, read_copies
from stages.contract.ensemble_labels import LABELS_FORMAT, LabelsAbout, Made, write_labels
from stages.contract.errors import BadInput
from stages.contract.progress import Progress, Task
from stages.labels.likelihoods import Logp, likelihoods_of
from stages.labels.parts import FOLDER, NO_PATH, Labelled, read_part, write_part
from stages.labels.path_pool import PathPool, path_pool
from stages.labels.path_worker import FoundPath, PathJob
from stages.labels.plan import Wanted, cut_parts, plan_utterances
from stages.labels.settings import PathSettings
from stages.labels.write import assemble, describe
from stages.members.shares import LoadedShares, load_members, order_members, refuse_other_corpus
from stages.training.torch_threads import fixed_threads
from storage.corpus.corpus_file import CorpusFile
from storage.files.fingerprint import fingerprint


def label_train(
    settings: PathSettings,
    *,
    members: Sequence[Path],
    corpus_directory: Path,
    graph_directory: Path,
    directory: Path,
    device: str,
    progress: Progress,
) -> None:
    """Write classes.npy and utterances.json. Parts that a stopped run has finished are kept.

    Raises:
        BadInput, MissingPart: if members do not fit each other, the corpus or the graph.
        BadPosterior: naming member, utterance and frame, if `on_bad_posterior` is "fail".
        StageError: if a process dies.
    """
    shares = order_members(members, settings.weights, device=device)
    with CorpusFile(corpus_directory / "train.h5") as corpus, fixed_threads(settings.threads):
        refuse_other_corpus(shares, corpus)
        if corpus.has_tokens:
            raise BadInput(
                f"{corpus.path} has token sequences, and these labels are classes of frames: "
                "'essence labels' is for a corpus with corpus.targets=frames"
            )
        original_of = _originals(settings, corpus_directory, corpus)
        wanted = plan_utterances(
            corpus.utterances, corpus.labelled_frames(), skipped=original_of.keys()
        )
        labeller = _Labeller(
            settings=settings,
            loaded=load_members(shares, most_bytes=settings.loaded_megabytes << 20),
            corpus=corpus,
            log_prior_C=log_priors(corpus.label_counts(), smoothing=settings.prior_smoothing),
            graph_directory=graph_directory,
            directory=directory,
            device=device,
            progress=progress,
        )
        classes_T, utterances = assemble(labeller.label(wanted), original_of, corpus)
        about = LabelsAbout(
            corpus_fingerprint=corpus.fingerprint,
            members=labeller.members,
            acoustic_scale=settings.acoustic_scale,
            insertion_penalty=settings.insertion_penalty,
            utterances=utterances,
        )
        write_labels(directory, about, classes_T)
        for line in describe(classes_T, utterances, corpus):
            progress.note(line)
    shutil.rmtree(directory / FOLDER, ignore_errors=True)


def _originals(
    settings: PathSettings, corpus_directory: Path, corpus: CorpusFile
) -> Mapping[str, str]:
    """Copies that take the labels of their originals, frame by frame: those of the teacher."""
    if settings.input == "copy":
        return {}
    groups = read_copies(corpus_directory, "train")
    return {id: of for id, of in originals_in_time(groups).items() if of in corpus}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Labeller:
    """The ensemble and the graph over train."""

    settings: PathSettings
    loaded: LoadedShares
    corpus: CorpusFile
    log_prior_C: Logp
    graph_directory: Path
    directory: Path
    device: str
    progress: Progress

    @property
    def members(self) -> tuple[str, ...]:
        """Fingerprints, in the order of averaging."""
        return tuple(share.member.about.fingerprint for share in self.loaded.shares)

    def label(self, wanted: Sequence[Wanted]) -> dict[int, Labelled]:
        """The paths of all utterances by index: from finished parts, otherwise found."""
        parts = list(cut_parts(wanted, num_classes=self.corpus.about.num_classes))
        plan = self._plan_fingerprint()
        done = {n: part for n in range(len(parts)) if (part := self._read(n, plan)) is not None}
        if done:
            self.progress.note(f"labels: {len(done)} of {len(parts)} parts are here already")
        missing = [number for number in range(len(parts)) if number not in done]
        total = sum(each.num_frames for number in missing for each in parts[number])
        with (
            path_pool(self.graph_directory, self.settings) as pool,
            self.progress.task("labels, train", total=total, unit="frames") as task,
        ):
            for number in missing:
                done[number] = self._find(parts[number], pool, task)
                write_part(self.directory, number, done[number], plan=plan)
        return {each.index: each for part in done.values() for each in part}

    def _read(self, number: int, plan: str) -> list[Labelled] | None:
        return read_part(self.directory, number, plan=plan)

    def _plan_fingerprint(self) -> str:
        """What the paths follow from: a part of another plan is not used."""
        left_out = {"batch_frames", "threads", "loaded_megabytes", "processes"}
        return fingerprint(
            {
                "format": LABELS_FORMAT,
                "settings": self.settings.model_dump(mode="json", exclude=left_out),
                "corpus": self.corpus.fingerprint,
                "members": self.members,
            }
        )

    def _find(self, part: Sequence[Wanted], pool: PathPool, task: Task) -> list[Labelled]:
        scaled, refused = likelihoods_of(
            self.loaded,
            self.corpus,
            [each.index for each in part],
            settings=self.settings,
            log_prior_C=self.log_prior_C,
            device=self.device,
        )
        sound = [each for each in part if each.index not in refused]
        jobs = [PathJob(scaled_TC=scaled[each.index], words=each.words) for each in sound]
        found = [
            Labelled(index=index, made="none", why=why, classes_T=NO_PATH)
            for index, why in refused.items()
        ]
        for each, path in zip(sound, pool.find(jobs), strict=True):
            found.append(_labelled(each, path))
            task.advance(each.num_frames)
        return found


def _labelled(wanted: Wanted, path: FoundPath) -> Labelled:
    if path.classes_T is None:
        return Labelled(index=wanted.index, made="none", why=path.why, classes_T=NO_PATH)
    made: Made = "decoded" if wanted.words is None else "aligned"
    return Labelled(index=wanted.index, made=made, why="", classes_T=path.classes_T)
