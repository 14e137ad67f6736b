"""Look-ahead: the frames after its own that each layer of a tdnn or conv sees."""

from collections.abc import Sequence

TDNN_DILATIONS = (1, 2, 4, 6, 8)  # the layers take turns
CONV_KERNEL_FRAMES = 15


def share_look_ahead(right_context: int, most: Sequence[int]) -> list[int]:
    """The frames that each layer looks ahead: `right_context` in all, in proportion to `most`.

    `most` has the frames that each layer looks ahead without a limit.
    """
    assert 0 <= right_context <= sum(most)
    shares, done = [], 0
    for upto in (sum(most[: number + 1]) for number in range(len(most))):
        whole = right_context * upto // sum(most)
        shares.append(whole - done)
        done = whole
    return shares
