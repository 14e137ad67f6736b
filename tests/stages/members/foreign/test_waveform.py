"""Members that read the waveform, against the same models in float64; their identity and faults."""

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from stages.acoustic.models import pieces as cutting
from stages.contract.errors import BadInput, BadPosterior, StageError
from stages.members.foreign.waveform import zero_mean_unit_variance
from stages.members.kinds import open_member
from storage.corpus.corpus_file import CorpusFile
from storage.corpus.utterance import Utterance
from tests.support.makers.foreign_members import (
    Net,
    log_softmax64,
    make_foreign,
    read_member,
    write_exported,
    write_module,
    write_onnx,
    write_torchscript,
)
from tests.support.makers.posteriors import posteriors_of
from tests.support.makers.training import make_corpus_directory
from tests.support.makers.waveform import (
    RATE,
    ROW_SAMPLES,
    WaveNet,
    make_audio_corpus,
    make_audio_corpus_directory,
    samples_of,
    write_rows,
)

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk", "importable")
EXAMPLE = torch.zeros(1, 23 * ROW_SAMPLES)
MODULE = f"""
import numpy as np

class Model:
    def __init__(self, options): pass
    def posteriors(self, samples_S):
        assert samples_S.dtype == np.float32
        starts_T = np.arange(len(samples_S) // {ROW_SAMPLES}) * {ROW_SAMPLES}
        return samples_S[starts_T[:, None] + [0, 40, 80, 120, 159]]
"""
Reference = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.h5, dev.h5 and test.h5 with their audio: tests must not change it."""
    return make_audio_corpus_directory(tmp_path_factory.mktemp("corpus"))


def net64(net: WaveNet) -> Reference:
    """Log-posteriors of samples by a copy of the net in float64."""
    wide = copy.deepcopy(net).double()

    def run(samples_S: NDArray[np.float64]) -> NDArray[np.float64]:
        with torch.no_grad():
            return log_softmax64(wide(torch.from_numpy(samples_S)[None])[0])

    return run


def compare(
    directory: Path, path: Path, reference: Callable[[Utterance], NDArray[np.float64]]
) -> None:
    """The member's log-posteriors of a split are those of `reference`, of each utterance alone."""
    compared = 0
    with CorpusFile(path) as split:
        member = open_member(directory, device="cpu")
        assert member.about.feature_dim is None
        for index, logp_TC in posteriors_of(member.load(), split).items():
            wanted_TC = reference(split.utterances[index])
            np.testing.assert_allclose(logp_TC, wanted_TC, atol=3e-5)
            compared += len(logp_TC)
    assert compared == sum(row.num_frames for row in split.utterances) > 100


def settings_of(kind: str, folder: Path, net: torch.nn.Module) -> dict[str, Any]:
    """A model of the waveform as a file, and the settings that name it."""
    path = folder / "model"
    if kind == "onnx":
        write_onnx(path, net, example=EXAMPLE)
    elif kind == "torchscript":
        write_torchscript(path, net)
    else:
        write_exported(path, net, example=EXAMPLE, least_rows=400, most_rows=400_000)
    trust = {} if kind == "onnx" else {"trust": True}
    return {kind: path, "output": "logits", "input": "waveform", **trust}


@pytest.mark.parametrize("kind", ["onnx", "torchscript", "exported"])
def test_posteriors_are_those_of_the_net_in_float64(
    tmp_path: Path, corpus: Path, kind: str
) -> None:
    net = WaveNet()
    of_net = net64(net)
    member = make_foreign(tmp_path / "m", corpus, settings_of(kind, tmp_path, net))
    for split in ("train", "dev", "test"):
        compare(member, corpus / f"{split}.h5", lambda row: of_net(samples_of(row.audio)))  # type: ignore[arg-type]


def test_python_member_gets_the_samples(tmp_path: Path, corpus: Path) -> None:
    settings = {"python": write_module(tmp_path, text=MODULE), "output": "logits", "trust": True}
    settings |= {"version": "1", "input": "waveform"}

    def reference(row: Utterance) -> NDArray[np.float64]:
        assert row.audio is not None
        samples_S = samples_of(row.audio)
        places = np.arange(row.num_frames)[:, None] * ROW_SAMPLES + [0, 40, 80, 120, 159]
        return log_softmax64(samples_S[places])

    compare(make_foreign(tmp_path / "m", corpus, settings), corpus / "dev.h5", reference)


def test_samples_are_resampled_and_normalised_as_declared(tmp_path: Path, corpus: Path) -> None:
    net = WaveNet(stride=80)  # 10 ms at 8 kHz
    of_net = net64(net)
    settings = settings_of("onnx", tmp_path, net) | {"sample_rate": 8_000, "frames": "nearest"}

    def at_8_khz(row: Utterance) -> NDArray[np.float64]:
        assert row.audio is not None
        found: NDArray[np.float64] = soxr.resample(samples_of(row.audio), RATE, 8_000, "VHQ")
        return found

    def normal(row: Utterance) -> NDArray[np.float64]:
        wave = at_8_khz(row)
        return of_net((wave - wave.mean()) / np.sqrt(wave.var() + 1e-7))

    plain = make_foreign(tmp_path / "plain", corpus, settings)
    compare(plain, corpus / "dev.h5", lambda row: of_net(at_8_khz(row)))
    settings["normalise"] = "zero_mean_unit_variance"
    compare(make_foreign(tmp_path / "normal", corpus, settings), corpus / "dev.h5", normal)


def test_normalised_samples_have_mean_0_and_variance_1() -> None:
    samples_S = np.random.default_rng(3).normal(0.7, 0.01, size=40_001).astype(np.float32)
    found = zero_mean_unit_variance(samples_S).astype(np.float64)
    assert abs(found.mean()) < 1e-6
    assert abs(found.var() - 1) < 2e-3  # the variance is 1e-4, and 1e-7 is added
    assert not zero_mean_unit_variance(np.full(99, 0.5, np.float32)).any()


def test_long_recording_goes_in_pieces_with_the_rows_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces of 50 rows with 8 of context; the net sees 2. 220.5 samples are a row at 22,050 Hz."""
    monkeypatch.setattr(cutting, "PIECE_FRAMES", 50)
    monkeypatch.setattr(cutting, "CONTEXT_FRAMES", 8)
    corpus = tmp_path / "corpus"
    for name in ("train", "dev"):
        make_audio_corpus(corpus / f"{name}.h5", lengths=(371, 50, 51, 149), seed=3)
    net = WaveNet()
    of_net = net64(net)
    member = make_foreign(tmp_path / "m", corpus, settings_of("onnx", tmp_path, net))
    compare(member, corpus / "dev.h5", lambda row: of_net(samples_of(row.audio)))  # type: ignore[arg-type]
    settings = {"python": write_module(tmp_path, text=LENGTHS_MODULE), "output": "logits"}
    settings |= {"version": "1", "input": "waveform", "trust": True, "sample_rate": 22_050}
    make_foreign(tmp_path / "odd", corpus, settings)  # frames: exact


LENGTHS_MODULE = """
import numpy as np

class Model:
    def __init__(self, options): pass
    def posteriors(self, samples_S):
        return np.zeros((int(len(samples_S) / 220.5), 5))
"""


def refused(directory: Path, corpus: Path, settings: dict[str, Any]) -> str:
    """The message with which a member is refused; it is one line, and there is no member."""
    with pytest.raises(StageError) as caught:
        make_foreign(directory, corpus, settings)
    assert "\n" not in str(caught.value)
    assert not list(directory.glob("*.json"))
    return str(caught.value)


def test_corpus_without_audio_is_named(tmp_path: Path) -> None:
    corpus = make_corpus_directory(tmp_path / "corpus")
    message = refused(tmp_path / "m", corpus, settings_of("onnx", tmp_path, WaveNet()))
    assert message.startswith("member theirs, utterance 'dev-0': the corpus has no audio of it")
    assert "make the corpus of audio (corpus.source: audio;" in message


def test_utterance_without_audio_is_found_when_the_member_is_made(
    tmp_path: Path, corpus: Path
) -> None:
    """A copy in train: neither its shortest nor its longest utterance."""
    shutil.copytree(corpus, tmp_path / "corpus")
    make_corpus_directory(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "train.h5", tmp_path / "corpus" / "train.h5")
    message = refused(tmp_path / "m", tmp_path / "corpus", settings_of("onnx", tmp_path, WaveNet()))
    assert "utterance 'train-0' of train.h5: the corpus has no audio of it" in message


def test_stride_that_does_not_fit_is_named_with_both_lengths(tmp_path: Path, corpus: Path) -> None:
    settings = settings_of("onnx", tmp_path, WaveNet(stride=2 * ROW_SAMPLES))  # 20 ms
    message = refused(tmp_path / "m", corpus, settings | {"frames": "nearest"})
    assert "the model gives 15 frames for 31 rows of the corpus, wanted 31" in message
    assert "stride 1 and offset 0: set those of the model" in message
    make_foreign(tmp_path / "m", corpus, settings | {"frames": "nearest", "stride": 2})
    settings = settings_of("onnx", tmp_path, WaveNet(classes=6))
    assert "gives 6 classes, the corpus has 5" in refused(tmp_path / "n", corpus, settings)


def test_frame_less_is_the_last_one_again(tmp_path: Path, corpus: Path) -> None:
    """As wav2vec2, which pads nothing."""
    net = WaveNet()
    net.conv.padding = (100,)
    of_net = net64(net)
    settings = settings_of("onnx", tmp_path, net)
    assert "gives 30 frames for 31 rows" in refused(tmp_path / "exact", corpus, settings)
    member = make_foreign(tmp_path / "m", corpus, settings | {"frames": "nearest"})

    def reference(row: Utterance) -> NDArray[np.float64]:
        logp_NC = of_net(samples_of(row.audio))  # type: ignore[arg-type]
        return logp_NC[np.minimum(np.arange(row.num_frames), len(logp_NC) - 1)]

    compare(member, corpus / "dev.h5", reference)


def test_wrong_kind_of_input_is_named(tmp_path: Path, corpus: Path) -> None:
    settings = settings_of("onnx", tmp_path, WaveNet())
    del settings["input"]
    message = refused(tmp_path / "m", corpus, settings)
    assert (
        "'x' has 2 axes, wanted (1, frames, dims) with input: features: set input: wav" in message
    )
    settings = {"onnx": write_onnx(tmp_path / "f", Net()), "output": "logits", "input": "waveform"}
    message = refused(tmp_path / "m", corpus, settings)
    assert "'x' has 3 axes, wanted (1, samples) with input: waveform: set input: feat" in message
    path = write_onnx(tmp_path / "g", WaveNet(), example=EXAMPLE, is_free=False)
    message = refused(tmp_path / "m", corpus, settings | {"onnx": path})
    assert "takes 3680 samples, no more and no less: export it with a free length" in message


@pytest.mark.parametrize("name", ["sample_rate", "normalise"])
def test_settings_of_the_waveform_need_one(tmp_path: Path, name: str) -> None:
    values = {"sample_rate": 8_000, "normalise": "zero_mean_unit_variance"}
    with pytest.raises(ValidationError, match=f"{name} is a setting of models that read the wave"):
        read_member(onnx=tmp_path / "a", output="logits", **{name: values[name]})


def test_identity_counts_what_moves_a_bit_and_is_what_it_was_for_features(tmp_path: Path) -> None:
    def identity(**more: Any) -> str:
        return json.dumps(read_member(onnx=tmp_path / "a", output="logits", **more).identity())

    plain = identity()
    assert plain == identity(input="features", sample_rate=16_000, normalise="none")
    for name in ("input", "sample_rate", "normalise"):
        assert f'"{name}"' not in plain
    normal = {"normalise": "zero_mean_unit_variance"}
    others = [{}, {"sample_rate": 8_000}, normal, {"sample_rate": 8_000, **normal}]
    assert len({plain, *(identity(input="waveform", **more) for more in others)}) == 5


def dev_audio(corpus: Path) -> Path:
    with CorpusFile(corpus / "dev.h5") as dev:
        audio = dev.utterances[-1].audio
        assert audio is not None
        return Path(audio.path)


def test_audio_that_changed_or_went_after_the_member_was_made_is_named(tmp_path: Path) -> None:
    corpus = make_audio_corpus_directory(tmp_path / "corpus")
    member = make_foreign(tmp_path / "m", corpus, settings_of("onnx", tmp_path, WaveNet()))
    path = dev_audio(corpus)
    content = path.read_bytes()

    def message() -> str:
        with CorpusFile(corpus / "dev.h5") as dev, pytest.raises(BadInput) as caught:
            posteriors_of(open_member(member, device="cpu").load(), dev)
        assert "\n" not in str(caught.value)
        assert f"utterance 'dev-4': {path} " in str(caught.value)
        return str(caught.value)

    path.write_bytes(content[:-2] + b"xy")
    assert "is not the audio that the corpus was made of" in message()
    path.write_bytes(content[:-101])
    assert "is not the audio that the corpus was made of" in message()
    path.unlink()
    assert "is missing, and the corpus was made of it: put it back" in message()
    path.write_bytes(content)
    with CorpusFile(corpus / "dev.h5") as dev:
        posteriors_of(open_member(member, device="cpu").load(), dev)


def test_audio_of_another_length_than_the_corpus_is_named(tmp_path: Path) -> None:
    """A corpus file whose rows are not those of its audio."""
    corpus = make_audio_corpus_directory(tmp_path / "corpus")
    with CorpusFile(corpus / "dev.h5") as dev:
        spans = [row.audio for row in dev.utterances]
    write_rows(corpus / "dev.h5", (31, 25), spans[2:4], seed=0)
    with pytest.raises(BadPosterior, match="gives 44 frames for 31 rows of the corpus, wanted 31"):
        make_foreign(tmp_path / "m", corpus, settings_of("onnx", tmp_path, WaveNet()))
