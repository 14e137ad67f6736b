"""Transitions: transition-id -> pdf and HMM state, from the output of Kaldi's `show-transitions`.

    Transition-state 1: phone = SIL hmm-state = 0 pdf = 0
     Transition-id = 1 p = 0.75 [self-loop]
     Transition-id = 2 p = 0.25 [0 -> 1]
    Transition-state 9: phone = AA hmm-state = 0 forward-pdf = 12 self-loop-pdf = 13
     Transition-id = 17 p = 0.5 count of pdf = 812 [self-loop]

The format is that of TransitionModel::Print in Kaldi's hmm/transition-model.cc. In chain models a
self loop has a separate pdf.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from stages.acoustic.kaldi.text_file import read_text
from stages.acoustic.lang.lang import MAX_CLASSES
from stages.contract.errors import BadInput

SHOWN = 60  # characters of a wrong line that a message quotes
WANTED = "wanted the output of 'show-transitions phones.txt final.mdl'"
_STATE = re.compile(
    r"Transition-state \d+: phone = (?P<phone>\S+) hmm-state = (?P<state>\d{1,9})"
    r"(?: pdf = (?P<pdf>\d{1,9})"
    r"| forward-pdf = (?P<forward>\d{1,9}) self-loop-pdf = (?P<loop>\d{1,9}))",
    re.ASCII,
)
_ID = re.compile(
    r"Transition-id = (?P<id>\d{1,9}) p = \S+(?: count of pdf = \S+)?"
    r" \[(?:(?P<loop>self-loop)|\d{1,9} -> (?P<target>\d{1,9}))\]",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class TransitionState:
    """One HMM state of a phone in one context, with its forward pdf and its self-loop pdf."""

    phone: str
    hmm_state: int
    forward_pdf: int
    loop_pdf: int
    targets: tuple[int, ...] = ()  # next HMM states


@dataclass(frozen=True, slots=True)
class Transitions:
    """Transition-id t, counted from 1, is item t - 1 of `pdfs`, `owners` and `targets`."""

    pdfs: tuple[int, ...]
    owners: tuple[int, ...]  # index into `states` of the state that it leaves
    targets: tuple[int | None, ...]  # the next HMM state; None: a self-loop
    states: tuple[TransitionState, ...]

    @property
    def largest_pdf(self) -> int:
        """The largest pdf of all states."""
        return max(max(state.forward_pdf, state.loop_pdf) for state in self.states)


def read_transitions(path: Path) -> Transitions:
    """Parse a file of `show-transitions`.

    Raises:
        BadInput: naming file and line.
    """
    pdfs: list[int] = []
    owners: list[int] = []
    targets: list[int | None] = []
    states: list[TransitionState] = []
    for number, line in enumerate(read_text(path, wanted=WANTED).split("\n"), start=1):
        text = line.strip()
        if not text:
            continue
        if found := _STATE.fullmatch(text):
            states.append(_state(found, where=f"{path}:{number}"))
        elif (found := _ID.fullmatch(text)) and states:
            if int(found["id"]) != len(pdfs) + 1:
                raise BadInput(
                    f"{path}:{number}: transition-id {found['id']}, wanted {len(pdfs) + 1}: "
                    "lines are missing or repeated: run show-transitions again"
                )
            state = states[-1]
            target = None if found["loop"] else int(found["target"])
            pdfs.append(state.loop_pdf if target is None else state.forward_pdf)
            owners.append(len(states) - 1)
            targets.append(target)
            if target is not None:
                states[-1] = replace(state, targets=(*state.targets, target))
        else:
            raise BadInput(f"{path}:{number}: {WANTED}, found {text[:SHOWN]!r}")
    if not pdfs:
        raise BadInput(f"{path} has no transition-id: {WANTED}")
    return Transitions(tuple(pdfs), tuple(owners), tuple(targets), tuple(states))


def transitions_text(transitions: Transitions) -> str:
    """The same transitions as `show-transitions` prints them, without probabilities (p = 0)."""
    lines = []
    label = 0
    for owner, state in enumerate(transitions.states):
        pdfs = f"pdf = {state.forward_pdf}"
        if state.loop_pdf != state.forward_pdf:
            pdfs = f"forward-pdf = {state.forward_pdf} self-loop-pdf = {state.loop_pdf}"
        lines.append(
            f"Transition-state {owner + 1}: phone = {state.phone} hmm-state = {state.hmm_state} "
            f"{pdfs}"
        )
        while label < len(transitions.owners) and transitions.owners[label] == owner:
            target = transitions.targets[label]
            step = "self-loop" if target is None else f"{state.hmm_state} -> {target}"
            label += 1
            lines.append(f" Transition-id = {label} p = 0 [{step}]")
    return "\n".join(lines) + "\n"


def _state(found: re.Match[str], *, where: str) -> TransitionState:
    forward, loop = int(found["forward"] or found["pdf"]), int(found["loop"] or found["pdf"])
    if max(forward, loop) >= MAX_CLASSES:
        raise BadInput(f"{where}: pdf {max(forward, loop)}, wanted one below {MAX_CLASSES}")
    return TransitionState(found["phone"], int(found["state"]), forward, loop)
