"""What earlier versions made is read by the present commands, or left out or refused by name."""

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cache.commands import cache
from pipeline.cli import main
from pipeline.shelf.record import Recipe
from storage.corpus.corpus_file import CorpusFile
from tests.support.makers.house import House
from tests.support.makers.pipeline import tree_digests
from tests.support.paths import TESTS

PACKED = sorted((TESTS / "data" / "old").glob("*.tar.xz"))
MADE = ("corpus", "member", "teacher", "student")


@pytest.fixture(params=PACKED, ids=lambda path: path.name.partition(".")[0])
def old(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A directory as that version left it. The path of the corpus's source is relative to it."""
    with tarfile.open(request.param) as packed:
        packed.extractall(tmp_path / "old", filter="data")
    in_todays_settings(tmp_path / "old" / "pipeline.yaml")
    monkeypatch.chdir(tmp_path / "old")
    return House(tmp_path / "old")


def in_todays_settings(path: Path) -> None:
    """Write out the defaults that have changed since; leave out a setting that is gone."""
    text = path.read_text(encoding="utf-8")
    for then, now in (
        ("teacher: {", "teacher: {combine: arithmetic, "),
        ("student: {", "student: {hard_weight: 0.5, "),
        ("report: {dots_per_inch: 60}\n", ""),
    ):
        assert then in text
        text = text.replace(then, now)
    path.write_text(text, encoding="utf-8")


def rows(house: House, *words: str) -> list[list[str]]:
    done = house.run("status", *words)
    assert done.exit_code == 0, done.output
    assert "left out" not in done.stderr
    return [line.split() for line in done.stdout.splitlines()[1:]]


def test_models_stores_and_corpus_of_an_old_version_are_fresh(old: House) -> None:
    """RELIABILITY 36."""
    states = {(row[0], "fresh" in row) for row in rows(old, "--check") if row[0] in MADE}
    assert states == {(stage, True) for stage in MADE}


def test_old_students_are_evaluated_and_reported_and_nothing_is_trained(old: House) -> None:
    """RELIABILITY 36."""
    before = {path: tree_digests(path) for stage in MADE for path in old.all(stage)}
    ran = old.run("run")
    assert ran.exit_code == 0, ran.output
    for name in ("one", "two", "ensemble", "hard labels", "k=3"):
        assert any(line.startswith(name + " ") for line in ran.stdout.splitlines()), ran.stdout
    assert {path: tree_digests(path) for stage in MADE for path in old.all(stage)} == before
    assert (old.work / "report" / "index.html").is_file()


def test_old_students_are_found_by_other_settings(old: House) -> None:
    ran = old.run("evaluate", "--set", "student.training.seed=4", "--set", "compare=[]")
    assert ran.exit_code == 0, ran.output
    assert "k=3" in ran.stdout
    assert "hard labels" in ran.stdout


def test_new_student_learns_from_an_old_store(old: House) -> None:
    made = old.run("student", "--set", "student.k=2")
    assert made.exit_code == 0, made.output
    assert len(old.all("student")) == 3


def test_old_work_directory_is_verified_by_what_it_has(old: House) -> None:
    done = CliRunner().invoke(main, ["verify", str(old.work)])
    assert done.exit_code == 0, done.output
    found = len([path for path in old.work.iterdir() if path.is_dir()])
    assert f"{found} entries: made before digests of all files were recorded" in done.stdout
    for store in old.work.glob("teacher-*/*.zarr"):
        done = CliRunner().invoke(cache, ["verify", "--data", str(store)])
        assert done.exit_code == 0, done.output


def test_old_corpus_file_is_read_and_checked(old: House) -> None:
    for path in old.work.glob("corpus-*/*.h5"):
        with CorpusFile(path) as corpus:
            corpus.check_content()
            assert corpus.label_counts().sum() == corpus.labelled_frames().sum()


def test_old_students_exchanged_are_named(old: House) -> None:
    """RELIABILITY 32."""
    first, second = old.all("student")
    aside = first.rename(old.work / "aside")
    second.rename(first)
    aside.rename(second)
    ran = old.run("evaluate")
    assert ran.exit_code == 1
    assert "not what its name states" in ran.stderr


def test_old_splits_exchanged_are_named(old: House) -> None:
    """RELIABILITY 32."""
    (corpus,) = old.all("corpus")
    aside = (corpus / "train.h5").rename(corpus / "aside")
    (corpus / "dev.h5").rename(corpus / "train.h5")
    aside.rename(corpus / "dev.h5")
    ran = old.run("student", "--set", "student.k=2")
    assert ran.exit_code == 1
    assert "holds the split" in ran.stderr


def with_settings(place: Path, **changes: object) -> Path:
    """The artefact as a version with other settings would have made it."""
    made = json.loads((place / "made.json").read_text())
    made["settings"] = {k: v for k, v in (made["settings"] | changes).items() if v is not None}
    recipe = Recipe(stage=made["stage"], settings=made["settings"], inputs=made["inputs"])
    made["fingerprint"] = recipe.fingerprint
    other = shutil.copytree(place, place.with_name(recipe.name))
    (other / "made.json").write_text(json.dumps(made))
    rewrite_list(other)
    return other


def rewrite_list(place: Path) -> None:
    """As an earlier version wrote it: with made.json."""
    names = [line[66:] for line in (place / "files.sha256").read_text().splitlines()]
    digests = [hashlib.sha256((place / name).read_bytes()).hexdigest() for name in names]
    lines = (f"{digest}  {name}\n" for digest, name in zip(digests, names, strict=True))
    (place / "files.sha256").write_text("".join(lines))


def test_student_of_settings_that_no_version_here_has_is_left_out_with_a_line(old: House) -> None:
    """RELIABILITY 36."""
    (place, _) = old.all("student")
    stranger = with_settings(place, sharpness=3)
    for command in ("status", "evaluate", "report", "run"):
        ran = old.run(command)
        assert ran.exit_code == 0, ran.output
        (line,) = [line for line in ran.stderr.splitlines() if "left out" in line]
        assert line.startswith(f"{stranger.name}: left out: its settings are of another version ")
        assert line.endswith("(sharpness: Extra inputs are not permitted)")


def test_student_whose_model_no_version_here_can_read_is_left_out_with_a_line(old: House) -> None:
    """RELIABILITY 36."""
    (place, _) = old.all("student")
    stranger = with_settings(place, chunk_above=7)
    text = (stranger / "model.json").read_text().replace("essence model 1", "essence model 0")
    (stranger / "model.json").write_text(text)
    rewrite_list(stranger)
    ran = old.run("run")
    assert ran.exit_code == 0, ran.output
    (line,) = [line for line in ran.stderr.splitlines() if "left out" in line]
    assert f"{stranger}/model.json: format: " in line


def test_settings_that_an_earlier_student_lacks_get_their_defaults(old: House) -> None:
    """RELIABILITY 36."""
    (place,) = [p for p in old.all("student") if '"k": 3' in (p / "made.json").read_text()]
    with_settings(place, chunk_above=None, label_smoothing=None, tail=None)
    ran = old.run("evaluate")
    assert ran.exit_code == 0, ran.output
    assert "left out" not in ran.stderr
    assert sum(line.startswith("k=3 ") for line in ran.stdout.splitlines()) == 1  # one group
    assert (
        next(line.split()[1] for line in ran.stdout.splitlines() if line.startswith("k=3")) == "2"
    )


def test_setting_that_is_gone_is_named(old: House) -> None:
    done = old.run("status", "--set", "report.dots_per_inch=60")
    assert done.exit_code == 2
    assert "report.dots_per_inch is not a setting" in done.stderr
