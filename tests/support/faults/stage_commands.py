"""Stages that a fault meets: on small inputs, begun or continued, in this process.

Artefacts are made as the command line makes them: by a stage, below a work directory.
"""

from functools import cache, partial
from pathlib import Path

from pipeline.shelf.freshness import Fill, Shelf
from pipeline.shelf.record import Recipe
from stages.acoustic.lang.graph import build_graph
from stages.acoustic.lang.lang import read_lang
from stages.contract.progress import SilentProgress
from stages.contract.results import System
from stages.corpus.build import build_corpus
from stages.corpus.settings import CorpusSettings
from stages.evaluate.evaluate import evaluate_system
from stages.evaluate.settings import EvaluateSettings
from stages.members.trained import train_member
from stages.members.trained_settings import TrainedMemberSettings
from stages.report.inputs import ReportInputs
from stages.report.page import write_report
from stages.report.settings import ReportSettings
from tests.support.faults.store_commands import Command
from tests.support.makers.kaldi import make_kaldi_directory
from tests.support.makers.report import make_inputs

RECIPE = Recipe(stage="stage", settings={})
FEATURES = {"cmvn": "global", "splice_left": 0, "splice_right": 0, "subsample": 1}
ONE_POINT = EvaluateSettings(acoustic_scales=(0.5,), insertion_penalties=(0.0,), processes=1)


def _make(path: Path, fill: Fill) -> None:
    shelf = Shelf(path)
    shelf.make(RECIPE, fill)
    shelf.link(RECIPE, name="latest")


def _kaldi_directory(folder: Path) -> None:
    make_kaldi_directory(folder / "data", sentences=8, speakers=2)


def _corpus_settings(folder: Path) -> CorpusSettings:
    return CorpusSettings(source="kaldi", path=folder / "data", features=FEATURES)


def _corpus(path: Path) -> None:
    settings = _corpus_settings(path.parent)
    _make(path, partial(build_corpus, settings, progress=SilentProgress()))


def _graph(path: Path) -> None:
    lang = read_lang(path.parent / "data" / "lang")
    _make(path, lambda *, directory: build_graph(lang, directory))


def _model(folder: Path) -> None:
    """A Kaldi directory, its corpus, graph, and a member that has learnt little."""
    _kaldi_directory(folder)
    for name in ("corpus", "graph", "member"):
        (folder / name).mkdir()
    quiet = SilentProgress()
    build_corpus(_corpus_settings(folder), directory=folder / "corpus", progress=quiet)
    build_graph(read_lang(folder / "corpus" / "lang"), folder / "graph")
    train_member(
        TrainedMemberSettings(
            name="one",
            architecture={"kind": "tdnn", "hidden": 5, "layers": 1},
            training={"epochs": 1, "batch_frames": 100},
        ),
        corpus_directory=folder / "corpus",
        directory=folder / "member",
        device="cpu",
        progress=quiet,
    )


def _evaluate(path: Path) -> None:
    system = System(
        name="one",
        kind="member",
        fingerprint="f",
        model_directories=(path.parent / "member",),
        weights=(1.0,),
    )
    fill = partial(
        evaluate_system,
        ONE_POINT,
        system=system,
        corpus_directory=path.parent / "corpus",
        graph_directory=path.parent / "graph",
        device="cpu",
        progress=SilentProgress(),
    )
    _make(path, fill)


@cache
def _results(folder: Path) -> ReportInputs:
    """Made once: a forked child has those of its parent, and makes no call for them."""
    (folder / "inputs").mkdir(parents=True, exist_ok=True)
    return make_inputs(folder / "inputs")


def _report(path: Path) -> None:
    inputs = _results(path.parent)
    settings = ReportSettings(bootstrap_samples=100)
    _make(path, lambda *, directory: write_report(settings, inputs, directory=directory))


COMMANDS = {
    "corpus": Command(_kaldi_directory, _corpus),
    "graph": Command(_kaldi_directory, _graph),
    "evaluate": Command(_model, _evaluate),
    "report": Command(_results, _report),
}
