"""Do the labels of a graph follow the HMMs? By sets of the labels before each state, in Python."""

from stages.acoustic.lang.openfst_file import FstArrays
from stages.acoustic.lang.transitions import Transitions

START = 0


def follows_hmms(fst: FstArrays, transitions: Transitions) -> bool:
    """Whether each pair of labels that may follow each other fits, in either of Kaldi's orders."""
    arcs = [
        (state, int(arc["input"]), int(arc["next"]))
        for state, (first, count) in enumerate(zip(fst.first_S, fst.count_S, strict=True))
        for arc in fst.arcs_A[first : first + count]
    ]
    finals = {state for state, cost in enumerate(fst.final_S) if cost < float("inf")}
    backward = [(target, label, state) for state, label, target in arcs]
    return _fits(arcs, {fst.start}, finals, transitions, reverse=False) or _fits(
        backward, finals, {fst.start}, transitions, reverse=True
    )


def _fits(
    arcs: list[tuple[int, int, int]],
    begin: set[int],
    end: set[int],
    transitions: Transitions,
    *,
    reverse: bool,
) -> bool:
    def stays(label: int) -> bool:
        return transitions.targets[label - 1] is None

    before: dict[int, set[int]] = {state: {START} for state in begin}
    while True:
        size = sum(map(len, before.values()))
        for state, label, target in arcs:
            passes = label == 0 or stays(label)
            entering = before.get(state, set()) if passes else {label}
            before.setdefault(target, set()).update(entering)
        if size == sum(map(len, before.values())):
            break

    def fits(one: int, label: int) -> bool:
        if stays(label):
            return one != START and transitions.owners[one - 1] == transitions.owners[label - 1]
        first, second = (label, one) if reverse else (one, label)
        return _may_follow(first, second, transitions)

    pairs = [(one, label) for s, label, _ in arcs if label for one in before.get(s, set())]
    ends = [one for state in end for one in before.get(state, set())]
    return all(fits(one, label) for one, label in pairs) and all(
        _may_follow(*((START, one) if reverse else (one, START)), transitions) for one in ends
    )


def _may_follow(one: int, two: int, transitions: Transitions) -> bool:
    phone, place = "", 0
    if one != START:
        state = transitions.states[transitions.owners[one - 1]]
        target = transitions.targets[one - 1]
        own = {other.hmm_state for other in transitions.states if other.phone == state.phone}
        assert target is not None
        phone, place = (state.phone, target) if target in own - {0} else ("", 0)
    if two == START:
        return place == 0
    state = transitions.states[transitions.owners[two - 1]]
    return state.hmm_state == place and phone in ("", state.phone)
