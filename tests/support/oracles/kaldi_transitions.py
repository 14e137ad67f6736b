"""Transition models of Kaldi's own code, from the wheel kaldi-hmm-gmm, in a process of its own.

The wheel and kaldifst each contain OpenFst: in one process they may wait for each other for ever.

    python -m tests.support.oracles.kaldi_transitions < topology.txt
"""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

from tests.support.makers.kaldi_model import Model
from tests.support.paths import ROOT

IS_INSTALLED = find_spec("kaldi_hmm_gmm") is not None


@dataclass(frozen=True)
class Facts:
    """What Kaldi says of each transition-id, from 1 on, and the model as it is written."""

    model: Model
    num_pdfs: int
    pdfs: list[int]
    phones: list[int]
    states: list[int]  # transition-states, from 1
    self_loops: list[bool]


@cache
def kaldi_facts(topology: str) -> Facts:
    """The monophone transition model of a topology in Kaldi's text form."""
    command = [sys.executable, "-m", "tests.support.oracles.kaldi_transitions"]
    ran = subprocess.run(
        command, input=topology, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    found = json.loads(ran.stdout)
    model = found.pop("model")
    model["hmms"] = {
        int(phone): [(a, b, [(to, p) for to, p in out]) for a, b, out in hmm]
        for phone, hmm in model["hmms"].items()
    }
    return Facts(model=Model(**model), **found)


def _facts(text: str) -> dict[str, Any]:
    import kaldi_hmm_gmm as kaldi

    topology = kaldi.HmmTopology()
    topology.read(text)
    phones = list(topology.phones)
    classes = [0] * (max(phones) + 1)
    for phone in phones:
        classes[phone] = topology.num_pdf_classes(phone)
    model = kaldi.TransitionModel(kaldi.monophone_context_dependency(phones, classes), topology)
    labels = range(1, model.num_transition_ids + 1)
    hmms = {
        phone: [
            (state.forward_pdf_class, state.self_loop_pdf_class, list(state.transitions))
            for state in topology.topology_for_phone(phone)
        ]
        for phone in phones
    }
    # Its tuples have no attributes, and print what they hold.
    tuples = [[int(n) for n in re.findall(r"=(-?\d+)", str(row))] for row in model.tuples]
    log_probs = list(model.log_probs)
    return {
        "model": {
            "hmms": hmms,
            "tuples": tuples,
            "log_probs": log_probs,
            "is_hmm": bool(topology.is_hmm),
        },
        "num_pdfs": model.num_pdfs,
        "pdfs": [model.transition_id_to_pdf(label) for label in labels],
        "phones": [model.transition_id_to_phone(label) for label in labels],
        "states": [model.id2state[label] for label in labels],
        "self_loops": [bool(model.is_self_loop(label)) for label in labels],
    }


if __name__ == "__main__":
    json.dump(_facts(sys.stdin.read()), sys.stdout)
