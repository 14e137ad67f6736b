"""Every way in which a foreign member is unfit: one line, and nothing is described."""

from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stages.acoustic.models.permission import ALLOWED
from stages.contract.errors import BadInput, BadPosterior, MemberFailed, MissingPart, StageError
from stages.members.foreign.make import choose_lengths
from stages.members.kinds import open_member, why_not
from tests.support.makers.foreign_members import (
    Net,
    WithLengths,
    make_foreign,
    read_member,
    write_exported,
    write_module,
    write_onnx,
    write_torchscript,
)
from tests.support.makers.training import (
    FEATURE_DIM,
    INVENTORY,
    LENGTHS,
    NUM_CLASSES,
    make_corpus,
)

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk", "importable")
OPTIONS = {"dim": FEATURE_DIM, "classes": NUM_CLASSES}
RAISES = """
class M:
    def __init__(self, options): pass
    def posteriors(self, features_TD): raise ValueError("too\\nloud")
"""
LACKS_FRAMES = f"""
class M:
    def __init__(self, options): pass
    def posteriors(self, features_TD):
        logits = features_TD[:, :{NUM_CLASSES}]
        return logits.repeat(2, 0) if len(logits) % 4 == REMAINDER else logits
"""
OF_OTHER_CLASSES = f"""
class M:
    class_inventory = "others"
    def __init__(self, options): pass
    def posteriors(self, features_TD): return features_TD[:, :{NUM_CLASSES}]
"""


def refused(directory: Path, corpus: Path, error: type[StageError], **settings: Any) -> str:
    """The message with which a member is refused; it is one line, and there is no member."""
    with pytest.raises(error) as caught:
        make_foreign(directory, corpus, settings)
    assert "\n" not in str(caught.value)
    assert not list(directory.glob("*.json"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("net", "changes", "message"),
    [
        (Net(classes=6), {}, "the model gives 6 classes, the corpus has 5: name a class_map"),
        (Net(classes=6), {"class_map": "map"}, "gives 6 classes, its class_map has 5"),
        (Net(kernel=3, stride=2), {}, "gives 16 frames for 31 rows of the corpus, wanted 31"),
        (
            Net(kernel=3, stride=2),
            {"frames": "nearest", "stride": 3},
            "gives 16 frames for 31 rows of the corpus, wanted 11 with frames: nearest, stride 3",
        ),
        (Net(), {"features_input": "z"}, "has no input 'z', it has x: set features_input"),
        (Net(), {"lengths_input": "z"}, "has no input 'z', it has x: set lengths_input"),
        (Net(), {"output_name": "z"}, "has no output 'z', it has y: set output_name"),
        (Net(), {"output": "log_probs"}, ": does the member give log-probabilities (natural log)?"),
        (Net(), {"output": "probs"}, "is nan: train the member again, or leave it out (output is"),
        (Net(dim=8), {"dim": 8}, "the model reads 8 features, the corpus has 7"),
        (WithLengths(Net()), {"lengths_input": "x_lens"}, "several outputs (y, y_lens): set out"),
        (WithLengths(Net()), {"output_name": "y"}, "several inputs (x, x_lens): set features_inp"),
        (WithLengths(Net()), {"output_name": "y", "features_input": "x"}, "input 'x_lens' gets no"),
    ],
)
def test_unfit_onnx_model_is_refused_in_one_line(
    tmp_path: Path, corpus: Path, net: torch.nn.Module, changes: dict[str, Any], message: str
) -> None:
    (tmp_path / "map").write_text("".join(f"{n} {n}\n" for n in range(NUM_CLASSES)))
    changes = dict(changes)
    if "class_map" in changes:
        changes["class_map"] = tmp_path / "map"
    takes_lengths = isinstance(net, WithLengths)
    dim = changes.pop("dim", FEATURE_DIM)
    path = write_onnx(tmp_path / "a.onnx", net, dim=dim, takes_lengths=takes_lengths)
    settings = {"onnx": path, "output": "logits", **changes}
    assert message in refused(tmp_path / "m", corpus, StageError, **settings)


@pytest.mark.parametrize(("remainder", "length"), [(2, 38), (0, 44), (1, 1), (3, 31)])
def test_model_whose_frames_fit_at_some_lengths_only_is_refused(
    tmp_path: Path, corpus: Path, remainder: int, length: int
) -> None:
    text = LACKS_FRAMES.replace("REMAINDER", str(remainder))
    factory = write_module(tmp_path, name="their_module", text=text).replace("Model", "M")
    settings = {"python": factory, "trust": True, "output": "logits", "version": "1"}
    message = refused(tmp_path / "m", corpus, BadPosterior, **settings)
    assert f"gives {2 * length} frames for {length} rows of the corpus, wanted {length}" in message


@given(lengths=st.lists(st.integers(0, 60)), stride=st.integers(1, 9))
def test_lengths_that_are_tried_have_every_remainder(lengths: list[int], stride: int) -> None:
    tried = [lengths[index] for index in choose_lengths(lengths, stride=stride)]
    whole = [length for length in lengths if length]
    assert all(tried)
    assert max(tried, default=0) == max(whole, default=0)
    assert min(tried, default=0) == min(whole, default=0)
    for divisor in {2, 4, stride}:
        assert {length % divisor for length in tried} == {length % divisor for length in whole}
    assert len(tried) <= 4 * stride + 1


@pytest.mark.parametrize("kind", ["onnx", "torchscript", "exported"])
def test_missing_and_damaged_files_are_refused(tmp_path: Path, corpus: Path, kind: str) -> None:
    path = tmp_path / "model"
    settings = {kind: path, "output": "logits", **({} if kind == "onnx" else {"trust": True})}
    message = refused(tmp_path / "m", corpus, BadInput, **settings)
    assert message.startswith(f"{path}: the model cannot be read (No such file")
    path.write_bytes(b"nonsense" * 100)
    message = refused(tmp_path / "m", corpus, BadInput, **settings)
    assert "cannot load the model" in message or f"{path} (copied to" in message


@pytest.mark.parametrize("kind", ["torchscript", "exported"])
def test_unfit_torch_models_are_refused(tmp_path: Path, corpus: Path, kind: str) -> None:
    write: Any = {"torchscript": write_torchscript, "exported": write_exported}[kind]
    path = tmp_path / "model"
    settings = {kind: path, "output": "logits", "trust": True}
    write(path, Net(classes=6))
    assert "gives 6 classes" in refused(tmp_path / "m", corpus, BadPosterior, **settings)
    write(path, Net(dim=8), **({"dim": 8} if kind == "exported" else {}))
    message = refused(tmp_path / "m", corpus, MemberFailed, **settings)
    assert message.startswith("member theirs failed on utterance 'dev-0': ")
    assert len(message) < 300
    write(path, Net(dropout=0.5), training=True)
    settings["output"] = "logits"
    if kind == "exported":  # TorchScript is put into evaluation mode
        assert "was the model exported in training" in refused(
            tmp_path / "m", corpus, BadPosterior, **settings
        )
    else:
        make_foreign(tmp_path / "m", corpus, settings)


def test_tuple_needs_the_index_of_its_output(tmp_path: Path, corpus: Path) -> None:
    path = write_torchscript(tmp_path / "a.pt", WithLengths(Net()))
    settings = {"torchscript": path, "output": "logits", "trust": True, "takes_lengths": True}
    message = refused(tmp_path / "m", corpus, BadInput, **settings)
    assert "the model returns a tuple of 2, wanted a tensor: let output_index" in message
    message = refused(tmp_path / "m", corpus, BadInput, **settings, output_index=2)
    assert "returns 2 outputs, output_index is 2" in message
    message = refused(tmp_path / "m", corpus, BadPosterior, **settings, output_index=1)
    assert "the output has shape (1,), wanted (1, frames, classes)" in message


def test_model_that_gives_nan_is_refused(tmp_path: Path, corpus: Path) -> None:
    net = Net()
    with torch.no_grad():
        net.conv.bias[2] = float("nan")  # type: ignore[index]
    path = write_onnx(tmp_path / "a.onnx", net)
    message = refused(tmp_path / "m", corpus, BadPosterior, onnx=path, output="logits")
    assert "member theirs, utterance 'dev-0', frame 0: the log-probability of class" in message


@pytest.mark.parametrize(
    ("lengths", "guilty"), [((31, 44, 3, 29), 2), ((31, 44, 29, 401), 3)], ids=["short", "long"]
)
def test_lengths_that_the_model_does_not_take_are_found_when_it_is_tried(
    tmp_path: Path, lengths: tuple[int, ...], guilty: int
) -> None:
    """In train, too: the teacher would stop there after hours."""
    corpus = tmp_path / "corpus"
    make_corpus(corpus / "dev.h5", lengths=(31, 44, 29))
    make_corpus(corpus / "train.h5", lengths=lengths)
    path = write_exported(tmp_path / "a.pt2", Net(kernel=4, padding=0), most_rows=400, least_rows=5)
    settings = {"exported": path, "output": "logits", "trust": True}
    settings |= {"frames": "nearest", "offset": 2}
    message = refused(tmp_path / "m", corpus, MemberFailed, **settings)
    assert f"member theirs failed on utterance 'train-{guilty}'" in message


@pytest.mark.parametrize(
    ("text", "factory", "message"),
    [
        ("", "their_module:Model", "AttributeError: module 'their_module' has no attribute"),
        ("import no_such_module", "their_module:Model", "No module named 'no_such_module'"),
        ("def f(options): return 3", "their_module:f", "returned a int: wanted an object with"),
        ("def f(options): return options['x']", "their_module:f", "their_module:f failed: KeyErr"),
        ("", "their_absence:f", "the module their_absence cannot be found: install it"),
        ("", "their_absence.below:f", "the module their_absence.below cannot be found"),
        (
            RAISES,
            "their_module:M",
            "member theirs failed on utterance 'dev-0': ValueError: too loud",
        ),
        (
            OF_OTHER_CLASSES,
            "their_module:M",
            f"the model's classes are others, those of the corpus {INVENTORY[:12]}",
        ),
    ],
)
def test_unfit_factories_are_refused(
    tmp_path: Path, corpus: Path, text: str, factory: str, message: str
) -> None:
    write_module(tmp_path, name="their_module", text=text)
    settings = {"python": factory, "output": "logits", "trust": True, "version": "1"}
    assert message in refused(tmp_path / "m", corpus, StageError, **settings)


@pytest.mark.parametrize("kind", ["torchscript", "exported", "python"])
def test_nothing_is_loaded_before_it_is_trusted(tmp_path: Path, corpus: Path, kind: str) -> None:
    ran = tmp_path / "ran"
    factory = write_module(
        tmp_path, name="their_module", text=f"open({str(ran)!r}, 'w').close()\nModel = print"
    )
    named = {"python": factory, "version": "1"} if kind == "python" else {kind: tmp_path / "none"}
    with pytest.raises(ValidationError, match="set trust: true in the member's settings"):
        read_member(output="logits", **named)
    assert not ran.exists()


def test_member_directory_of_others_is_not_loaded_without_permission(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_torchscript(tmp_path / "a.pt", Net())
    settings = {"torchscript": path, "output": "logits", "trust": True}
    member = make_foreign(tmp_path / "m", corpus, settings)
    assert why_not(member, ("dev",)) is None
    monkeypatch.setenv(ALLOWED, "exported")
    reason = why_not(member, ("dev",))
    assert reason is not None
    assert reason.endswith(f"set {ALLOWED}=torchscript")
    with pytest.raises(BadInput, match="a TorchScript model can run any code"):
        open_member(member, device="cpu")


def test_changed_copy_is_refused_before_it_is_loaded(tmp_path: Path, corpus: Path) -> None:
    settings = {"onnx": write_onnx(tmp_path / "a.onnx", Net()), "output": "logits"}
    member = make_foreign(tmp_path / "m", corpus, settings)
    copy = member / "foreign" / "model.onnx"
    content = bytearray(copy.read_bytes())
    content[len(content) // 2] ^= 1
    copy.write_bytes(content)
    with pytest.raises(BadInput, match="the file was changed: remove"):
        open_member(member, device="cpu").load()
    copy.unlink()
    with pytest.raises(MissingPart, match=r"model\.onnx is missing"):
        open_member(member, device="cpu").load()


def test_changed_module_is_refused_before_it_is_imported(tmp_path: Path, corpus: Path) -> None:
    settings = {"python": write_module(tmp_path), "output": "logits", "trust": True}
    made = make_foreign(tmp_path / "m", corpus, {**settings, "version": "1", "options": OPTIONS})
    (tmp_path / "their_model.py").write_text("raise SystemExit")
    with pytest.raises(BadInput, match=r"their_model\.py changed after the member was made"):
        open_member(made, device="cpu").load()


def test_onnx_session_has_the_threads_of_the_settings(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    session = onnxruntime.InferenceSession

    def noting(path: Path, options: Any, **more: Any) -> Any:
        seen.append((options.intra_op_num_threads, options.inter_op_num_threads))
        return session(path, options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", noting)
    settings = {"onnx": write_onnx(tmp_path / "a.onnx", Net()), "output": "logits"}
    make_foreign(tmp_path / "one", corpus, settings)
    make_foreign(tmp_path / "two", corpus, {**settings, "threads": 2})
    assert seen == [(1, 1), (2, 1)]
    assert 0 in LENGTHS  # empty utterances are no reason to fail
