"""HMM topology: graphs in both of Kaldi's orders fit, graphs of another system do not."""

from pathlib import Path
from typing import Any

import kaldifst
import numpy as np
import pytest

from stages.acoustic.lang import openfst_file
from stages.acoustic.lang.hmm_topology import find_misfit
from stages.acoustic.lang.lang_folder import check_lang, read_lang_folder
from stages.acoustic.lang.openfst_file import FstArrays, read_fst
from stages.acoustic.lang.transitions import Transitions, read_transitions
from stages.contract.errors import BadInput
from tests.support.makers.hclg import make_kaldi_graph, show_transitions, write_fst
from tests.support.makers.kaldi import NUM_PDFS, UNITS, make_lang
from tests.support.oracles.hmm_topology import follows_hmms

# Transition-ids: SIL 0: 1 stays, 2 -> 1, 3 -> 2; SIL 1: 4 stays, 5 -> 2, 6 -> 0; SIL 2: 7, 8 ends;
# A 0: 9 stays, 10 -> 1; A 1: 11 stays, 12 ends; B (as in chain models): 13 stays, 14 ends.
TRANSITIONS = """Transition-state 1: phone = SIL hmm-state = 0 pdf = 0
 Transition-id = 1 p = 0.25 [self-loop]
 Transition-id = 2 p = 0.25 [0 -> 1]
 Transition-id = 3 p = 0.5 [0 -> 2]
Transition-state 2: phone = SIL hmm-state = 1 pdf = 1
 Transition-id = 4 p = 0.25 [self-loop]
 Transition-id = 5 p = 0.25 [1 -> 2]
 Transition-id = 6 p = 0.5 [1 -> 0]
Transition-state 3: phone = SIL hmm-state = 2 pdf = 2
 Transition-id = 7 p = 0.5 [self-loop]
 Transition-id = 8 p = 0.5 [2 -> 3]
Transition-state 4: phone = A hmm-state = 0 pdf = 3
 Transition-id = 9 p = 0.5 [self-loop]
 Transition-id = 10 p = 0.5 [0 -> 1]
Transition-state 5: phone = A hmm-state = 1 pdf = 4
 Transition-id = 11 p = 0.5 [self-loop]
 Transition-id = 12 p = 0.5 [1 -> 2]
Transition-state 6: phone = B hmm-state = 0 forward-pdf = 5 self-loop-pdf = 6
 Transition-id = 13 p = 0.5 [self-loop]
 Transition-id = 14 p = 0.5 [0 -> 1]
"""


@pytest.fixture
def transitions(tmp_path: Path) -> Transitions:
    return parse(tmp_path, TRANSITIONS)


def parse(directory: Path, text: str) -> Transitions:
    (directory / "transitions.txt").write_text(text)
    return read_transitions(directory / "transitions.txt")


def graph(directory: Path, text: str) -> FstArrays:
    """Lines of: state, next state, label. The last line is the final state."""
    lines = [f"{' '.join(line.split())} 0" for line in text.strip().split("\n")]
    write_fst(directory / "graph.fst", kaldifst.compile("\n".join(lines) + "\n"), type="const")
    return read_fst(directory / "graph.fst")


# Kaldi's order (--reorder=true): the transition that leaves a state, then that state's self-loops.
REORDERED = """
0 1 2
1 1 1
1 2 5
2 2 4
2 3 8
3 3 7
3 4 0
4 5 10
5 5 9
5 6 12
6 6 11
6 7 14
7 7 13
7 4 0
7 0 0
7
"""
PLAIN = """
0 0 1
0 1 2
1 1 4
1 2 6
2 2 1
2 3 3
3 3 7
3 4 8
4 5 0
5 5 9
5 6 10
6 6 11
6 7 12
7 8 0
8 8 13
8 9 14
9 7 0
9
"""


@pytest.mark.parametrize("text", [REORDERED, PLAIN], ids=["reordered", "plain"])
@pytest.mark.parametrize("chunk", [1, 3, 1 << 20])
def test_graph_in_either_order_fits(
    tmp_path: Path, transitions: Transitions, text: str, chunk: int, monkeypatch: Any
) -> None:
    monkeypatch.setattr(openfst_file, "CHUNK_ARCS", chunk)
    assert find_misfit(graph(tmp_path, text), transitions) is None


MISFITS = {  # changes of REORDERED -> label, label before, label wanted
    "a state of another phone": (
        {"5 6 12": "5 6 8"},
        "arc 9 of state 5 has transition-id 8 (SIL [2 -> 3])",
        "after transition-id 10 (A [0 -> 1]), wanted one that leaves state 1 of A",
    ),
    "a state that is skipped": (
        {"1 2 5": "1 2 8"},
        "arc 2 of state 1 has transition-id 8 (SIL [2 -> 3])",
        "after transition-id 2 (SIL [0 -> 1]), wanted one that leaves state 1 of SIL",
    ),
    "a self-loop of another state": (
        {"5 5 9": "5 5 11"},
        "arc 8 of state 5 has transition-id 11 (A [1 -> 1])",
        "after transition-id 10 (A [0 -> 1]), wanted a self-loop of state 0 of A",
    ),
    "a start within a phone": (
        {"0 1 2": "0 1 5", "7 0 0": "7 4 0"},
        "arc 0 of state 0 has transition-id 5 (SIL [1 -> 2])",
        "at the start of a path, wanted one that leaves state 0 of a phone",
    ),
    "an end within a phone": (
        {"6 7 14": "6 7 10", "6 6 11": "6 6 0", "5 6 12": "5 6 0", "4 5 10": "4 5 0"}
        | {"5 5 9": "5 5 0", "7 7 13": "7 7 9", "7 4 0": "7 7 0", "7 0 0": "7 7 0"},
        "state 7 is final",
        "after transition-id 10 (A [0 -> 1]), wanted one that leaves state 1 of A",
    ),
    "a misfit after epsilons": (
        {"7 4 0": "7 6 0"},
        "arc 10 of state 6 has transition-id 11 (A [1 -> 1])",
        "after transition-id 14 (B [0 -> 1]), wanted a self-loop of state 0 of B",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_misfit_is_named(tmp_path: Path, transitions: Transitions, case: str) -> None:
    changes, what, why = MISFITS[case]
    lines = [changes.get(line, line) for line in REORDERED.strip().split("\n")]
    fst = graph(tmp_path, "\n".join(lines))
    assert find_misfit(fst, transitions) == f"{what} {why}"
    assert not follows_hmms(fst, transitions)


def test_state_without_a_path_to_it_is_not_judged(tmp_path: Path, transitions: Transitions) -> None:
    """State 8 gives no label, so that what enters state 3 stays the same."""
    fst = graph(tmp_path, REORDERED.replace("\n7\n", "\n8 3 0\n8 4 12\n7\n"))
    assert find_misfit(fst, transitions) is None


def test_topology_with_states_that_emit_nothing_is_not_judged(tmp_path: Path) -> None:
    """SIL 1 is not among the transition-states, and not the last state either."""
    lines = TRANSITIONS.split("\n")
    text = "\n".join([*lines[:4], *lines[8:]])
    for number in range(7, 15):
        text = text.replace(f"Transition-id = {number} ", f"Transition-id = {number - 3} ")
    fst = graph(tmp_path, "0 1 9\n1")
    assert find_misfit(fst, parse(tmp_path, text)) is None
    assert find_misfit(fst, parse(tmp_path, TRANSITIONS)) is not None


@pytest.mark.parametrize("seed", range(4))
def test_verdict_is_that_of_every_pair_of_labels(tmp_path: Path, seed: int) -> None:
    """Labels of a fitting graph are changed, one to three at a time; sets of pairs decide."""
    rng = np.random.default_rng(seed)
    directory = make_kaldi_graph(tmp_path / "graph", make_lang(tmp_path / "lang"))
    transitions = read_transitions(directory / "transitions.txt")
    fst = read_fst(directory / "HCLG.fst")
    assert find_misfit(fst, transitions) is None
    assert follows_hmms(fst, transitions)
    verdicts = []
    for _ in range(40):
        arcs = np.array(fst.arcs_A)
        for at in rng.integers(len(arcs), size=rng.integers(1, 4)):
            arcs["input"][at] = rng.choice([0, *arcs["input"]])
        changed = FstArrays(
            start=fst.start,
            final_S=fst.final_S,
            first_S=fst.first_S,
            count_S=fst.count_S,
            arcs_A=arcs,
        )
        verdicts.append(follows_hmms(changed, transitions))
        assert (find_misfit(changed, transitions) is None) == verdicts[-1]
    assert 2 < sum(verdicts) < 38


OTHER_SYSTEMS = {
    "other phones": {"SIL": (0,), "e": (1,), "f": (2, 3), "g": (4, 5)},
    "other lengths": {"SIL": (0, 1, 2), "a": (3, 4, 5), "b": (0, 1, 2), "c": (3, 4, 5)},
    "another order": dict(reversed(UNITS.items())),
}


@pytest.mark.parametrize("units", OTHER_SYSTEMS.values(), ids=OTHER_SYSTEMS)
def test_transitions_of_another_system_are_refused(
    tmp_path: Path, units: dict[str, tuple[int, ...]]
) -> None:
    directory = make_kaldi_graph(tmp_path / "graph", make_lang(tmp_path / "lang"))
    check_lang(read_lang_folder(directory))
    (directory / "transitions.txt").write_text(show_transitions(units))
    (directory / "num_pdfs").write_text(f"{NUM_PDFS}\n")
    message = r"HCLG\.fst: arc \d+ of state \d+ has transition-id .* wanted .*from one model"
    with pytest.raises(BadInput, match=message) as caught:
        check_lang(read_lang_folder(directory))
    assert len(str(caught.value).replace(str(directory), "")) < 400


def test_sources_are_the_states_of_the_arcs() -> None:
    count_S = np.array([0, 3, 0, 0, 2, 1, 0])
    fst = FstArrays(
        start=0,
        final_S=np.zeros(7, np.float32),
        first_S=np.cumsum(count_S) - count_S,
        count_S=count_S,
        arcs_A=np.zeros(6, openfst_file.ARC),
    )
    wanted = np.repeat(np.arange(7), count_S)
    for start in range(6):
        for stop in range(start + 1, 7):
            np.testing.assert_array_equal(fst.sources(start, stop), wanted[start:stop])


def test_graph_whose_states_share_arcs_is_refused(tmp_path: Path) -> None:
    fst = graph(tmp_path, REORDERED)
    path = tmp_path / "graph.fst"
    content = bytearray(path.read_bytes())
    states_at = len(content) - fst.arcs_A.nbytes - len(fst.final_S) * openfst_file.STATE.itemsize
    at = states_at + openfst_file.STATE.itemsize + 8  # the count of state 1
    content[at] += 1
    path.write_bytes(content)
    with pytest.raises(BadInput, match="its states share arcs or leave some out"):
        read_fst(path)
