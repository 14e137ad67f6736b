"""Units: phones in their context within a word, and the classes of their states.

A unit is `LEFT-PHONE+RIGHT`, with `#` at word boundaries. A state of a unit has a separate class if
it has `min_count` training frames. Otherwise it shares the class of `LEFT-PHONE`, if the frames of
such units reach `min_count`, and otherwise the class of the phone. A phone with too few frames
shares the class of its most frequent context.
"""

from collections import Counter
from collections.abc import Iterable

from stages.acoustic.lang.lang import SILENCE

WORD_EDGE = "#"
SILENCE_STATES = 3

State = tuple[str, int]  # unit, left context or phone; number of the state


def units_of(phones: Iterable[str]) -> tuple[str, ...]:
    """The units of a word's phones."""
    padded = (WORD_EDGE, *phones, WORD_EDGE)
    return tuple(
        f"{left}-{phone}+{right}"
        for left, phone, right in zip(padded[:-2], padded[1:-1], padded[2:], strict=True)
    )


def left_context(unit: str) -> str:
    """`LEFT-PHONE` of a unit; the name itself if it is no unit."""
    return unit.partition("+")[0]


def phone_of_unit(unit: str) -> str:
    """The phone of a unit or a left context."""
    return left_context(unit).rpartition("-")[2]


class UnitClasses:
    """The class of each state of each unit of the phones, also of units without training frames."""

    def __init__(
        self,
        counts: Counter[State],
        *,
        phones: Iterable[str],
        states_per_unit: int,
        min_count: int,
    ) -> None:
        self._states_per_unit = states_per_unit
        frames = _frames_by_owner(counts, min_count=min_count)
        owners = [(SILENCE, state) for state in range(SILENCE_STATES)]
        owners += sorted(owner for owner in frames if not is_phone(owner[0]))
        alone = [(phone, i) for phone in sorted(set(phones)) for i in range(states_per_unit)]
        # A phone without contexts that have classes needs a class even if it is rare.
        nearest = {owner: _nearest(owner, frames, min_count=min_count) for owner in alone}
        owners += [owner for owner in alone if nearest[owner] == owner]
        self._classes = {owner: number for number, owner in enumerate(owners)}
        self.num_classes = len(owners)
        self._classes |= {owner: self._classes[other] for owner, other in nearest.items()}

    def of(self, unit: str) -> tuple[int, ...]:
        """The classes of the states of a unit, left to right."""
        if unit == SILENCE:
            return tuple(self._classes[SILENCE, state] for state in range(SILENCE_STATES))
        ways = (unit, left_context(unit), phone_of_unit(unit))
        return tuple(
            next(self._classes[way, state] for way in ways if (way, state) in self._classes)
            for state in range(self._states_per_unit)
        )


def is_phone(name: str) -> bool:
    """Is the name that of a phone without context?"""
    return "-" not in name


def _frames_by_owner(counts: Counter[State], *, min_count: int) -> Counter[State]:
    """Number of frames assigned to each unit, each left context and each phone."""
    ways = (lambda unit: unit, left_context, phone_of_unit)
    frames: Counter[State] = Counter()
    rest = Counter({state: count for state, count in counts.items() if state[0] != SILENCE})
    for way in ways:
        pooled: Counter[State] = Counter()
        for (unit, state), count in rest.items():
            pooled[way(unit), state] += count
        enough = {owner for owner, count in pooled.items() if count >= min_count}
        is_last = way is ways[-1]
        frames.update({o: count for o, count in pooled.items() if is_last or o in enough})
        rest = Counter({s: count for s, count in rest.items() if (way(s[0]), s[1]) not in enough})
    return frames


def _nearest(phone: State, frames: Counter[State], *, min_count: int) -> State:
    """The phone; if it has too few frames, the class of its most frequent context."""
    contexts = [
        (count, owner)
        for owner, count in frames.items()
        if not is_phone(owner[0]) and owner[1] == phone[1] and phone_of_unit(owner[0]) == phone[0]
    ]
    return phone if frames[phone] >= min_count or not contexts else max(contexts)[1]
