"""final.mdl: every transition-id has the pdf, phone and kind that Kaldi's own code gives it."""

import struct
from pathlib import Path

import numpy as np
import pytest

from stages.acoustic.lang.transition_model import read_transition_model
from stages.acoustic.lang.transitions import read_transitions, transitions_text
from stages.contract.errors import BadInput
from tests.support.makers.kaldi_model import write_final_mdl
from tests.support.oracles.kaldi_transitions import IS_INSTALLED, Facts, kaldi_facts

pytestmark = pytest.mark.skipif(not IS_INSTALLED, reason="kaldi-hmm-gmm is not installed")

PHONES = "<eps> 0\nSIL 1\nAA_B 2\nAA_E 3\nBB 4\n#0 5\n"
BAKIS = """<Topology>
<TopologyEntry> <ForPhones> 2 3 4 </ForPhones>
<State> 0 <PdfClass> 0 <Transition> 0 0.75 <Transition> 1 0.25 </State>
<State> 1 <PdfClass> 1 <Transition> 1 0.5 <Transition> 2 0.25 <Transition> 3 0.25 </State>
<State> 2 <PdfClass> 2 <Transition> 2 0.75 <Transition> 3 0.25 </State>
<State> 3 </State>
</TopologyEntry>
<TopologyEntry> <ForPhones> 1 </ForPhones>
<State> 0 <PdfClass> 0 <Transition> 0 0.25 <Transition> 1 0.25 <Transition> 2 0.5 </State>
<State> 1 <PdfClass> 1 <Transition> 1 0.25 <Transition> 2 0.5 <Transition> 0 0.25 </State>
<State> 2 <PdfClass> 2 <Transition> 2 0.75 <Transition> 3 0.25 </State>
<State> 3 </State>
</TopologyEntry>
</Topology>"""
CHAIN = """<Topology>
<TopologyEntry> <ForPhones> 1 2 3 4 </ForPhones>
<State> 0 <ForwardPdfClass> 0 <SelfLoopPdfClass> 1 <Transition> 0 0.5 <Transition> 1 0.5 </State>
<State> 1 </State>
</TopologyEntry>
</Topology>"""


@pytest.fixture(params=["bakis", "chain"])
def kaldi(request: pytest.FixtureRequest) -> Facts:
    return kaldi_facts(BAKIS if request.param == "bakis" else CHAIN)


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "text"])
def test_every_transition_id_is_that_of_kaldi(tmp_path: Path, kaldi: Facts, binary: bool) -> None:
    path = write_final_mdl(tmp_path / "final.mdl", kaldi.model, binary=binary)
    (tmp_path / "phones.txt").write_text(PHONES)
    read = read_transition_model(path, phones=tmp_path / "phones.txt")
    found = read.transitions
    names = [line.split()[0] for line in PHONES.splitlines()]
    assert found.pdfs == tuple(kaldi.pdfs)
    assert [owner + 1 for owner in found.owners] == kaldi.states
    assert [target is None for target in found.targets] == kaldi.self_loops
    phones = [found.states[owner].phone for owner in found.owners]
    assert phones == [names[phone] for phone in kaldi.phones]
    np.testing.assert_allclose(read.log_probs_L, kaldi.model.log_probs[1:], atol=1e-5)
    assert found.largest_pdf == kaldi.num_pdfs - 1
    (tmp_path / "transitions.txt").write_text(transitions_text(found))
    assert read_transitions(tmp_path / "transitions.txt") == found


def test_without_phones_txt_phones_are_numbers(tmp_path: Path, kaldi: Facts) -> None:
    read = read_transition_model(write_final_mdl(tmp_path / "m", kaldi.model, binary=True))
    assert {state.phone for state in read.transitions.states} == {"1", "2", "3", "4"}


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "text"])
def test_damaged_models_raise_bad_input_only(tmp_path: Path, kaldi: Facts, binary: bool) -> None:
    content = write_final_mdl(tmp_path / "m", kaldi.model, binary=binary).read_bytes()
    rng = np.random.default_rng(0)
    damaged = [content[:end] for end in rng.integers(0, len(content) - 18, size=60)]
    for place in rng.integers(0, len(content) - 18, size=300):
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        damaged.append(bytes(changed))
    refused = named = 0
    for number, one in enumerate(damaged):
        path = tmp_path / f"d{number}"
        path.write_bytes(one)
        try:
            read_transition_model(path)
        except BadInput as error:
            refused += 1
            named += str(path) in str(error)
    assert named == refused > 100


def _bakis(path: Path) -> bytes:
    return write_final_mdl(path, kaldi_facts(BAKIS).model, binary=True).read_bytes()


@pytest.mark.parametrize("value", [1 << 30, -1, -(1 << 31)])
def test_counts_are_checked_before_memory_is_taken(tmp_path: Path, value: int) -> None:
    content = _bakis(tmp_path / "m")
    for token in (b"<Topology> ", b"<Triples> ", b"FV "):
        at = content.index(token) + len(token)
        changed = content[:at] + struct.pack("<bi", 4, value) + content[at + 5 :]
        (tmp_path / "changed").write_bytes(changed)
        with pytest.raises(BadInput, match=r"changed: .*: wanted Kaldi.s final.mdl"):
            read_transition_model(tmp_path / "changed")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no </TransitionModel>"),
        (b"\0B<Nnet3> ", "found '<Nnet3>', wanted '<TransitionModel>'"),
        (b"#!/bin/sh\n", "no </TransitionModel>"),
    ],
)
def test_other_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "final.mdl").write_bytes(content)
    with pytest.raises(BadInput, match=f"final.mdl: {message}"):
        read_transition_model(tmp_path / "final.mdl")
