"""All settings in a recipe: a new one is listed here or marked NOT_IN_IDENTITY.

A field that counts and is not listed fails the test: decide whether another value makes another
artefact. If it does, artefacts made before the field existed are made again.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest

from stages.contract.settings import NOT_IN_IDENTITY, Settings
from stages.corpus.settings import CorpusSettings
from stages.evaluate.settings import EvaluateSettings
from stages.members.archived_settings import ArchivedMemberSettings
from stages.members.foreign.exported_settings import ExportedMemberSettings
from stages.members.foreign.huggingface_settings import HuggingfaceMemberSettings
from stages.members.foreign.onnx_settings import OnnxMemberSettings
from stages.members.foreign.python_settings import PythonMemberSettings
from stages.members.foreign.torchscript_settings import TorchscriptMemberSettings
from stages.members.trained_settings import TrainedMemberSettings
from stages.report.settings import ReportSettings
from stages.student.settings import StudentSettings
from stages.teacher.settings import TeacherSettings

ARCHITECTURE = """
    architecture.dropout architecture.hidden architecture.kind architecture.layers
"""
TRAINING = """
    training.augmentation.feature_mask_dims training.augmentation.feature_masks
    training.augmentation.gain training.augmentation.noise training.augmentation.time_mask_frames
    training.augmentation.time_masks training.average_last training.batch_frames
    training.block_frames training.chunk_frames training.clip training.epochs
    training.learning_rate training.patience training.precision training.schedule training.seed
    training.warmup training.weight_decay
"""
NOT_ON_A_TRUNK = {"training.patience", "training.warmup"}
OF_A_TRUNK = {"training.trunk.decay_share", "training.trunk.warmup_epochs"}
TRUNK = " ".join(set(TRAINING.split()) - NOT_ON_A_TRUNK | OF_A_TRUNK)
EQUAL_STEPS = " ".join(set(TRAINING.split()) - {"training.patience"} | {"training.equal_steps"})
FEATURES = """
    features.cmvn features.deltas features.dtype features.norm_vars features.splice_left
    features.splice_right features.subsample
"""
SPOKEN = """
    spoken.dev_minutes spoken.dev_voices spoken.distortion.babble_share
    spoken.distortion.echo_seconds_high spoken.distortion.echo_seconds_low
    spoken.distortion.echo_share spoken.distortion.gain_db spoken.distortion.snr_db_high
    spoken.distortion.snr_db_low spoken.distortion.tilt_db_per_octave spoken.hours
    spoken.lm_sentences spoken.max_pronunciations spoken.min_count spoken.min_frames_per_state
    spoken.min_pronunciation_share spoken.num_mel_bins spoken.seed spoken.states_per_unit
    spoken.test_minutes spoken.test_voices spoken.train_voices spoken.words_per_minute_high
    spoken.words_per_minute_low
"""
KALDI = """
    kaldi.dev kaldi.frame_shift_ms kaldi.lang kaldi.max_length_difference kaldi.test kaldi.train
    kaldi.unknown_words
"""
FOREIGN = "frames kind offset output stride"
LABELS = "labels.transcribed labels.untranscribed"
STUDENT = "chunk_above hard_weight label_smoothing"

COUNTS: dict[str, tuple[Settings, str]] = {
    "corpus, spoken": (
        CorpusSettings.model_validate({"spoken": {"labelled_share": 1.0}}),
        f"source {FEATURES} {SPOKEN}",
    ),
    "corpus, a part transcribed": (
        CorpusSettings.model_validate({"spoken": {"labelled_share": 0.3}}),
        f"source labelled_share {FEATURES} {SPOKEN}",
    ),
    "corpus, Kaldi": (
        CorpusSettings(source="kaldi", path=Path("data")),
        f"source {FEATURES} {KALDI}",
    ),
    "corpus, Kaldi, a part transcribed": (
        CorpusSettings.model_validate(
            {"source": "kaldi", "path": "x", "kaldi": {"unlabelled": ["u"], "labelled_share": 0.3}}
        ),
        f"source labelled_share kaldi.unlabelled {FEATURES} {KALDI}",
    ),
    "corpus, with copies": (
        CorpusSettings.model_validate({"copies": [{"kind": "speed", "name": "a", "speed": 1.1}]}),
        f"source copies labelled_share {FEATURES} {SPOKEN}",
    ),
    "corpus, of characters": (
        CorpusSettings.model_validate({"targets": "tokens", "spoken": {"labelled_share": 1.0}}),
        f"source targets tokens.inventory tokens.lexicon {FEATURES} {SPOKEN}",
    ),
    "corpus, of pieces": (
        CorpusSettings.model_validate(
            {"source": "kaldi", "path": "x", "targets": "tokens", "tokens": {"inventory": "pieces"}}
        ),
        f"""
        source targets tokens.inventory tokens.lexicon tokens.num_pieces {FEATURES} {KALDI}
        """,
    ),
    "member, trained": (TrainedMemberSettings(name="a"), f"folds {ARCHITECTURE} {TRAINING}"),
    "member, archived": (
        ArchivedMemberSettings(name="a", posteriors=Path("post")),
        "folds max_length_difference posteriors_are",
    ),
    "member, ONNX": (
        OnnxMemberSettings(name="a", onnx=Path("a"), output="probs", class_map=Path("map")),
        f"external_data features_input lengths_input output_name threads {FOREIGN}",
    ),
    "member, TorchScript": (
        TorchscriptMemberSettings(name="a", torchscript=Path("a"), output="probs", trust=True),
        f"output_index takes_lengths {FOREIGN}",
    ),
    "member, exported": (
        ExportedMemberSettings(name="a", exported=Path("a"), output="probs", trust=True),
        f"output_index takes_lengths {FOREIGN}",
    ),
    "member, Hugging Face": (
        HuggingfaceMemberSettings(name="a", huggingface=Path("a"), output="probs"),
        FOREIGN,
    ),
    "member, Python": (
        PythonMemberSettings(
            name="a", python="a:b", output="probs", version="1", options={"x": 1}, trust=True
        ),
        f"options.x python version {FOREIGN}",
    ),
    "teacher": (
        TeacherSettings(),
        """
        chunk_frames combine kept on_bad_posterior shard_frames splits temperature temperatures
        weights
        """,
    ),
    "teacher, another codec": (
        TeacherSettings(codec="zstd"),
        """
        chunk_frames codec combine kept on_bad_posterior shard_frames splits temperature
        temperatures weights
        """,
    ),
    "teacher, originals": (
        TeacherSettings(input="original"),
        """
        chunk_frames combine input kept on_bad_posterior shard_frames splits temperature
        temperatures weights
        """,
    ),
    "teacher, given the transcript": (
        TeacherSettings(posteriors="given_transcript"),
        """
        chunk_frames combine kept on_bad_posterior posteriors shard_frames splits temperature
        temperatures transcript_scale weights
        """,
    ),
    "student, labels by the ensemble": (
        StudentSettings.model_validate({"labels": {"transcribed": "realigned"}}),
        f"{LABELS} k tail temperature {STUDENT} {ARCHITECTURE} {TRAINING}",
    ),
    "student, of copies": (
        StudentSettings.model_validate({"training": {"utterances": "copies"}}),
        f"k tail temperature {STUDENT} {ARCHITECTURE} {TRAINING} training.utterances",
    ),
    "student, with equal steps": (
        StudentSettings.model_validate({"training": {"equal_steps": True}}),
        f"k tail temperature {STUDENT} {ARCHITECTURE} {EQUAL_STEPS}",
    ),
    "student, on a trunk": (
        StudentSettings.model_validate({"training": {"schedule": "trunk"}}),
        f"k tail temperature {STUDENT} {ARCHITECTURE} {TRUNK}",
    ),
    "student": (StudentSettings(), f"k tail temperature {STUDENT} {ARCHITECTURE} {TRAINING}"),
    "student, rivals": (
        StudentSettings(trust="where_right", ranks="permuted"),
        f"k tail temperature trust ranks {STUDENT} {ARCHITECTURE} {TRAINING}",
    ),
    "student, of tokens": (
        StudentSettings(blank="drop"),
        f"k tail temperature blank {STUDENT} {ARCHITECTURE} {TRAINING}",
    ),
    "student, hard labels alone, with settings of soft labels": (
        StudentSettings(hard_weight=1.0, trust="where_right", ranks="permuted", blank="drop"),
        f"{STUDENT} {ARCHITECTURE} {TRAINING}",
    ),
    "student, hard labels alone": (
        StudentSettings(hard_weight=1.0),
        f"{STUDENT} {ARCHITECTURE} {TRAINING}",
    ),
    "evaluate": (
        EvaluateSettings(),
        "acoustic_scales beam insertion_penalties max_active min_active prior_smoothing",
    ),
    "report": (
        ReportSettings(),
        """
        bootstrap_samples margin margin_is planned pool_ensembles posteriorgram_classes
        seed title utterance
        """,
    ),
}


def dotted(tree: dict[str, Any], *, below: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from dotted(value, below=f"{below}{key}.")
        else:
            yield f"{below}{key}"


@pytest.mark.parametrize("stage", COUNTS)
def test_identity_has_exactly_the_listed_fields(stage: str) -> None:
    settings, expected = COUNTS[stage]
    assert sorted(dotted(settings.identity())) == sorted(expected.split())


class Inner(Settings):
    size: int = 3
    speed: Annotated[int, NOT_IN_IDENTITY] = 5


class Outer(Settings):
    one: Inner = Inner()
    several: tuple[Inner, ...] = (Inner(), Inner(size=4))
    numbers: tuple[float, ...] = (0.5, 1.0)
    place: Path = Path("here")
    name: Annotated[str | None, NOT_IN_IDENTITY] = None


def test_identity_leaves_marked_fields_out_at_every_depth() -> None:
    assert Outer(name="x").identity() == {
        "one": {"size": 3},
        "several": [{"size": 3}, {"size": 4}],
        "numbers": [0.5, 1.0],
        "place": "here",
    }


def test_identity_has_the_options_of_custom_architectures() -> None:
    architecture = {"kind": "package.module:factory", "width": 7}
    identity = StudentSettings.model_validate({"architecture": architecture}).identity()
    assert identity["architecture"] == architecture


@pytest.mark.parametrize("ranks", ["permuted", "redrawn"])
def test_ranks_that_have_one_order_do_not_count(ranks: str) -> None:
    """They would train the same student under two names."""
    for k in (1, 2, 3):
        plain = StudentSettings(k=k).identity()
        other = StudentSettings.model_validate({"k": k, "ranks": ranks}).identity()
        assert (other == plain) == (k == 1 or (ranks == "permuted" and k == 2))
