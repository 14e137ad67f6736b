"""An ensemble of archived posteriors, from a Kaldi directory to the report."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipeline import flow
from pipeline.errors import NotMadeYet
from pipeline.job import Job
from pipeline.settings.read import read_settings
from pipeline.terminal.status_table import status_table
from pipeline.terminal.tables import results_table
from stages.contract.errors import BadInput, MissingPart
from stages.members.ensemble_posteriors import normalise_log
from stages.members.kinds import open_member
from storage.corpus.corpus_file import CorpusFile
from storage.read.reader import open_store
from tests.support.makers.kaldi import make_kaldi_directory, write_archive
from tests.support.makers.pipeline import TINY, essence
from tests.support.makers.posteriors import posteriors_of
from tests.support.makers.training import RecordingProgress

SPLITS = ("train", "dev", "test")
BASE: dict[str, Any] = dict(TINY)
TRAINED = BASE["ensemble"]["members"][0] | {"name": "own"}
FOREIGN = {"name": "foreign", "posteriors": "post"}
NOISY = {"name": "noisy", "posteriors": "noisy"}


def job(directory: Path, members: list[Mapping[str, Any]], *, work: str = "work") -> Job:
    """The tiny pipeline over the Kaldi directory, with other members."""
    settings = BASE | {
        "work_dir": str(directory / work),
        "corpus": {
            "source": "kaldi",
            "path": str(directory / "data"),
            "features": {"subsample": 2},
        },
        "ensemble": {"members": members},
        "teacher": {"kept": 3, "shard_frames": 300, "chunk_frames": 100},
        "student": BASE["student"] | {"k": 2},
        "compare": [{"hard_weight": 1.0}],
    }
    settings["evaluate"] = BASE["evaluate"] | {"processes": 1}
    path = directory / "pipeline.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return Job(read_settings(path), RecordingProgress())


def notes_of(job: Job) -> str:
    assert isinstance(job.progress, RecordingProgress)
    return "\n".join(job.progress.notes)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, a trained member, and archives of its posteriors, exact and with noise."""
    directory = tmp_path_factory.mktemp("house")
    make_kaldi_directory(directory / "data", sentences=24, noise=1.0)
    (directory / "post").mkdir()
    (directory / "noisy").mkdir()
    trained = job(directory, [TRAINED])
    corpus = flow.corpus(trained)
    (member,) = flow.ensemble(trained)
    flow.teacher(trained)
    rng = np.random.default_rng(3)
    for split in SPLITS:
        with CorpusFile(corpus / f"{split}.h5") as file:
            found = posteriors_of(open_member(member, device="cpu").load(), file, batch_frames=700)
            said = {file.utterances[index].id: logp_TC for index, logp_TC in found.items()}
        write_archive(directory / "post", split, said)
        noise = {id: 0.5 * rng.normal(size=logp.shape) for id, logp in said.items()}
        noisy = {id: normalise_log((said[id] + noise[id]).astype(np.float32)) for id in said}
        write_archive(directory / "noisy", split, noisy)
    return directory


@pytest.fixture
def here(house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the house as working directory, to which paths of archives are relative."""
    shutil.copytree(house, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def test_model_and_its_archived_posteriors_make_the_same_store(here: Path) -> None:
    own, foreign = job(here, [TRAINED]), job(here, [FOREIGN])
    flow.ensemble(foreign)
    stores = [flow.teacher(each) for each in (own, foreign)]
    assert stores[0] != stores[1]
    for split in ("train", "dev"):
        opened = [open_store(store / f"{split}.zarr") for store in stores]
        found, wanted = (s.read([row.id for row in s.utterances], k=3) for s in opened)
        assert (found.ids_TK == wanted.ids_TK).mean() > 0.999
        np.testing.assert_allclose(found.logp_TK, wanted.logp_TK, atol=0.07)
        assert np.abs(found.logp_TK - wanted.logp_TK).mean() < 1e-4


def test_trained_and_archived_members_go_to_the_report(here: Path) -> None:
    mixed = job(here, [TRAINED, FOREIGN | {"posteriors": "noisy"}])
    table = results_table(flow.run(mixed), mixed.settings.report).splitlines()
    by_name = {line.split("  ")[0]: line.split() for line in table}
    assert by_name["foreign"][2] == by_name["ensemble"][2] == "-"
    assert by_name["own"][2].replace(",", "").isdigit()
    page = (here / "work" / "report" / "index.html").read_text(encoding="utf-8")
    assert "archived posteriors" in page
    assert "posteriors_are" in page
    assert ",member,,archived posteriors,," in (here / "work/report/results.csv").read_text()
    again = job(here, [TRAINED, FOREIGN | {"posteriors": "noisy"}])
    flow.run(again)
    assert all(": fresh (" in note for note in notes_of(again).splitlines())
    assert "to do" not in status_table(again, is_thorough=True)[0]


def test_ensemble_may_have_archived_members_only(here: Path) -> None:
    shutil.rmtree(here / "work")
    foreign = job(here, [FOREIGN, NOISY])
    flow.run(foreign)
    assert not list((here / "work").glob("member-*/model.safetensors"))
    assert len(list((here / "work").glob("member-*/member.json"))) == 2


def test_archives_are_not_needed_once_the_stores_exist(here: Path) -> None:
    before = job(here, [FOREIGN])
    flow.ensemble(before)
    flow.teacher(before)
    shutil.rmtree(here / "post")
    after = job(here, [FOREIGN])
    assert after.recipes.teacher.fingerprint == before.recipes.teacher.fingerprint
    flow.run(after)
    assert "evaluation foreign: left out: the posteriors in" in notes_of(after)
    shutil.rmtree(here / "work")
    with pytest.raises(BadInput, match="post is no directory"):
        flow.ensemble(job(here, [FOREIGN]))


def test_archives_may_move_but_not_change(here: Path) -> None:
    before = job(here, [FOREIGN])
    flow.ensemble(before)
    (here / "post").rename(here / "moved")
    moved = job(here, [FOREIGN | {"posteriors": "moved"}])
    assert moved.recipes.members[0].fingerprint == before.recipes.members[0].fingerprint
    with pytest.raises(MissingPart, match=r"no longer in .*post: .* remove .*member-"):
        flow.teacher(moved)
    shutil.rmtree(place := moved.shelf.place(moved.recipes.members[0]))
    assert flow.ensemble(moved) == [place]
    flow.teacher(moved)
    (here / "moved" / "dev.ark").write_bytes((here / "noisy" / "dev.ark").read_bytes())
    changed = job(here, [FOREIGN | {"posteriors": "moved"}])
    assert changed.recipes.members[0].fingerprint != before.recipes.members[0].fingerprint
    with pytest.raises(NotMadeYet, match="run 'essence ensemble' first"):
        flow.teacher(changed)


def test_members_without_test_posteriors_are_left_out_of_evaluation(here: Path) -> None:
    for suffix in ("scp", "ark"):
        (here / "post" / f"test.{suffix}").unlink()
    foreign = job(here, [FOREIGN])
    names = [result.system.name for result in flow.run(foreign)]
    assert names == ["k=2", "hard labels"]
    for name in ("foreign", "ensemble"):
        assert f"evaluation {name}: left out: there are no posteriors of test" in notes_of(foreign)


def test_incomplete_archive_gives_one_line_of_error(here: Path) -> None:
    job(here, [FOREIGN])
    scp = here / "post" / "train.scp"
    scp.write_text("".join(scp.read_text().splitlines(keepends=True)[1:]))
    ran = essence(here, "ensemble")
    assert ran.returncode == 1
    (line,) = [line for line in ran.stderr.splitlines() if line.startswith("essence:")]
    assert "member foreign: " in line
    assert "lacks 1 of the corpus's 24 utterances" in line
    assert "Traceback" not in ran.stderr


def test_recipe_of_a_trained_member_does_not_depend_on_archive_settings(here: Path) -> None:
    """The settings of archives are not in the recipe of a trained member."""
    (recipe,) = job(here, [TRAINED]).recipes.members
    assert set(recipe.settings) == {"architecture", "training", "folds"}
