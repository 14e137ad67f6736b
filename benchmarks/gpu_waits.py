"""What a training step and a teacher's batch launch, copy back and wait for."""

from collections import Counter
from collections.abc import Callable
from functools import partial

from gpu_corpus import labels_of, opened, sizes_of, student_of, train_epoch
from gpu_measure import Device, Table
from gpu_teacher import labelling
from gpu_trainer import read_batches
from torch.profiler import ProfilerActivity, profile

# What a step waits for: values that the host reads, and shapes that depend on values.
WAITS = {
    "aten::_local_scalar_dense": "values read by the host",
    "aten::nonzero": "shapes that depend on values",
    "aten::masked_select": "shapes that depend on values",
    "cudaStreamSynchronize": "synchronisations of a stream",
    "cudaDeviceSynchronize": "synchronisations of the device",
    "cudaEventSynchronize": "synchronisations of an event",
}
LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernelEx")


def waits_table(device: Device) -> Table:
    """Events of an epoch of the trainer and of the teacher's labelling, for each batch."""
    sizes = sizes_of(device)
    with opened(sizes) as (directory, corpus):
        num_steps = len(read_batches(corpus, sizes))
        architecture = sizes.students[0]
        acts: dict[str, Callable[[], object]] = {
            f"step, {labels_of(k)}": partial(
                train_epoch, device, directory, corpus, student_of(sizes, architecture, k=k)
            )
            for k in (0, 8)
        }
        rows = [_waits(name, act, num_steps, device) for name, act in acts.items()]
        with labelling(device, sizes, directory) as (label, _, num_batches):
            rows.append(_waits("teacher's batch", label, num_batches, device))
    names = list(dict.fromkeys(WAITS.values()))
    return Table(
        "Waits: events for each step or batch (an epoch's start and end are shared out)",
        ["of", "launches", "copies from the card", *names],
        rows,
    )


def _waits(
    name: str, act: Callable[[], object], num: int, device: Device
) -> list[str | float | int | None]:
    act()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.is_cuda else [])]
    with profile(activities=activities) as profiled:
        act()
        device.wait()
    counts: Counter[str] = Counter()
    for event in profiled.key_averages():
        if event.key in WAITS:
            counts[WAITS[event.key]] += event.count
        elif event.key in LAUNCHES:
            counts["launches"] += event.count
        elif event.key.startswith("Memcpy DtoH"):
            counts["copies"] += event.count
    columns = ["launches", "copies", *dict.fromkeys(WAITS.values())]
    return [name, *(counts[column] / num for column in columns)]
