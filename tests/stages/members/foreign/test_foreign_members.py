"""Foreign members against the same models in float64; their identity."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stages.contract.errors import BadInput, BadPosterior
from stages.members.kinds import open_member
from storage.corpus.corpus_file import CorpusFile
from tests.support.makers.foreign_members import (
    Net,
    Normalised,
    WithLengths,
    log_softmax64,
    make_foreign,
    move_weights_out,
    read_member,
    write_exported,
    write_module,
    write_onnx,
    write_torchscript,
)
from tests.support.makers.posteriors import posteriors_of
from tests.support.makers.training import (
    FEATURE_DIM,
    NUM_CLASSES,
)

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk", "importable")
OPTIONS = {"dim": FEATURE_DIM, "classes": NUM_CLASSES}


def compare(directory: Path, corpus: Path, reference: Callable[[NDArray[np.float32]], Any]) -> None:
    """The member's log-posteriors of dev are those of `reference`, of each utterance alone."""
    with CorpusFile(corpus / "dev.h5") as dev:
        member = open_member(directory, device="cpu").load()
        found = posteriors_of(member, dev)
        for index, logp_TC in found.items():
            if len(logp_TC):
                wanted_TC = reference(dev.features(index))
                np.testing.assert_allclose(logp_TC, wanted_TC, atol=2e-5)


def weights64(net: Net) -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
    """Log-posteriors by a copy of the net in float64."""
    copy = Net(
        classes=net.conv.out_channels,
        kernel=net.conv.kernel_size[0],
        stride=net.conv.stride[0],
        padding=int(net.conv.padding[0]),
    ).double()
    copy.load_state_dict(net.state_dict())

    def run(features_TF: NDArray[np.float32]) -> NDArray[np.float64]:
        with torch.no_grad():
            return log_softmax64(copy(torch.from_numpy(features_TF).double()[None])[0])

    return run


@pytest.mark.parametrize("output", ["logits", "log_probs", "probs"])
@pytest.mark.parametrize("kind", ["onnx", "torchscript", "exported"])
def test_posteriors_are_those_of_the_net_in_float64(
    tmp_path: Path, corpus: Path, kind: str, output: str
) -> None:
    net = Net(seed=len(kind))
    writers = {"onnx": write_onnx, "torchscript": write_torchscript, "exported": write_exported}
    path = writers[kind](tmp_path / "model", Normalised(net, output))  # type: ignore[operator]
    trust = {} if kind == "onnx" else {"trust": True}
    member = make_foreign(tmp_path / "m", corpus, {kind: path, "output": output, **trust})
    path.unlink()  # the artefact has a copy
    compare(member, corpus, weights64(net))


def test_python_member_is_what_its_factory_computes(tmp_path: Path, corpus: Path) -> None:
    settings = {"python": write_module(tmp_path), "output": "logits", "trust": True}
    options = {**OPTIONS, "seed": 4}
    made = make_foreign(tmp_path / "m", corpus, {**settings, "version": "1", "options": options})
    weights_DC = np.random.default_rng(4).normal(size=(FEATURE_DIM, NUM_CLASSES))
    compare(made, corpus, lambda features_TF: log_softmax64(features_TF @ weights_DC))
    assert open_member(made, device="cpu").num_parameters == 40


def test_model_with_lengths_and_several_outputs(tmp_path: Path, corpus: Path) -> None:
    net = WithLengths(Net())
    path = write_onnx(tmp_path / "a.onnx", net, takes_lengths=True)
    onnx = {"onnx": path, "output": "logits", "lengths_input": "x_lens", "output_name": "y"}
    script = write_torchscript(tmp_path / "a.pt", net)
    torch_settings = {"torchscript": script, "output": "logits", "trust": True}
    torch_settings |= {"takes_lengths": True, "output_index": 0}
    for name, settings in {"onnx": onnx, "torch": torch_settings}.items():
        compare(make_foreign(tmp_path / name, corpus, settings), corpus, weights64(Net()))


def test_weights_in_files_of_their_own_are_copied(tmp_path: Path, corpus: Path) -> None:
    path = write_onnx(tmp_path / "a.onnx", Net())
    move_weights_out(path, name="a.weights")
    settings = {"onnx": path, "output": "logits"}
    with pytest.raises(BadInput, match="onnxruntime cannot load the model"):
        make_foreign(tmp_path / "without", corpus, settings)
    settings["external_data"] = ["a.weights"]
    member = make_foreign(tmp_path / "m", corpus, settings)
    (tmp_path / "a.weights").unlink()
    compare(member, corpus, weights64(Net()))


def test_rows_have_the_nearest_frames_of_a_slower_model(tmp_path: Path, corpus: Path) -> None:
    net = Net(kernel=5, stride=3, padding=2)
    path = write_onnx(tmp_path / "a.onnx", net)
    settings = {"onnx": path, "output": "logits", "frames": "nearest", "stride": 3}
    of_net = weights64(net)

    def reference(features_TF: NDArray[np.float32]) -> NDArray[np.float64]:
        logp_NC = of_net(features_TF)
        rows = [min(round(row / 3), len(logp_NC) - 1) for row in range(len(features_TF))]
        return logp_NC[rows]

    member = make_foreign(tmp_path / "m", corpus, settings)
    compare(member, corpus, reference)
    about = json.loads((member / "foreign-onnx.json").read_text())
    assert about["settings"]["stride"] == 3
    assert about["settings"]["frames"] == "nearest"


def test_a_frame_more_or_less_is_fitted_by_nearest_and_refused_by_exact(
    tmp_path: Path, corpus: Path
) -> None:
    """RELIABILITY 19: both counts are named; the rule is in the member's description."""
    longer = write_onnx(tmp_path / "a.onnx", Net(kernel=2, padding=1))  # T + 1 frames
    settings = {"onnx": longer, "output": "logits"}
    with pytest.raises(BadPosterior, match=r"gives 32 frames for 31 rows of the corpus, wanted 31"):
        make_foreign(tmp_path / "exact", corpus, settings)
    member = make_foreign(tmp_path / "m", corpus, {**settings, "frames": "nearest"})
    of_net = weights64(Net(kernel=2, padding=1))
    compare(member, corpus, lambda features_TF: of_net(features_TF)[:-1])


def test_classes_are_moved_and_merged(tmp_path: Path, corpus: Path) -> None:
    net = Net(classes=8)
    corpus_classes = [3, 0, 1, 1, 4, 2, 0, 1]
    (tmp_path / "map").write_text("".join(f"{m} {c}\n" for m, c in enumerate(corpus_classes)))
    settings = {"onnx": write_onnx(tmp_path / "a", net), "output": "logits"}
    settings["class_map"] = tmp_path / "map"
    of_net = weights64(net)

    def reference(features_TF: NDArray[np.float32]) -> NDArray[np.float64]:
        prob_TM = np.exp(of_net(features_TF))
        prob_TC = np.zeros((len(prob_TM), NUM_CLASSES))
        for model_class, corpus_class in enumerate(corpus_classes):
            prob_TC[:, corpus_class] += prob_TM[:, model_class]
        return np.log(prob_TC)

    compare(make_foreign(tmp_path / "m", corpus, settings), corpus, reference)


def test_identity_is_the_content_and_the_settings_that_move_bits(
    tmp_path: Path, corpus: Path
) -> None:
    path = write_onnx(tmp_path / "a.onnx", Net())
    settings = {"onnx": path, "output": "logits"}
    first = make_foreign(tmp_path / "first", corpus, settings)
    moved = path.rename(tmp_path / "b.onnx")
    same = make_foreign(tmp_path / "same", corpus, {**settings, "onnx": moved, "name": "other"})
    threads = make_foreign(tmp_path / "2", corpus, {**settings, "onnx": moved, "threads": 2})
    write_onnx(moved, Net(seed=4))
    other = make_foreign(tmp_path / "other", corpus, {**settings, "onnx": moved})
    names = [open_member(each, device="cpu").about.fingerprint for each in (first, same)]
    assert names[0] == names[1]
    names += [open_member(each, device="cpu").about.fingerprint for each in (threads, other)]
    assert len(set(names)) == 3


def test_source_is_the_files_and_the_map(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"model")
    (tmp_path / "map").write_text("0 0\n1 1\n")
    written = {"onnx": tmp_path / "a", "output": "logits"}

    def content(**more: Any) -> str:
        source = read_member(**{**written, **more}).source()
        assert source is not None
        return source.fingerprint()

    plain, mapped = content(), content(class_map=tmp_path / "map")
    (tmp_path / "map").write_text("1 1 # the same\n0 0\n")
    assert mapped == content(class_map=tmp_path / "map") != plain
    (tmp_path / "map").write_text("1 0\n0 1\n")
    assert content(class_map=tmp_path / "map") != mapped
    (tmp_path / "a").write_bytes(b"other")
    assert content() != plain
