"""TransitionModel: topology, tuples and log-probabilities at the start of Kaldi's `final.mdl`.

    <TransitionModel> <Topology> ... </Topology>
      <Tuples> n  (phone hmm-state forward-pdf self-loop-pdf) x n </Tuples>      chain models
      <Triples> n  (phone hmm-state pdf) x n </Triples>                          others
      <LogProbs> vector, element 0 unused </LogProbs>
    </TransitionModel>   then the acoustic model, which is not read

The format is that of TransitionModel::Write and HmmTopology::Write (Kaldi's hmm/transition-model.cc
and hmm/hmm-topology.cc), text or binary. Transition-ids count the transitions of tuple after tuple,
each in the order of its topology state.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.kaldi.text_file import read_text
from stages.acoustic.lang.lang import MAX_CLASSES
from stages.acoustic.lang.model_source import (
    NO_PDF,
    Damage,
    ModelSource,
    Topology,
    expect,
    open_source,
)
from stages.acoustic.lang.transitions import Transitions, TransitionState
from stages.contract.errors import BadInput
from storage.files.regular_file import open_regular

MAX_BYTES = 1 << 28  # before the end of the transition model; a million tuples are 50 MB of text
WANTED = "wanted Kaldi's final.mdl"
TUPLE_FIELDS = {"<Triples>": 3, "<Tuples>": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitionModel:
    """The transitions, and the natural logarithm of the probability of transition-id t at t - 1."""

    transitions: Transitions
    log_probs_L: NDArray[np.float32]


def read_transition_model(path: Path, *, phones: Path | None = None) -> TransitionModel:
    """Read the transition model of a `final.mdl`; the rest of the file is not looked at.

    `phones` is Kaldi's phones.txt: with it, phones have their names, as `show-transitions` prints
    them; otherwise their numbers.

    Raises:
        BadInput: naming the file, what was found and what was wanted.
    """
    try:
        with open_regular(path) as file:
            content = file.read(MAX_BYTES)
    except OSError as cause:
        raise BadInput(f"{path} cannot be read ({cause.strerror}): {WANTED}") from cause
    names = {} if phones is None else _phone_names(phones)
    try:
        return _read(open_source(content), names)
    except Damage as cause:
        raise BadInput(f"{path}: {cause}: {WANTED}") from cause


def _read(source: ModelSource, names: dict[int, str]) -> TransitionModel:
    expect(source, "<TransitionModel>")
    expect(source, "<Topology>")
    topology = source.topology()
    kind = source.token()
    if kind not in TUPLE_FIELDS:
        raise Damage(f"found {kind!r}, wanted {' or '.join(TUPLE_FIELDS)}")
    num_fields = TUPLE_FIELDS[kind]
    num_tuples = source.count(each=num_fields)
    tuples = source.integers(num_tuples * num_fields).reshape(num_tuples, num_fields)
    expect(source, kind.replace("<", "</"))
    expect(source, "<LogProbs>")
    log_probs = source.floats()
    expect(source, "</LogProbs>")
    expect(source, "</TransitionModel>")
    transitions = _transitions(topology, tuples, names)
    if len(log_probs) != len(transitions.pdfs) + 1:
        raise Damage(
            f"{len(log_probs)} log-probabilities, wanted one more than the "
            f"{len(transitions.pdfs)} transition-ids"
        )
    return TransitionModel(transitions=transitions, log_probs_L=log_probs[1:])


def _transitions(
    topology: Topology, tuples: NDArray[np.int64], names: dict[int, str]
) -> Transitions:
    pdfs: list[int] = []
    owners: list[int] = []
    targets: list[int | None] = []
    states: list[TransitionState] = []
    for row in tuples.tolist():
        phone, hmm_state, forward, loop = (*row, row[-1])[:4]
        if not 0 <= hmm_state < len(topology.get(phone, ())):
            raise Damage(f"a tuple of phone {phone}, state {hmm_state}: not in the topology")
        if not (0 <= forward < MAX_CLASSES and NO_PDF <= loop < MAX_CLASSES):
            raise Damage(f"a tuple with the pdfs {forward} and {loop}")
        next_states = topology[phone][hmm_state][1]
        for target in next_states:
            is_loop = target == hmm_state
            pdfs.append(loop if is_loop else forward)
            owners.append(len(states))
            targets.append(None if is_loop else target)
        states.append(
            TransitionState(
                phone=names.get(phone, str(phone)),
                hmm_state=hmm_state,
                forward_pdf=forward,
                loop_pdf=loop if hmm_state in next_states else forward,
                targets=tuple(target for target in next_states if target != hmm_state),
            )
        )
    if not pdfs:
        raise Damage("no transition-id")
    return Transitions(tuple(pdfs), tuple(owners), tuple(targets), tuple(states))


def _phone_names(path: Path) -> dict[int, str]:
    names = {}
    for number, line in enumerate(
        read_text(path, wanted="Kaldi's phones.txt").split("\n"), start=1
    ):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2 or not fields[1].isdecimal() or len(fields[1]) > 9:
            raise BadInput(f"{path}:{number}: wanted 'PHONE number', found {line[:60]!r}")
        names[int(fields[1])] = fields[0]
    return names
