"""Pieces: a long utterance is cut, so that the activations of a ten-hour recording fit in memory.

Each piece is read with context on either side, whose outputs are dropped.
"""

from collections.abc import Iterator

PIECE_FRAMES = 8192
CONTEXT_FRAMES = 256  # more than any convolution here sees, and seconds of a recurrence's past


def cut_frames(num_frames: int) -> Iterator[tuple[int, int, int, int]]:
    """(first, start, stop, last) of each piece: frames [start, stop), read as [first, last)."""
    for start in range(0, num_frames, PIECE_FRAMES):
        stop = min(start + PIECE_FRAMES, num_frames)
        yield max(0, start - CONTEXT_FRAMES), start, stop, min(num_frames, stop + CONTEXT_FRAMES)
