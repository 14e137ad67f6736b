"""Alignments and MAPSSWE compared with results by hand and of NIST's programs."""

import math
import re
import shutil
import statistics
import subprocess

import pytest

from stages.report.statistics.matched_pairs import mark_system, matched_pairs, segments
from stages.report.statistics.word_alignment import align_words
from tests.support.makers.scores import make_scored_split, make_utterance, read_an4_words

SCTK = shutil.which("sctk")
AN4 = read_an4_words()
# Output of sctk 2.4.12's `sc_stats -t mapsswe` on AN4: segments, mean, standard deviation, z.
NIST = {
    ("hard labels", "ensemble"): (63, 0.127, 0.660, 1.528),
    ("hard labels", "k=1"): (62, -0.081, 0.753, -0.843),
}


def mark(*sentences):
    """(reference, hypothesis) of each utterance."""
    utterances = [make_utterance(str(i), *pair) for i, pair in enumerate(sentences)]
    return mark_system([make_scored_split(utterances)])


def cut(reference, ours, theirs):
    (one,), (other,) = (mark((reference, heard)).utterances for heard in (ours, theirs))
    return list(segments(one, other))


@pytest.mark.parametrize(
    ("ours", "theirs", "wanted"),
    [
        ("a b c d e f", "a b c d e f", []),
        ("x b c d e f", "a b c d e f", [(1, 0)]),
        ("x b c d e x", "a b c d e f", [(1, 0), (1, 0)]),
        ("x b c d e f", "a b c d x f", [(1, 0), (0, 1)]),
        ("x b c x e f", "a b c d e x", [(1, 0), (1, 1)]),  # b c are two good words, e is one
        ("x b x d x f", "a b c d e f", [(3, 0)]),  # one good word between: one segment
        ("x b c d e f", "x b c d e f", [(1, 1)]),
        ("a b c d e f g", "a b c d e f", [(1, 0)]),  # an insertion at the end
        ("a b c d e f", "a b c d e f g", [(0, 1)]),
        ("x b n c d e f", "a b c d e f", [(2, 0)]),  # an insertion between the good words
        ("x b c n d e f", "a b c d e f", [(1, 0), (1, 0)]),
        ("", "a b c d e f", [(6, 0)]),
    ],
)
def test_segments_lie_between_two_good_words(ours, theirs, wanted):
    assert cut("a b c d e f", ours, theirs) == wanted


def test_empty_reference_is_a_segment_of_insertions():
    assert cut("", "a b", "") == [(2, 0)]
    assert cut("", "", "") == []


def test_statistic_equals_the_formula_of_matched_pairs():
    ours = mark(("a", "x"), ("a", "x"), ("a", "a"), ("a b", "x y"), ("a", "a"))
    theirs = mark(("a", "a"), ("a", "a"), ("a", "x"), ("a b", "a b"), ("a", "a"))
    found = matched_pairs(ours, theirs)
    differences = [1, 1, -1, 2]
    z = statistics.mean(differences) / (statistics.stdev(differences) / math.sqrt(4))
    assert found.num_segments == 4
    assert found.mean == statistics.mean(differences)
    assert found.z == pytest.approx(z)
    assert found.p == pytest.approx(2 * (1 - statistics.NormalDist().cdf(z)))
    back = matched_pairs(theirs, ours)
    assert (back.z, back.p) == (-found.z, found.p)


def test_p_is_one_without_a_difference():
    some = mark(("a b", "a x"), ("a", "a"))
    assert matched_pairs(some, some).p == 1
    none = mark(("a", "a"))
    assert matched_pairs(none, none).p == 1
    assert matched_pairs(none, none).num_segments == 0


def test_pooled_seeds_are_means_in_shared_segments():
    reference = "a b c d e f g"
    heard = ["x b c d e f g", "a b c d e f x"]
    pooled = mark_system(
        [make_scored_split([make_utterance("u", reference, text)]) for text in heard]
    )
    right = mark((reference, reference))
    assert list(segments(pooled.utterances[0], right.utterances[0])) == [(1, 0), (1, 0)]
    found = matched_pairs(pooled, right)
    assert found.num_segments == 2
    assert found.mean == 0.5  # one error in two seeds


def test_copies_of_a_seed_change_nothing():
    splits = {name: make_scored_split(utterances) for name, utterances in AN4.items()}
    ensemble = mark_system([splits["ensemble"]])
    one = matched_pairs(mark_system([splits["k=1"]]), ensemble)
    many = matched_pairs(mark_system([splits["k=1"]] * 5), ensemble)
    assert many.num_segments == one.num_segments
    assert many.z == pytest.approx(one.z)


@pytest.mark.parametrize("names", NIST)
def test_statistic_of_an4_equals_that_of_nist(names):
    ours, theirs = (mark_system([make_scored_split(AN4[name])]) for name in names)
    found = matched_pairs(ours, theirs)
    num_segments, mean, _, z = NIST[names]
    assert found.num_segments == num_segments
    assert found.mean == pytest.approx(mean, abs=5e-4)
    assert found.z == pytest.approx(z, abs=5e-4)


def sclite(name, tmp_path):
    """Return the alignments of one system in sclite's format."""
    for file, texts in (
        ("ref", [item.reference for item in AN4[name]]),
        ("hyp", [item.hypothesis for item in AN4[name]]),
    ):
        lines = [
            f"{text} ({item.speaker}-{item.id})\n"
            for text, item in zip(texts, AN4[name], strict=True)
        ]
        (tmp_path / file).write_text("".join(lines))
    command = ["sctk", "sclite", "-r", "ref", "trn", "-h", "hyp", "trn", name, "-i", "rm"]
    subprocess.run(
        [*command, "-o", "sgml", "-n", "out"], cwd=tmp_path, check=True, capture_output=True
    )
    return (tmp_path / "out.sgml").read_text()


@pytest.mark.skipif(SCTK is None, reason="NIST's sctk is not here (Debian: apt install sctk)")
def test_alignments_equal_those_of_sclite(tmp_path):
    number = 0
    for name, utterances in AN4.items():
        by_id = {f"{item.speaker}-{item.id}": item for item in utterances}
        path = r'<PATH id="\((\S+)\)"[^>]*>\n(.*?)\n?</PATH>'
        for id, words in re.findall(path, sclite(name, tmp_path), re.DOTALL):
            said_heard = [word.split(",")[1:] for word in words.split(":") if word]
            wanted = [tuple(part.strip('"').upper() for part in pair) for pair in said_heard]
            assert align_words(by_id[id].reference, by_id[id].hypothesis) == wanted
            number += 1
    assert number == sum(map(len, AN4.values())) > 500


@pytest.mark.skipif(SCTK is None, reason="NIST's sctk is not here (Debian: apt install sctk)")
def test_statistic_of_every_pair_equals_that_of_sc_stats(tmp_path):
    alignments = "".join(sclite(name, tmp_path) for name in AN4)
    ran = subprocess.run(
        ["sctk", "sc_stats", "-p", "-t", "mapsswe", "-v", "-n", "-"],
        input=alignments, cwd=tmp_path, check=True, capture_output=True, text=True,
    )  # fmt: skip
    report = ran.stdout + "".join(
        path.read_text(errors="replace") for path in tmp_path.glob("*.mapsswe")
    )
    marked = {name: mark_system([make_scored_split(items)]) for name, items in AN4.items()}
    line = (
        r"MTCH_PR_RESULTS \(systems: (.+?) *\) \(# segs: (\d+)\)"
        r".*\(mean: (.+?)\) \(std dev: .+?\) \(Z Stat: (.+?)\)"
    )
    found = re.findall(line, report)
    assert len(found) == 6
    for systems, num_segments, mean, z in found:
        one, other = next((a, b) for a in AN4 for b in AN4 if a != b and systems == f"{a} {b}")
        ours = matched_pairs(marked[one], marked[other])
        assert ours.num_segments == int(num_segments)
        assert ours.mean == pytest.approx(float(mean), abs=5.1e-4)
        assert ours.z == pytest.approx(float(z), abs=5.1e-4)


def test_alignment_prefers_a_correct_word_to_an_insertion():
    # 9 by sclite's costs; two substitutions and an insertion, as few errors, are 11
    assert align_words("a b", "b c c") == [("a", ""), ("b", "b"), ("", "c"), ("", "c")]
    assert align_words("a b", "") == [("a", ""), ("b", "")]
