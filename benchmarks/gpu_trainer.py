"""The trainer next to bare steps, and what one reading thread gives it."""

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from gpu_corpus import Sizes, labels_of, opened, sizes_of, student_of, train_epoch
from gpu_measure import Device, Table, ratio_rows
from loss import Form
from student import FEATURE_DIM, usable
from torch.nn.functional import cross_entropy

from stages.acoustic.models.architectures import AcousticModel, build_model, num_parameters
from stages.acoustic.models.settings import ArchitectureSettings
from stages.student.essence import Essence
from stages.training.batches import Batch, plan_batches, read_batch
from stages.training.corpus import TrainingCorpus
from storage.read.reader import open_store

EPOCHS = 7


def trainer_tables(device: Device) -> list[Table]:
    """Epochs of the trainer next to bare steps, for each size of student."""
    sizes = sizes_of(device)
    with opened(sizes) as (directory, corpus):
        return [
            _trainer_table(device, sizes, directory, corpus, architecture)
            for architecture in sizes.students
        ]


def _trainer_table(
    device: Device,
    sizes: Sizes,
    directory: Path,
    corpus: TrainingCorpus,
    architecture: ArchitectureSettings,
) -> Table:
    model = build_model(architecture, FEATURE_DIM, sizes.num_classes)
    bare = _bare_steps(device, model, read_batches(corpus, sizes))
    acts: dict[str, Callable[[], float]] = {
        "bare steps, data on the device": lambda: device.milliseconds(Form(bare)),
        **{
            f"trainer, {labels_of(k)}": partial(
                train_epoch, device, directory, corpus, student_of(sizes, architecture, k=k)
            )
            for k in (0, 8, 32)
        },
    }
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {name: [] for name in acts}
    for round_ in range(1 + (1 if device.is_toy else EPOCHS)):
        for name in rng.permutation(list(acts)):
            took = acts[name]()
            if round_:
                found[name].append(took)
    rows = ratio_rows(found, of="bare steps, data on the device")
    against_hard = {str(row[0]): row[2] for row in ratio_rows(found, of="trainer, hard labels")}
    millions = num_parameters(model) / 1e6
    return Table(
        f"Trainer: an epoch of {corpus.num_frames} frames, {millions:.1f} M parameters, "
        f"C = {sizes.num_classes}, batches of {sizes.batch_frames}",
        ["epoch", "ms", "times bare", "times hard labels"],
        [[*row, against_hard[str(row[0])]] for row in rows],
    )


def read_batches(corpus: TrainingCorpus, sizes: Sizes) -> list[Batch]:
    """The batches of an epoch."""
    pieces = corpus.pieces(4096)
    plan = plan_batches([piece.num_frames for piece in pieces], sizes.batch_frames, 0, 0)
    return [read_batch(corpus.train, [pieces[i] for i in batch]) for batch in plan]


def _bare_steps(
    device: Device, model: AcousticModel, batches: Sequence[Batch]
) -> Callable[[], None]:
    """A step is forward, cross_entropy, backward and AdamW; frames were selected before."""
    model.to(device.name).train()
    fused = {"fused": True} if device.is_cuda else {}
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, **fused)
    ready = [
        (
            batch.features_BTF.to(device.name),
            batch.lengths_B,
            batch.live_BT.flatten().nonzero()[:, 0].to(device.name),
            batch.labels_BT[batch.live_BT].to(device.name),
        )
        for batch in batches
    ]

    def act() -> None:
        for features_BTF, lengths_B, live_N, labels_N in ready:
            hidden_NH = model.hidden(features_BTF, lengths_B).flatten(0, 1)[live_N]
            optimiser.zero_grad(set_to_none=True)
            cross_entropy(model.output(hidden_NH), labels_N).backward()
            optimiser.step()

    return act


def loader_table(device: Device) -> Table:
    """Frames a second of one thread that reads what the trainer needs."""
    sizes = sizes_of(device)
    rows: list[list[str | float | int | None]] = []
    with opened(sizes) as (directory, corpus):
        pieces = corpus.pieces(4096)
        plan = plan_batches([piece.num_frames for piece in pieces], sizes.batch_frames, 0, 0)
        for k in (0, 8, 32):
            student = student_of(sizes, sizes.students[0], k=k)
            essence = Essence(student, open_store(directory / "train.zarr")) if k else None
            speeds = []
            for _ in range(device.rounds):
                began = time.perf_counter()
                for chosen in plan:
                    batch = read_batch(corpus.train, [pieces[i] for i in chosen])
                    if essence is not None:
                        usable(essence, batch)
                speeds.append(corpus.num_frames / (time.perf_counter() - began))
            rows.append([f"features, {labels_of(k)}", statistics.median(speeds)])
    return Table("Loader: one thread", ["what it reads", "frames a second"], rows)
