"""Settings: unknown keys are refused with the nearest name, values with the found one."""

from pathlib import Path

import pytest

from pipeline.errors import SettingsError
from pipeline.settings.read import read_settings
from pipeline.settings.tree import PipelineSettings
from tests.support.paths import ROOT


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_settings_without_a_file_are_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_settings(None) == PipelineSettings()


def test_defaults_are_those_of_the_shipped_file_key_by_key() -> None:
    """The file repeats the classes for readers; a key that it leaves out has its default."""
    found = read_settings(ROOT / "pipeline.yaml")
    assert found.model_dump() == PipelineSettings().model_dump()
    assert found.students == PipelineSettings().students


@pytest.mark.parametrize("path", [ROOT / "pipeline.yaml", *sorted(ROOT.glob("examples/*.yaml"))])
def test_shipped_settings_files_are_valid(path: Path) -> None:
    changes = [] if path.name == "pipeline.yaml" else ["corpus.path=somewhere"]
    assert len(read_settings(path, changes).students) >= 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("student.kk=4", "student.kk is not a setting: did you mean 'student.k'?"),
        ("studnet.k=4", "studnet is not a setting: did you mean 'student'?"),
        ("corpus.featurs.deltas=1", "did you mean 'corpus.features'?"),
        ("corpus.features.delta=1", "did you mean 'corpus.features.deltas'?"),
        ("student.epochs=3", "did you mean 'student.training.epochs'?"),
        (
            "corpus.labelled_share=0.3",
            "did you mean 'corpus.audio.labelled_share' or 'corpus.kaldi.labelled_share' or ",
        ),
        ("corpus.kaldi.labelled_share=0.3", "corpus: found settings of a Kaldi directory"),
        ("ensemble.members.0.nam=x", "did you mean 'ensemble.members.0.name'?"),
        (
            "ensemble.members.0={name: a, posteriors: p, posteriors_ar: log}",
            "did you mean 'ensemble.members.0.posteriors_are'?",
        ),
        ("student.zzzzzz=1", "student.zzzzzz is not a setting: known: "),
        (
            "corpus.copies=[{kind: noise, name: a, snr_db_lo: 3}]",
            "did you mean 'corpus.copies.0.snr_db_low'?",
        ),
        (  # `speed` is a kind and a setting of that kind
            "corpus.copies=[{kind: speed, name: a, speed: 1.1, split: [dev]}]",
            "did you mean 'corpus.copies.0.splits'?",
        ),
    ],
)
def test_unknown_key_is_refused_with_the_nearest_name(change: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(ROOT / "pipeline.yaml", [change])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("student.k=0", ["student.k", "greater than or equal to 1", "found 0"]),
        ("student.k=four", ["student.k", "integer", "'four'"]),
        ("student.hard_weight=1.5", ["student.hard_weight", "less than or equal to 1", "1.5"]),
        ("student.tail=bukket", ["student.tail", "'bucket'", "'bukket'"]),
        ("device=gpu", ["device", "'gpu'"]),
        ("student", ["wanted key=value"]),
        ("student.k.deep=1", ["k is a value"]),
        ("ensemble.members.99.name=x", ["99 is not a place in a list"]),
        ("ensemble.members.0.folds=0", ["--set: ensemble.members.0.folds: input", "found 0"]),
        ("compare=[{kk: 3}]", ["kk is not a setting", "'compare.0.k'"]),
        ("corpus.copies=[{name: a}]", ["corpus.copies.0 has no 'kind': give one"]),
        ("corpus.copies=[{kind: shout, name: a}]", ["corpus.copies.0", "'noise', 'speed'"]),
        ("corpus.copies=[{kind: speed, name: a, speed: 9}]", ["corpus.copies.0.speed: ", "9"]),
        ("corpus.source=kaldi", ["corpus.path=DIR"]),
        ("evaluate.max_active=150", ["--set: evaluate: min_active is 200, max_active 150: wanted"]),
    ],
)
def test_invalid_value_is_refused_with_found_and_expected(change: str, words: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(ROOT / "pipeline.yaml", [change])
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("student: [", "is not YAML"),
        ("- a\n- b\n", "wanted 'key: value' lines, found list"),
        ("a: !!python/object/apply:os.system ['true']", "is not YAML"),
    ],
)
def test_malformed_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=r"settings\.yaml") as caught:
        read_settings(write(tmp_path, text))
    assert message in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.yaml cannot be read"):
        read_settings(tmp_path / "absent.yaml")


def test_set_changes_the_base_of_all_compared_students(tmp_path: Path) -> None:
    path = write(tmp_path, "student: {k: 5}\ncompare: [{k: 2}, {hard_weight: 1.0}, {k: 5}]\n")
    students = read_settings(path, ["student.hard_weight=0.25"]).students
    assert [(s.k, s.hard_weight) for s in students] == [(5, 0.25), (2, 0.25), (5, 1.0)]


def test_nested_change_keeps_its_siblings(tmp_path: Path) -> None:
    path = write(tmp_path, "compare: [{architecture: {hidden: 17}}]\n")
    base, wider = read_settings(path).students
    assert wider.architecture.hidden == 17
    assert wider.architecture.layers == base.architecture.layers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("student: {k: 1}\nstudent: {k: 2}\n", "'student' comes twice"),
        ("student: {k: 1, k: 2}\n", "'k' comes twice"),
        ("student: {k: 2026-99-99}\n", "month must be in 1..12"),
        ("student: {k: " + "9" * 5000 + "}\n", "is not YAML"),
        ("[" * 5000, "recursion"),
        ("student:\n\tk: 3\n", "cannot start any token"),
        ("student: {k: " + "x" * 5000 + "}\n", "found 'xxx"),
    ],
)
def test_yaml_with_duplicate_keys_or_extreme_values_is_refused_in_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(SettingsError, match=r"settings\.yaml") as caught:
        read_settings(write(tmp_path, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_yaml_anchors_and_merges_are_accepted(tmp_path: Path) -> None:
    path = write(tmp_path, "student: &s {k: 5, name: a}\ncompare: [{<<: *s, k: 3, name: b}]\n")
    assert [student.k for student in read_settings(path).students] == [5, 3]


def test_invalid_value_of_set_is_attributed_to_set(tmp_path: Path) -> None:
    path = write(tmp_path, "student: {k: 5}\n")
    with pytest.raises(SettingsError, match=r"^--set: student\.k: .*found 0"):
        read_settings(path, ["student.k=0"])
    with pytest.raises(SettingsError, match=r"settings\.yaml: compare\.1\.k: "):
        read_settings(write(tmp_path, "compare: [{k: 1}, {k: 0}]\n"))


@pytest.mark.parametrize("value", ["[1", "!!python/name:os.system x", "*a", "\0", "a: b: c"])
def test_value_of_set_that_is_not_yaml_gives_one_line(value: str) -> None:
    with pytest.raises(SettingsError, match=r"--set student\.k: the value") as caught:
        read_settings(ROOT / "pipeline.yaml", [f"student.k={value}"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["student.k=33"], "the teacher of these settings holds K=32, asked k=33: lower student.k"),
        (["student.temperature=2"], "holds temperature 1, asked 2: set student.temperature"),
        (
            ["compare=[{k: 1}, {k: 64}]"],
            "holds K=32, asked k=64: lower k in compare.1 ({'k': 64}), remove it, or raise teacher",
        ),
        (["compare=[{k: 2, temperature: 3}]"], "compare.0 ({'k': 2, 'temperature': 3}): the teach"),
        (
            ["teacher.kept=16"],
            "holds K=16, asked k=32: lower k in compare.2 ({'k': 32}), remove it, or raise teacher",
        ),
        (["teacher.weights=[1, 2]"], "2 weights, ensemble.members 3 members"),
        (["teacher.splits=[dev]"], "students learn from 'train'"),
        (["ensemble.members.0.name=ensemble"], "the name 'ensemble' is reserved"),
        (["student.name=gru"], "'gru' is in use"),
        (["teacher.input=original"], "teacher.input is 'original' and corpus.copies lists no copy"),
        (
            [
                "student.training.utterances=copies",
                "corpus.copies=[{kind: speed, name: a, speed: 1.1, splits: [test]}]",
            ],
            "student.training.utterances is 'copies' and corpus.copies lists no copy with 'train'",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused_at_once(
    changes: list[str], message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(ROOT / "pipeline.yaml", changes)
    assert message in str(caught.value)


def test_student_on_hard_labels_needs_neither_ranks_nor_stores() -> None:
    changes = ["student.hard_weight=1", "student.k=4000", "teacher.splits=[dev]", "compare=[]"]
    assert read_settings(ROOT / "pipeline.yaml", changes).student.k == 4000


def test_default_settings_path_that_is_a_directory_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pipeline.yaml").mkdir()
    with pytest.raises(SettingsError, match=r"pipeline\.yaml cannot be read"):
        read_settings(None)
