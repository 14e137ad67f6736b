"""Writes Kaldi's final.mdl, in binary and text form, up to where the acoustic model begins.

After Kaldi's TransitionModel::Write and HmmTopology::Write. The wheel kaldi-hmm-gmm has transition
models and writes none.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Hmm = list[tuple[int, int, list[tuple[int, float]]]]  # pdf-classes, (next state, probability) ...


@dataclass(frozen=True)
class Model:
    """`tuples`: phone, hmm-state, forward pdf, self-loop pdf. `log_probs`: 0, then one an id."""

    hmms: dict[int, Hmm]
    tuples: list[list[int]]
    log_probs: list[float]
    is_hmm: bool  # no self-loop has a pdf of its own

    @property
    def kind(self) -> str:
        """Name of the list of tuples."""
        return "Triples" if self.is_hmm else "Tuples"

    @property
    def rows(self) -> list[list[int]]:
        """The tuples as they are written."""
        return [row[:3] if self.is_hmm else row for row in self.tuples]


def write_final_mdl(path: Path, model: Model, *, binary: bool) -> Path:
    """The transition model, then bytes that stand for the acoustic model."""
    path.write_bytes((_binary(model) if binary else _text(model)) + b"<DIMENSION> 39 ...")
    return path


def _token(text: str) -> bytes:
    return text.encode() + b" "


def _ints(*values: int) -> bytes:
    return b"".join(struct.pack("<bi", 4, value) for value in values)


def _vector(values: list[int]) -> bytes:
    return struct.pack("<bi", 4, len(values)) + np.array(values, "<i4").tobytes()


def _entries(model: Model) -> tuple[list[Hmm], dict[int, int]]:
    """The different HMMs, and for each phone which of them it has."""
    entries: list[Hmm] = []
    for hmm in model.hmms.values():
        if hmm not in entries:
            entries.append(hmm)
    return entries, {phone: entries.index(hmm) for phone, hmm in model.hmms.items()}


def _binary(model: Model) -> bytes:
    entries, entry_of = _entries(model)
    phones = sorted(entry_of)
    content = b"\0B" + _token("<TransitionModel>") + _token("<Topology>")
    content += _vector(phones) + _vector([entry_of.get(p, -1) for p in range(max(phones) + 1)])
    content += (b"" if model.is_hmm else _ints(-1)) + _ints(len(entries))
    for states in entries:
        content += _ints(len(states))
        for *classes, transitions in states:
            content += _ints(*(classes[:1] if model.is_hmm else classes), len(transitions))
            for target, probability in transitions:
                content += _ints(target) + struct.pack("<bf", 4, probability)
    content += _token("</Topology>") + _token(f"<{model.kind}>") + _ints(len(model.tuples))
    for row in model.rows:
        content += _ints(*row)
    log_probs = np.array(model.log_probs, "<f4")
    content += _token(f"</{model.kind}>") + _token("<LogProbs>") + _token("FV")
    content += _ints(len(log_probs)) + log_probs.tobytes()
    return content + _token("</LogProbs>") + _token("</TransitionModel>")


def _text(model: Model) -> bytes:
    entries, entry_of = _entries(model)
    lines = ["<TransitionModel> ", "<Topology> "]
    for number, states in enumerate(entries):
        phones = " ".join(str(phone) for phone in sorted(entry_of) if entry_of[phone] == number)
        lines += ["<TopologyEntry> ", "<ForPhones> ", f"{phones} ", "</ForPhones> "]
        for at, (forward, loop, transitions) in enumerate(states):
            line = f"<State> {at} "
            if forward >= 0 and model.is_hmm:
                line += f"<PdfClass> {forward} "
            elif forward >= 0:
                line += f"<ForwardPdfClass> {forward} <SelfLoopPdfClass> {loop} "
            line += "".join(f"<Transition> {to} {p:g} " for to, p in transitions)
            lines.append(f"{line}</State> ")
        lines.append("</TopologyEntry> ")
    lines += ["</Topology> ", f"<{model.kind}> {len(model.tuples)} "]
    lines += [" ".join(map(str, row)) + " " for row in model.rows]
    numbers = " ".join(f"{value:g}" for value in model.log_probs)
    lines += [f"</{model.kind}> ", f"<LogProbs>  [ {numbers} ]"]
    lines += ["</LogProbs> ", "</TransitionModel> "]
    return "\n".join(lines).encode() + b"\n"
