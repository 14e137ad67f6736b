"""The teacher's labelling next to bare forward passes of its members."""

import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from gpu_corpus import KEPT, Sizes, opened, sizes_of
from gpu_measure import Device, Table, ratio_rows
from loss import Form
from store_contestants import make_about
from student import FEATURE_DIM, INVENTORY, Clock

from stages.acoustic.models.architectures import build_model
from stages.acoustic.models.model_file import ModelAbout, save_model
from stages.members.batches import plan_batches, read_batch
from stages.members.shares import LoadedShares, load_members, order_members
from stages.teacher.shard import label_shard
from storage.corpus.corpus_file import CorpusFile


@contextmanager
def labelling(
    device: Device, sizes: Sizes, directory: Path
) -> Iterator[tuple[Callable[[], None], Callable[[], None], int]]:
    """The teacher's labelling of train, the bare forward passes of its members, its batches."""
    with CorpusFile(directory / "train.h5") as corpus, tempfile.TemporaryDirectory() as place:
        loaded = _members(device, sizes, corpus, Path(place))
        lengths = [utterance.num_frames for utterance in corpus.utterances]
        about = make_about(sizes.num_classes, KEPT, lengths, 8192)
        indices = range(len(lengths) // sizes.repeats)

        def label() -> None:
            for _ in label_shard(
                about,
                loaded,
                corpus,
                indices,
                batch_frames=sizes.batch_frames,
                device=device.name,
                task=Clock(),
            ):
                pass
            device.wait()

        models = [share.load().model for share in loaded.shares]  # type: ignore[attr-defined]
        batches = _forward_batches(device, sizes, corpus, indices)

        def forward() -> None:
            with torch.inference_mode():
                for model, (features_BTF, lengths_B) in itertools.product(models, batches):
                    model(features_BTF, lengths_B).log_softmax(2)
            device.wait()

        yield label, forward, len(batches)


def _members(device: Device, sizes: Sizes, corpus: CorpusFile, place: Path) -> LoadedShares:
    directories = []
    for seed in range(sizes.num_members):
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            model = build_model(sizes.member, FEATURE_DIM, sizes.num_classes)
        directories.append(place / f"{seed}")
        directories[-1].mkdir()
        about = ModelAbout(
            architecture=sizes.member,
            feature_dim=FEATURE_DIM,
            num_classes=sizes.num_classes,
            class_inventory=INVENTORY,
            corpus_fingerprint=corpus.fingerprint,
        )
        save_model(directories[-1], model, about)
    return load_members(order_members(directories, None, device=device.name), most_bytes=1 << 40)


def _forward_batches(
    device: Device, sizes: Sizes, corpus: CorpusFile, indices: Sequence[int]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    plan = plan_batches(corpus.utterances, indices, batch_frames=sizes.batch_frames)
    ready = [read_batch(corpus, pieces, device=device.name, with_features=True) for pieces in plan]
    return [(batch.features_BTF, batch.lengths_B) for batch in ready]


def teacher_table(device: Device) -> Table:
    """Labelling next to forward passes."""
    sizes = sizes_of(device)
    with opened(sizes) as (directory, _), labelling(device, sizes, directory) as found:
        label, forward, num_batches = found
        forms = {"forward passes and log_softmax": Form(forward), "labelling": Form(label)}
        rows = ratio_rows(device.measure(forms), of="forward passes and log_softmax")
    return Table(
        f"Teacher: {sizes.num_members} members, {num_batches} batches of {sizes.batch_frames} "
        f"frames, C = {sizes.num_classes}, K = {KEPT}",
        ["what", "ms", "times the forward passes"],
        rows,
    )
