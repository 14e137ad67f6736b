"""An ensemble of ONNX, TorchScript, torch.export, Python and a model of this program, to the page.

The soft labels are compared with a float64 reference by the libraries themselves.
"""

import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from pipeline import flow
from pipeline.cli import main
from pipeline.job import Job
from pipeline.terminal.status_table import status_table
from stages.acoustic.models.model_file import load_model
from stages.acoustic.models.permission import ALLOWED
from stages.deploy.make_onnx import LogPosteriors, make_onnx
from storage.corpus.corpus_file import CorpusFile
from storage.read.reader import open_store
from tests.support.makers.foreign_members import (
    Net,
    log_softmax64,
    write_exported,
    write_onnx,
    write_torchscript,
)
from tests.support.makers.foreign_pipeline import (
    KEPT,
    OWN,
    open_job,
    trained_members,
    write_pipeline,
)
from tests.support.makers.kaldi import make_kaldi_directory
from tests.support.makers.pipeline import essence
from tests.support.makers.store import tree_digest
from tests.support.makers.training import RecordingProgress

TRAINED = trained_members("tdnn", "conv", "tdnn")
DATA = {"source": "kaldi", "path": "data"}
LENGTHS = {"features_input": "features", "lengths_input": "lengths"}
FOREIGN: dict[str, dict[str, Any]] = {
    "theirs-onnx": {"onnx": "a.onnx", "output": "log_probs", **LENGTHS},
    "theirs-script": {"torchscript": "b.pt", "output": "logits", "takes_lengths": True},
    "theirs-exported": {"exported": "c.pt2", "output": "probs"},
    "theirs-python": {"python": "their_lines:Lines", "output": "logits", "version": "1"},
}
LINES = """
import numpy as np

class Lines:
    def __init__(self, options):
        self.weights_DC = np.load("lines.npy")

    def posteriors(self, features_TD):
        return features_TD @ self.weights_DC
"""


class Probs(torch.nn.Module):
    """Probabilities of one utterance, whose length is that of its features."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, features_BTF: torch.Tensor) -> torch.Tensor:
        """Probabilities (1, T, C)."""
        lengths_B = torch.full((1,), features_BTF.shape[1])
        return torch.softmax(self.model(features_BTF, lengths_B), dim=2)


def settings_of(name: str) -> dict[str, Any]:
    trust = {} if "onnx" in FOREIGN[name] else {"trust": True}
    return {"name": name, **FOREIGN[name], **trust}


def write_settings(directory: Path, members: list[dict[str, Any]]) -> Path:
    return write_pipeline(directory, members, corpus=DATA, shard_frames=300)


def job(directory: Path, members: list[dict[str, Any]]) -> Job:
    return open_job(write_settings(directory, members))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Models trained here and exported with torch, as files; then `essence run --workers 2`."""
    directory = tmp_path_factory.mktemp("house")
    make_kaldi_directory(directory / "data", sentences=24, noise=1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        patch.setenv(ALLOWED, "")
        patch.syspath_prepend(str(directory))
        trained = job(directory, TRAINED)
        flow.corpus(trained)
        a, b, c = (load_model(place, "cpu")[0] for place in flow.ensemble(trained))
        (directory / "a.onnx").write_bytes(make_onnx(a))
        inputs = torch.zeros(2, 11, b.feature_dim), torch.tensor([11, 7])
        write_torchscript(directory / "b.pt", LogPosteriors(b), *inputs)
        write_exported(directory / "c.pt2", Probs(c), dim=c.feature_dim)
        rng = np.random.default_rng(5)
        lines = 0.1 * rng.normal(size=(a.feature_dim, a.num_classes))
        np.save(directory / "lines.npy", lines)
        (directory / "their_lines.py").write_text(LINES)
        shutil.rmtree(directory / "work")
        write_settings(directory, [*map(settings_of, FOREIGN), OWN])
        ran = essence(directory, "run", "--workers", "2")
        assert ran.returncode == 0, ran.stderr
        (directory / "stdout").write_text(ran.stdout)
        yield directory
        sys.modules.pop("their_lines", None)


@pytest.fixture
def here(house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the house as working directory."""
    shutil.copytree(house, tmp_path / "here", symlinks=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv(ALLOWED, "")
    return tmp_path / "here"


def references(directory: Path, own: Path) -> list[Callable[[NDArray[np.float32]], Any]]:
    """Posteriors of an utterance by each library directly, with no code of members."""
    session = onnxruntime.InferenceSession(directory / "a.onnx", providers=["CPUExecutionProvider"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        jit: Any = torch.jit
        script = jit.load(directory / "b.pt").eval()
    program = torch.export.load(directory / "c.pt2").module()
    model = load_model(own, "cpu")[0]
    lines = np.load(directory / "lines.npy")

    def one(features_TF: NDArray[np.float32]) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(features_TF)[None], torch.tensor([len(features_TF)])

    def onnx(features_TF: NDArray[np.float32]) -> Any:
        lengths_B = np.array([len(features_TF)])
        (logp,) = session.run(None, {"features": features_TF[None], "lengths": lengths_B})
        return np.exp(np.asarray(logp[0], np.float64))

    return [
        onnx,
        lambda x_TF: np.exp(log_softmax64(script(*one(x_TF))[0])),
        lambda x_TF: program(one(x_TF)[0])[0].double().numpy(),
        lambda x_TF: np.exp(log_softmax64(x_TF.astype(np.float64) @ lines)),
        lambda x_TF: np.exp(log_softmax64(model(*one(x_TF))[0])),
    ]


@torch.no_grad()
def test_best_classes_are_those_of_the_libraries_in_float64(here: Path) -> None:
    whole = job(here, [*map(settings_of, FOREIGN), OWN])
    place, corpus = whole.need(whole.recipes.teacher), whole.need(whole.recipes.corpus)
    of_each = references(here, whole.need(whole.recipes.members[-1]))
    compared = 0
    for split in ("train", "dev"):
        store = open_store(place / f"{split}.zarr")
        with CorpusFile(corpus / f"{split}.h5") as file:
            for index, row in enumerate(file.utterances):
                features_TF = file.features(index)
                mean_TC = np.mean([of(features_TF) for of in of_each], axis=0)
                order_TC = np.argsort(-mean_TC, axis=1, kind="stable")
                wanted_TK = np.take_along_axis(mean_TC, order_TC[:, : KEPT + 1], axis=1)
                found = store.read([row.id], k=KEPT)
                # Where two classes are as good as equal, float32 may swap them.
                clear_TK = -np.diff(wanted_TK, axis=1) > 1e-5
                clear_T = clear_TK.all(axis=1)
                assert (found.ids_TK[clear_T] == order_TC[clear_T, :KEPT]).all()
                np.testing.assert_allclose(
                    found.logp_TK[clear_T], np.log(wanted_TK[clear_T, :KEPT]), atol=0.07
                )
                compared += int(clear_T.sum())
    assert compared > 200


def test_page_table_and_status_show_all_members(here: Path) -> None:
    shown = (here / "stdout").read_text()
    rows = (here / "work/report/results.csv").read_text()
    page = (here / "work/report/index.html").read_text(encoding="utf-8")
    titles = ("ONNX", "TorchScript", "torch.export", "their_lines:Lines 1")
    for name, title in zip(FOREIGN, titles, strict=True):
        assert name in shown
        assert f"{name},member,,{title}," in rows
        assert name in page
    again = job(here, [*map(settings_of, FOREIGN), OWN])
    table, damaged = status_table(again, is_thorough=True)
    assert not damaged
    assert "to do" not in table
    flow.run(again)
    assert isinstance(again.progress, RecordingProgress)
    assert all(": fresh (" in note for note in again.progress.notes)


def test_one_process_writes_the_bytes_of_two_workers(here: Path) -> None:
    whole = job(here, [*map(settings_of, FOREIGN), OWN])
    place = whole.need(whole.recipes.teacher)
    before = {split: tree_digest(place / f"{split}.zarr") for split in ("train", "dev")}
    shutil.rmtree(place)
    for name in ("a.onnx", "b.pt", "c.pt2"):  # the artefacts have copies
        (here / name).rename(here / f"gone-{name}")
    left = job(here, [*map(settings_of, FOREIGN), OWN])
    assert flow.teacher(left) == place
    assert {split: tree_digest(place / f"{split}.zarr") for split in before} == before


def run(*words: str) -> Result:
    """A command in this directory, whose pipeline.yaml it finds."""
    return CliRunner().invoke(main, words)


def member_of(here: Path, file: str) -> Path:
    """The copy of a model in the artefact of its member."""
    (copy,) = here.glob(f"work/member-*/foreign/{file}")
    return copy


def test_damaged_copy_is_named_by_every_command(here: Path) -> None:
    assert run("verify").exit_code == 0
    copy = member_of(here, "model.pt2")
    content = bytearray(copy.read_bytes())
    content[len(content) // 2] ^= 1
    copy.write_bytes(content)
    for words in (["verify"], ["ensemble"], ["status", "--check"]):
        ran = run(*words)
        assert ran.exit_code != 0, words
        assert "model.pt2 has changed" in ran.output, words


def test_member_that_no_settings_name_is_garbage(here: Path) -> None:
    copy = member_of(here, "model.onnx")
    write_settings(here, [*map(settings_of, list(FOREIGN)[1:]), OWN])
    ran = run("gc", "--yes")
    assert ran.exit_code == 0, ran.output
    assert not copy.parent.parent.exists()
    assert member_of(here, "model.pt").is_file()


@pytest.mark.parametrize(
    ("member", "code", "message"),
    [
        ({"onnx": "gone.onnx"}, 1, "gone.onnx: the model cannot be read"),
        ({"onnx": "other.onnx"}, 1, "the model gives 99 classes, the corpus has"),
        ({"onnx": "a.onnx", **LENGTHS, "class_map": "map"}, 1, "map cannot be read"),
        ({"torchscript": "b.pt"}, 2, "a TorchScript model can run any code on this machine: set"),
        ({"onnx": "a.onnx", "threads": 0}, 2, "threads"),
    ],
)
def test_unfit_members_make_one_line_and_no_artefact(
    here: Path, member: dict[str, Any], code: int, message: str
) -> None:
    corpus = job(here, [OWN])
    with CorpusFile(corpus.need(corpus.recipes.corpus) / "dev.h5") as dev:
        dim = dev.about.feature_dim
    write_onnx(here / "other.onnx", Net(classes=99, dim=dim), dim=dim)
    before = sorted((here / "work").glob("member-*"))
    write_settings(here, [{"name": "theirs", "output": "logits", **member}])
    ran = run("ensemble")
    assert ran.exit_code == code, ran.output
    (line,) = [line for line in ran.stderr.splitlines() if line.startswith("essence:")]
    assert message in line
    assert "Traceback" not in ran.stderr
    made = [
        path for path in sorted((here / "work").glob("member-*")) if ".partial" not in str(path)
    ]
    assert made == before


def test_missing_package_is_named_with_its_extra(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    shutil.rmtree(member_of(here, "model.onnx").parent.parent)
    ran = run("ensemble")
    assert ran.exit_code == 1
    assert "needs onnxruntime, which the extra 'deploy' installs" in ran.stderr
