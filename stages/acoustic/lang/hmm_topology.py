"""HMM topology: the transition-ids along every path of a graph follow the HMMs of their phones.

    after [h -> k] of a phone    a transition that leaves its state k; where k is its end,
                                 one that leaves state 0 of any phone, or the path ends
    self-loops of a state        after the transition that leaves it, as `add-self-loops` writes
                                 them (--reorder=true); or all of them before it

The transition-ids of another system are numbers in the same range: only their order differs.

No path is followed. For each state of the graph, the smallest and the largest *place* in the HMMs
with which paths enter it are computed; what leaves the state must fit both. A place is a state of
a phone, or 0 between phones. Input epsilons and self-loops pass places on. A transition back to
state 0 of its own phone counts as an end, so that one number decides.

Shapes: S states of the graph, A arcs, L labels: epsilon, then the transition-ids.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.lang.openfst_file import FstArrays
from stages.acoustic.lang.transitions import Transitions

Ints = NDArray[np.int32]
NOT_ENTERED = np.iinfo(np.int32).max
BETWEEN = 0  # the place between phones


def find_misfit(fst: FstArrays, transitions: Transitions) -> str | None:
    """The first arc or final state that no path of the HMMs allows, in words; None if all fit.

    Input labels must be epsilon or transition-ids of `transitions`. Topologies with states that
    emit nothing are not judged: `show-transitions` does not print them.

    Memory: 16 bytes a state, some 40 an arc with an input epsilon, and a chunk of arcs.
    """
    if not _all_states_emit(transitions):
        return None
    labels = _Labels.of(transitions)
    misfit = _misfit_of(fst, labels, backward=False)
    # Self-loops before the transition that leaves their state are loops after it, read backwards.
    if misfit is None or _misfit_of(fst, labels, backward=True) is None:
        return None
    return _in_words(misfit, fst, labels, transitions)


def _all_states_emit(transitions: Transitions) -> bool:
    emitting: dict[str, set[int]] = defaultdict(set)
    targets: dict[str, set[int]] = defaultdict(set)
    for state in transitions.states:
        emitting[state.phone].add(state.hmm_state)
        targets[state.phone].update(state.targets)
    return all(
        0 in own and all(target in own for target in targets[phone] if target < max(targets[phone]))
        for phone, own in emitting.items()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Labels:
    """What each input label does, by number. `owner_L`: its transition-state."""

    moves_L: NDArray[np.bool_]  # from place to place
    loops_L: NDArray[np.bool_]
    from_L: Ints
    to_L: Ints
    owner_L: Ints

    @classmethod
    def of(cls, transitions: Transitions) -> "_Labels":
        places: dict[tuple[str, int], int] = {}
        for state in transitions.states:
            if state.hmm_state:
                places.setdefault((state.phone, state.hmm_state), len(places) + 1)
        origins, goals = [BETWEEN], [BETWEEN]
        for owner, target in zip(transitions.owners, transitions.targets, strict=True):
            state = transitions.states[owner]
            origins.append(places.get((state.phone, state.hmm_state), BETWEEN))
            goals.append(BETWEEN if target is None else places.get((state.phone, target), BETWEEN))
        loops_L = np.array([False, *(target is None for target in transitions.targets)])
        moves_L = ~loops_L
        moves_L[0] = False
        return cls(
            moves_L=moves_L,
            loops_L=loops_L,
            from_L=np.array(origins, np.int32),
            to_L=np.array(goals, np.int32),
            owner_L=np.array([-1, *transitions.owners], np.int32),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Misfit:
    """An arc, or (None) the end of a path, that does not fit how `state` is entered."""

    arc: int | None
    state: int


def _arcs(fst: FstArrays, *, backward: bool) -> Iterator[tuple[int, Ints, Ints, Ints]]:
    """Chunks of arcs: number of the first, then origins, goals and labels."""
    for start, arcs in fst.chunks():
        sources = fst.sources(start, start + len(arcs))
        origin_A, goal_A = (arcs["next"], sources) if backward else (sources, arcs["next"])
        yield start, origin_A, goal_A, arcs["input"]


def _misfit_of(fst: FstArrays, labels: _Labels, *, backward: bool) -> _Misfit | None:
    leaves_L = labels.to_L if backward else labels.from_L
    bounds_4S = _entering(fst, labels, backward=backward)
    for start, origin_A, _, label_A in _arcs(fst, backward=backward):
        fits_A = ~labels.moves_L[label_A] | _hold(bounds_4S[:2], origin_A, leaves_L[label_A])
        # A self-loop repeats the state of the transition that entered, not merely its place.
        fits_A &= ~labels.loops_L[label_A] | _hold(bounds_4S[2:], origin_A, labels.owner_L[label_A])
        if not fits_A.all():
            at = int(np.argmin(fits_A))
            return _Misfit(arc=start + at, state=int(origin_A[at]))
    ends = _finals(fst) if not backward else np.array([fst.start], np.int32)
    fits_A = _hold(bounds_4S[:2], ends, np.full(len(ends), BETWEEN, np.int32))
    return None if fits_A.all() else _Misfit(arc=None, state=int(ends[np.argmin(fits_A)]))


def _finals(fst: FstArrays) -> Ints:
    return np.flatnonzero(np.isfinite(fst.final_S)).astype(np.int32)


def _hold(bounds_2S: Ints, states_A: Ints, wanted_A: Ints) -> NDArray[np.bool_]:
    """Is the wanted value the only one that enters the state?"""
    low_A, high_A = bounds_2S[0, states_A], -bounds_2S[1, states_A]
    return np.asarray((low_A == NOT_ENTERED) | ((low_A == wanted_A) & (high_A == wanted_A)))


def _entering(fst: FstArrays, labels: _Labels, *, backward: bool) -> Ints:
    """By state of the graph: smallest place that enters it, minus the largest; owners alike.

    Negated, the largest is a smallest too: one operation serves all four rows.
    """
    arrive_L = labels.from_L if backward else labels.to_L
    values_4L = np.stack([arrive_L, -arrive_L, labels.owner_L, -labels.owner_L])
    bounds_4S = np.full((4, len(fst.final_S)), NOT_ENTERED, np.int32)
    begin = _finals(fst) if backward else np.array([fst.start], np.int32)
    bounds_4S[:, begin] = np.array([[BETWEEN], [-BETWEEN], [-1], [1]], np.int32)  # -1: no owner
    passing: list[tuple[Ints, Ints]] = []
    for _, origin_A, goal_A, label_A in _arcs(fst, backward=backward):
        moves_A = labels.moves_L[label_A]
        for bounds_S, values_L in zip(bounds_4S, values_4L, strict=True):
            np.minimum.at(bounds_S, goal_A[moves_A], values_L[label_A[moves_A]])
        passes_A = ~moves_A & (origin_A != goal_A)
        passing.append((origin_A[passes_A], goal_A[passes_A]))
    _pass_on(bounds_4S, *(np.concatenate(side) for side in zip(*passing, strict=True)))
    return bounds_4S


def _pass_on(bounds_4S: Ints, origin_A: Ints, goal_A: Ints) -> None:
    """Lower the bounds of goals to those of their origins, until nothing changes."""
    order = np.argsort(origin_A, kind="stable")
    origin_A, goal_A = origin_A[order], goal_A[order]
    changed = np.unique(origin_A)
    while len(changed):
        arcs = _spans(
            np.searchsorted(origin_A, changed), np.searchsorted(origin_A, changed, side="right")
        )
        origins, goals = origin_A[arcs], goal_A[arcs]
        before = bounds_4S[:, goals]
        for bounds_S in bounds_4S:
            np.minimum.at(bounds_S, goals, bounds_S[origins])
        changed = np.unique(goals[(bounds_4S[:, goals] != before).any(axis=0)])


def _spans(firsts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers first, first + 1, ... end - 1 of each span, one span after the other."""
    counts = ends - firsts
    shifts = firsts - (np.cumsum(counts) - counts)
    return np.asarray(np.repeat(shifts, counts) + np.arange(counts.sum()))


def _in_words(misfit: _Misfit, fst: FstArrays, labels: _Labels, transitions: Transitions) -> str:
    if misfit.arc is None:
        label, fits_L = None, labels.to_L == BETWEEN
        what = f"state {misfit.state} is final"
    else:
        label = int(fst.arcs_A["input"][misfit.arc])
        fits_L = (
            labels.owner_L == labels.owner_L[label]
            if labels.loops_L[label]
            else labels.to_L == labels.from_L[label]
        )
        what = f"arc {misfit.arc} of state {misfit.state} has {_name(label, transitions)}"
    before = _entering_label(misfit.state, fst, labels, wrong_L=labels.moves_L & ~fits_L)
    if before is None:
        return f"{what} at the start of a path, wanted one that leaves state 0 of a phone"
    state = transitions.states[transitions.owners[before - 1]]
    if label is not None and labels.loops_L[label]:
        wanted = f"a self-loop of state {state.hmm_state} of {state.phone}"
    elif labels.to_L[before] == BETWEEN:
        wanted = "one that leaves state 0 of a phone"
    else:
        wanted = f"one that leaves state {transitions.targets[before - 1]} of {state.phone}"
    return f"{what} after {_name(before, transitions)}, wanted {wanted}"


def _name(label: int, transitions: Transitions) -> str:
    state = transitions.states[transitions.owners[label - 1]]
    target = transitions.targets[label - 1]
    step = f"{state.hmm_state} -> {state.hmm_state if target is None else target}"
    return f"transition-id {label} ({state.phone} [{step}])"


def _entering_label(
    state: int, fst: FstArrays, labels: _Labels, *, wrong_L: NDArray[np.bool_]
) -> int | None:
    """A wrong label with which a path enters a state, maybe before epsilons; None: a start."""
    reached = np.zeros(len(fst.final_S), bool)
    reached[state] = True
    num_before = 0
    while num_before != (num_before := int(reached.sum())):
        for _, origin_A, goal_A, label_A in _arcs(fst, backward=False):
            enters_A = reached[goal_A]
            found = label_A[enters_A & wrong_L[label_A]]
            if len(found):
                return int(found[0])
            reached[origin_A[enters_A & ~labels.moves_L[label_A]]] = True
    return None
