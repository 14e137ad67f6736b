"""An ensemble of ONNX, TorchScript, Hugging Face and a model of this program, on a corpus of audio.

`essence run` makes everything. The store is compared with posteriors that onnxruntime, torch and
transformers compute when they are called here, with no code of members, averaged in float64. The
model of Hugging Face reads the waveform, the others features.
"""

import shutil
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray

from pipeline import flow
from pipeline.cli import main
from pipeline.job import Job
from stages.acoustic.models.model_file import load_model
from stages.acoustic.models.permission import ALLOWED
from stages.deploy.make_onnx import LogPosteriors, make_onnx
from storage.corpus.corpus_file import CorpusFile
from storage.corpus.utterance import Utterance
from storage.read.reader import open_store
from tests.support.makers.audio import make_audio
from tests.support.makers.foreign_members import log_softmax64, write_torchscript
from tests.support.makers.foreign_pipeline import (
    KEPT,
    OWN,
    open_job,
    trained_members,
    write_pipeline,
)
from tests.support.makers.pipeline import essence
from tests.support.makers.training import RecordingProgress
from tests.support.makers.waveform import TINY_WAV2VEC2, samples_of

transformers: Any = pytest.importorskip("transformers")
pytest.importorskip("espeakng_loader")
TRAINED = trained_members("tdnn", "conv")
AUDIO = {
    "source": "audio",
    "path": "speech/table.tsv",
    "audio": {"alignments": ["speech/ali"], "lang": "speech/lang"},
}
FOREIGN: list[dict[str, Any]] = [
    {"name": "theirs-onnx", "onnx": "a.onnx", "output": "log_probs"}
    | {"features_input": "features", "lengths_input": "lengths"},
    {"name": "theirs-script", "torchscript": "b.pt", "output": "logits", "trust": True}
    | {"takes_lengths": True},
    {"name": "theirs-hub", "huggingface": "hub", "input": "waveform", "output": "logits"}
    | {"frames": "nearest"},
]
Posteriors = Callable[[NDArray[np.float32], Utterance], NDArray[np.float64]]


def write_settings(directory: Path, members: list[dict[str, Any]], **changes: str) -> Path:
    return write_pipeline(directory, members, corpus=AUDIO, shard_frames=700, **changes)


def job(directory: Path, members: list[dict[str, Any]], **changes: str) -> Job:
    return open_job(write_settings(directory, members, **changes))


def save_hub(folder: Path, *, classes: int) -> None:
    """A tiny wav2vec2 with frames of 20 ms, with its feature extractor."""
    sizes = {"vocab_size": classes, "num_labels": classes}
    config = transformers.Wav2Vec2Config(
        **{**TINY_WAV2VEC2, **sizes, "conv_kernel": (20, 20), "conv_stride": (20, 16)}
    )
    torch.manual_seed(3)
    model = transformers.Wav2Vec2ForCTC(config).eval()
    with torch.no_grad():
        model.lm_head.weight *= 15  # of one opinion: another in each frame
    model.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two models trained here and exported, one from a configuration; then `essence run`."""
    directory = tmp_path_factory.mktemp("house")
    (directory / "speech").mkdir()
    speech = make_audio(directory / "speech")
    speech.write_table(directory / "speech" / "table.tsv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        patch.setenv(ALLOWED, "")
        trained = job(directory, TRAINED)
        flow.corpus(trained)
        a, b = (load_model(place, "cpu")[0] for place in flow.ensemble(trained))
        (directory / "a.onnx").write_bytes(make_onnx(a))
        inputs = torch.zeros(2, 11, b.feature_dim), torch.tensor([11, 7])
        write_torchscript(directory / "b.pt", LogPosteriors(b), *inputs)
        save_hub(directory / "hub", classes=a.num_classes)
        shutil.rmtree(directory / "work")
        write_settings(directory, [*FOREIGN, OWN])
        ran = essence(directory, "run")
        assert ran.returncode == 0, ran.stderr
        (directory / "stdout").write_text(ran.stdout)
        yield directory


@pytest.fixture
def here(house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the house as working directory; the corpus names the audio of the first."""
    shutil.copytree(house, tmp_path / "here", symlinks=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv(ALLOWED, "")
    return tmp_path / "here"


def by_onnx(session: Any, features_TF: NDArray[np.float32], _: Utterance) -> NDArray[np.float64]:
    lengths_B = np.array([len(features_TF)])
    (logp,) = session.run(None, {"features": features_TF[None], "lengths": lengths_B})
    return np.asarray(logp[0], np.float64)


def by_torch(model: Any, features_TF: NDArray[np.float32], _: Utterance) -> NDArray[np.float64]:
    inputs = torch.from_numpy(features_TF)[None], torch.tensor([len(features_TF)])
    return log_softmax64(model(*inputs)[0])


def by_transformers(
    model: Any, extractor: Any, features_TF: NDArray[np.float32], row: Utterance
) -> NDArray[np.float64]:
    """The last row has the last frame: the model pads nothing."""
    assert row.audio is not None
    samples_S = samples_of(row.audio).astype(np.float32)
    values = extractor(samples_S, sampling_rate=16_000, return_tensors="pt").input_values
    logp_NC = log_softmax64(model(values).logits[0])
    assert len(logp_NC) == len(features_TF) - 1
    return np.concatenate([logp_NC, logp_NC[-1:]])


def libraries(directory: Path, own: Path) -> list[Posteriors]:
    """Log-posteriors of an utterance by each library directly."""
    providers = ["CPUExecutionProvider"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        jit: Any = torch.jit
        script = jit.load(directory / "b.pt").eval()
    return [
        partial(by_onnx, onnxruntime.InferenceSession(directory / "a.onnx", providers=providers)),
        partial(by_torch, script),
        partial(
            by_transformers,
            transformers.Wav2Vec2ForCTC.from_pretrained(directory / "hub").eval(),
            transformers.Wav2Vec2FeatureExtractor.from_pretrained(directory / "hub"),
        ),
        partial(by_torch, load_model(own, "cpu")[0]),
    ]


def mean64(logp_MTC: NDArray[np.float64], combine: str) -> NDArray[np.float64]:
    """Log of the mean of probabilities, or the mean of logarithms, normalised."""
    if combine == "geometric":
        return log_softmax64(logp_MTC.mean(axis=0))
    mean_TC: NDArray[np.float64] = np.log(np.exp(logp_MTC).mean(axis=0))
    return mean_TC


def difference(store: Any, row: Utterance, logp_TC: NDArray[np.float64]) -> tuple[int, int, float]:
    """Frames whose best classes are clear, how many of them the store has, largest difference.

    Where two classes are as good as equal, float32 may swap them.
    """
    order_TC = np.argsort(-logp_TC, axis=1, kind="stable")
    best_TK = np.take_along_axis(logp_TC, order_TC[:, : KEPT + 1], axis=1)
    clear_T = (-np.diff(best_TK, axis=1) > 1e-4).all(axis=1)
    found = store.read([row.id], k=KEPT)
    same_T = (found.ids_TK == order_TC[:, :KEPT]).all(axis=1) & clear_T
    largest = np.abs(found.logp_TK[same_T] - best_TK[same_T, :KEPT]).max(initial=0.0)
    return int(clear_T.sum()), int(same_T.sum()), float(largest)


@pytest.mark.parametrize("combine", ["arithmetic", "geometric"])
@torch.no_grad()
def test_best_classes_are_those_of_the_libraries_in_float64(here: Path, combine: str) -> None:
    whole = job(here, [*FOREIGN, OWN], combine=combine)
    place = flow.teacher(whole)
    corpus = whole.need(whole.recipes.corpus)
    of_each = libraries(here, whole.need(whole.recipes.members[-1]))
    clear, same = 0, 0
    of_fewer = np.zeros(len(of_each), np.int64)  # frames in which a mean of the others agrees
    for split in ("train", "dev"):
        store = open_store(place / f"{split}.zarr")
        with CorpusFile(corpus / f"{split}.h5") as file:
            for index, row in enumerate(file.utterances):
                features_TF = file.features(index)
                logp_MTC = np.stack([of(features_TF, row) for of in of_each])
                here_clear, here_same, largest = difference(store, row, mean64(logp_MTC, combine))
                assert largest < 0.07  # of the store's one-byte codes
                clear, same = clear + here_clear, same + here_same
                for left_out in range(len(of_each)):
                    others_MTC = np.delete(logp_MTC, left_out, axis=0)
                    of_fewer[left_out] += difference(store, row, mean64(others_MTC, combine))[1]
    assert same == clear > 500
    assert (of_fewer < 0.95 * clear).all()  # every member counts


def test_page_and_table_show_all_members(here: Path) -> None:
    shown = (here / "stdout").read_text()
    rows = (here / "work/report/results.csv").read_text()
    page = (here / "work/report/index.html").read_text(encoding="utf-8")
    titles = (",ONNX,", ",TorchScript,", ",Hugging Face,", "2,")
    for name, title in zip([*(each["name"] for each in FOREIGN), "own"], titles, strict=True):
        assert name in shown
        assert f"\n{name},{name},member,{title}" in rows
        assert name in page
    again = job(here, [*FOREIGN, OWN])
    flow.run(again)
    assert isinstance(again.progress, RecordingProgress)
    assert all(": fresh (" in note for note in again.progress.notes)


def test_changed_audio_ends_the_teacher_in_one_line(here: Path, house: Path) -> None:
    whole = job(here, [*FOREIGN, OWN])
    shutil.rmtree(whole.need(whole.recipes.teacher))
    with CorpusFile(whole.need(whole.recipes.corpus) / "train.h5") as train:
        row = train.utterances[len(train.utterances) // 2]
    assert row.audio is not None
    audio = Path(row.audio.path)
    assert house in audio.parents
    content = audio.read_bytes()
    audio.write_bytes(content[:-20] + bytes(20))
    try:
        ran = CliRunner().invoke(main, ["teacher"])
    finally:
        audio.write_bytes(content)
    assert ran.exit_code == 1
    (line,) = [line for line in ran.stderr.splitlines() if line.startswith("essence:")]
    assert f"utterance {row.id!r}: {audio} is not the audio that the corpus was made of" in line
    assert "Traceback" not in ran.stderr
    assert not list(here.glob("work/teacher-*[0-9a-f]"))
