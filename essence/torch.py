"""essence.torch: soft labels and the loss for any trainer in PyTorch.

    import essence

    source = essence.torch.SoftLabelSource("train.zarr", k=8)
    loss = essence.torch.EssenceLoss(hard_weight=0.2, tail="bucket")
    total = loss(logits_BTC, labels_BT, source(ids, lengths))

torch is imported when this module is first used, not by `import essence`.
"""

from essence.floors import refuse_other_floors

refuse_other_floors()
try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as cause:
    raise ModuleNotFoundError(
        f"essence.torch needs torch ({cause}): pip install torch", name="torch"
    ) from cause

from stages.student.foreign.batch import SoftLabelBatch, join_batches  # noqa: E402
from stages.student.foreign.dataset import SoftLabelCollate, WithSoftLabels  # noqa: E402
from stages.student.foreign.match import SourceMatch  # noqa: E402
from stages.student.foreign.module import EssenceLoss, EssenceParts  # noqa: E402
from stages.student.foreign.source import SoftLabelSource  # noqa: E402

__all__ = [
    "EssenceLoss",
    "EssenceParts",
    "SoftLabelBatch",
    "SoftLabelCollate",
    "SoftLabelSource",
    "SourceMatch",
    "WithSoftLabels",
    "join_batches",
]
