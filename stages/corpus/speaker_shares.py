"""Shares of the training speech as dev and test, by whole speakers."""

import hashlib
from collections.abc import Mapping

from stages.contract.errors import BadInput


def choose_speakers(
    num_utterances: Mapping[str, int], shares: Mapping[str, float], *, where: object
) -> dict[str, str]:
    """Speaker -> split, for those that leave train; each split has at least one.

    Which ones depends on their names and numbers of utterances alone, so that their order does not
    change it. `where` is for the message.

    Raises:
        BadInput: if train has too few speakers.
    """
    order = sorted(num_utterances, key=lambda name: hashlib.sha256(name.encode()).digest())
    if len(order) <= len(shares):
        raise BadInput(
            f"{where}: {len(order)} speakers, wanted more than {len(shares)} to take "
            f"{' and '.join(shares)} from: give them speech of their own instead of shares"
        )
    total = sum(num_utterances.values())
    split_of: dict[str, str] = {}
    for number, (split, share) in enumerate(shares.items()):
        taken = 0
        reserved = len(shares) - number  # one for each split that comes after, and one for train
        while taken < share * total and len(order) > reserved:
            speaker = order.pop(0)
            split_of[speaker] = split
            taken += num_utterances[speaker]
    return split_of
