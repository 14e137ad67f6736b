"""Trust: soft labels only where the teacher is right, hard labels elsewhere.

On a frame whose rank 1 is not the hard label y, the soft target is replaced by all mass on y. So
the frame costs the same under every tail policy: that of the hard label alone. Frames whose rank 1
is the hard label, and frames without one, keep their soft target. This is conditional
teacher-student learning (Meng, Li, Zhao, Gong: Conditional teacher-student learning, ICASSP 2019).

The replaced target goes through the temperature T of the soft loss like any other target:
T^2 CE(onehot(y), softmax(z / T)). At T = 1 it is the hard loss.

Shapes: N frames, K kept classes.
"""

from dataclasses import replace

import torch
from torch import Tensor

from stages.student.loss.definition import SoftTargets


def trust_where_right(soft: SoftTargets, labels_N: Tensor) -> SoftTargets:
    """The targets, with all mass on the hard label where rank 1 is another class.

    `labels_N` is -1 where a frame has no hard label. Classes stay distinct within a frame.
    """
    label_N1 = labels_N[:, None].to(soft.ids_NK.dtype)
    is_wrong_N1 = (label_N1 >= 0) & (soft.ids_NK[:, :1] != label_N1)
    # If the label is one of the lower ranks, that rank takes the class of rank 1.
    swapped_NK = torch.where(soft.ids_NK == label_N1, soft.ids_NK[:, :1], soft.ids_NK)
    one_hot_NK = torch.full_like(soft.logp_NK, -torch.inf)
    swapped_NK[:, :1], one_hot_NK[:, 0] = label_N1, 0.0
    return replace(
        soft,
        ids_NK=torch.where(is_wrong_N1, swapped_NK, soft.ids_NK),
        logp_NK=torch.where(is_wrong_N1, one_hot_NK, soft.logp_NK),
        tail_N=soft.tail_N.masked_fill(is_wrong_N1[:, 0], 0.0),
    )
