"""What runs on a GPU: is it right, where does the time go, how far is it from its floors?

    python benchmarks/gpu.py --json gpu.json         # a card
    python benchmarks/gpu.py --device cpu --toy      # the same, small: its figures mean nothing

Parts (`--parts loss,layer`; all by default):

    right     loss and gradient of every tail policy against the dense definition in float64
    waits     launches, copies from the card and synchronisations of a step and of a teacher's batch
    loss      loss and gradient of given logits, relative to a copy of the logits
    layer     output layer, loss and gradients, relative to the layer with cross_entropy
    trainer   the trainer's epochs, relative to bare steps on batches that are on the card already
    teacher   the teacher's labelling, relative to bare forward passes of its members
    loader    frames a second that one reading thread gives, with features and soft labels

Forms are measured in turns, in an order that changes; a ratio is taken within a round. Printed:
milliseconds (median), ratio (median, lowest to highest). Memory: the peak that a form adds, in
sizes of the logits in float32.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from gpu_loss import layer_tables, loss_tables, right_table
from gpu_measure import Device, Table
from gpu_teacher import teacher_table
from gpu_trainer import loader_table, trainer_tables
from gpu_waits import waits_table
from side_by_side import machine

Part = Callable[[Device], list[Table]]
PARTS: dict[str, Part] = {
    "right": lambda device: [right_table(device)],
    "waits": lambda device: [waits_table(device)],
    "loss": loss_tables,
    "layer": layer_tables,
    "trainer": trainer_tables,
    "teacher": lambda device: [teacher_table(device)],
    "loader": lambda device: [loader_table(device)],
}


def main() -> None:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--toy", action="store_true", help="small sizes, two rounds")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--json", type=Path, help="write all tables there, after each part")
    asked = parser.parse_args()
    device = Device(asked.device, is_toy=asked.toy)
    about = {"machine": machine(), "device": device.title, "torch": torch.__version__}
    print(f"{about['machine']}; {about['device']}, torch {about['torch']}")
    tables: list[Table] = []
    for name in asked.parts.split(","):
        began = time.perf_counter()
        found = PARTS[name](device)
        for table in found:
            print(table.as_markdown(), flush=True)
        tables += found
        print(f"\n({name}: {time.perf_counter() - began:.0f} s)", flush=True)
        if asked.json is not None:
            kept = {**about, "tables": [asdict(table) for table in tables]}
            asked.json.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
