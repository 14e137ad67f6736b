"""Members made from archived posteriors: Kaldi's archives are read, errors are named."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kaldiio
import numpy as np
import pytest
from numpy.typing import NDArray

from stages.acoustic.models.model_file import ModelAbout, save_model
from stages.contract.errors import BadInput, BadPosterior, MissingPart
from stages.contract.progress import SilentProgress
from stages.contract.results import System
from stages.ensemble.make import make_member
from stages.evaluate.readiness import why_not
from stages.members.archived_posteriors import ABOUT_FILE, read_archive_about
from stages.members.archived_settings import ArchivedMemberSettings
from stages.members.kinds import open_member
from stages.members.posterior_archive import LOG_ZERO
from stages.members.posterior_files import posteriors_fingerprint
from stages.teacher.label import label_corpus
from stages.teacher.settings import TeacherSettings
from stages.teacher.workforce import ThisProcess
from storage.corpus.corpus_file import CorpusFile
from storage.read.reader import open_store
from tests.support.makers.kaldi import write_archive
from tests.support.makers.posteriors import model_posteriors, posteriors_of
from tests.support.makers.training import (
    INVENTORY,
    NUM_CLASSES,
    RecordingProgress,
    make_corpus,
    make_corpus_directory,
    make_model,
)

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


Matrices = dict[str, NDArray[np.float32]]
SPLITS = ("train", "dev")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus_directory(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def spoken(corpus: Path) -> dict[str, Matrices]:
    """Posteriors of a small GRU for every utterance of train and dev."""
    said: dict[str, Matrices] = {}
    for split in SPLITS:
        with CorpusFile(corpus / f"{split}.h5") as file:
            blocks = model_posteriors(make_model("gru"), file).items()
            said[split] = {file.utterances[index].id: logp_TC for index, logp_TC in blocks}
    return said


@pytest.fixture
def archives(tmp_path: Path, spoken: dict[str, Matrices]) -> Path:
    """train.ark, train.scp, dev.ark, dev.scp."""
    (tmp_path / "post").mkdir()
    for split, matrices in spoken.items():
        write_archive(tmp_path / "post", split, matrices)
    return tmp_path / "post"


def make_archived(
    archives: Path, corpus: Path, directory: Path, *, keep_bad: bool = False, **settings: Any
) -> Path:
    directory.mkdir(exist_ok=True)
    member = {"name": "kaldi-a", "posteriors": archives, **settings}
    make_member(
        ArchivedMemberSettings.model_validate(member),
        corpus_directory=corpus,
        directory=directory,
        device="cpu",
        progress=settings.get("progress") or SilentProgress(),
        keep_bad=keep_bad,
    )
    return directory


def said_by(directory: Path, corpus: Path, split: str) -> Matrices:
    member = open_member(directory, device="cpu")
    with CorpusFile(corpus / f"{split}.h5") as file:
        blocks = posteriors_of(member.load(), file).items()
        return {file.utterances[index].id: logp_TC for index, logp_TC in blocks}


def test_archived_member_returns_the_archived_posteriors(
    tmp_path: Path, archives: Path, corpus: Path, spoken: dict[str, Matrices]
) -> None:
    member = make_archived(archives, corpus, tmp_path / "member")
    assert [path.name for path in member.iterdir()] == [ABOUT_FILE]
    about = read_archive_about(member)
    assert (about.num_classes, about.class_inventory) == (NUM_CLASSES, INVENTORY)
    assert open_member(member, device="cpu").num_parameters is None
    for split in SPLITS:
        found = said_by(member, corpus, split)
        assert found.keys() == spoken[split].keys()
        for id, logp_TC in found.items():
            np.testing.assert_array_equal(logp_TC, spoken[split][id])


def as_archive(archives: Path) -> None:
    for split in SPLITS:
        (archives / f"{split}.scp").unlink()


def as_text(archives: Path) -> None:
    for split in SPLITS:
        loaded = kaldiio.load_ark(str(archives / f"{split}.ark"))
        matrices = {id: matrix for id, matrix in loaded if len(matrix)}
        (archives / f"{split}.scp").unlink()
        kaldiio.save_ark(str(archives / f"{split}.ark"), matrices, text=True)


def as_two_archives(archives: Path) -> None:
    for split in SPLITS:
        matrices = dict(kaldiio.load_ark(str(archives / f"{split}.ark")))
        for part in (0, 1):
            some = dict(list(matrices.items())[part::2])
            write_archive(archives, f"{split}.{part}", some)
        parts = [(archives / f"{split}.{part}.scp").read_text() for part in (1, 0)]
        (archives / f"{split}.scp").write_text("".join(parts))
        (archives / f"{split}.ark").unlink()


@pytest.mark.parametrize("write", [as_archive, as_text, as_two_archives])
def test_archives_in_every_kaldi_format_are_read(
    tmp_path: Path,
    archives: Path,
    corpus: Path,
    spoken: dict[str, Matrices],
    write: Callable[[Path], None],
) -> None:
    write(archives)
    found = said_by(make_archived(archives, corpus, tmp_path / "member"), corpus, "train")
    for id, logp_TC in found.items():
        np.testing.assert_allclose(logp_TC, spoken["train"][id], atol=1e-5)


def change(archives: Path, edit: Callable[[Matrices], None], *, split: str = "train") -> None:
    loaded = kaldiio.load_ark(str(archives / f"{split}.ark"))
    matrices = {id: np.array(matrix) for id, matrix in loaded}
    edit(matrices)
    write_archive(archives, split, matrices)


def to_probabilities(matrices: Matrices) -> None:
    for id in matrices:
        matrices[id] = np.exp(matrices[id])


def test_probabilities_are_read_if_posteriors_are_prob(
    tmp_path: Path, archives: Path, corpus: Path, spoken: dict[str, Matrices]
) -> None:
    for split in SPLITS:
        change(archives, to_probabilities, split=split)
    with pytest.raises(BadPosterior, match=r"sum to .* \(posteriors_are is 'log'\)"):
        make_archived(archives, corpus, tmp_path / "wrong")
    member = make_archived(archives, corpus, tmp_path / "right", posteriors_are="prob")
    for id, logp_TC in said_by(member, corpus, "train").items():
        np.testing.assert_allclose(logp_TC, spoken["train"][id], atol=1e-5)


@pytest.mark.parametrize("given_as", ["log", "prob"])
def test_zero_probability_is_read_as_a_finite_logarithm(
    tmp_path: Path, archives: Path, corpus: Path, given_as: str
) -> None:
    def make_sure(matrices: Matrices) -> None:
        matrices["train-3"][:] = -np.inf
        matrices["train-3"][:, 2] = 0
        if given_as == "prob":
            to_probabilities(matrices)

    change(archives, make_sure)
    if given_as == "prob":
        change(archives, to_probabilities, split="dev")
    member = make_archived(archives, corpus, tmp_path / "member", posteriors_are=given_as)
    logp_TC = said_by(member, corpus, "train")["train-3"]
    assert logp_TC.shape == (44, NUM_CLASSES)
    assert (logp_TC[:, 2] == 0).all()
    assert (np.delete(logp_TC, 2, axis=1) == LOG_ZERO).all()


def test_small_log_posteriors_are_read_unchanged(
    tmp_path: Path, archives: Path, corpus: Path
) -> None:
    def make_sure(matrices: Matrices) -> None:
        matrices["train-3"][:] = [-91.5, -300, 0, -4000, -1e30]

    change(archives, make_sure)
    member = make_archived(archives, corpus, tmp_path / "member")
    logp_TC = said_by(member, corpus, "train")["train-3"]
    np.testing.assert_array_equal(logp_TC[7], np.float32([-91.5, -300, 0, -4000, LOG_ZERO]))


def drop_two(matrices: Matrices) -> None:
    del matrices["train-4"], matrices["train-11"]


def drop_a_class(matrices: Matrices) -> None:
    matrices["train-4"] = matrices["train-4"][:, :-1]


def drop_a_frame(matrices: Matrices) -> None:
    matrices["train-4"] = matrices["train-4"][:-1]


def put_a_nan(matrices: Matrices) -> None:
    matrices["train-4"][6, 1] = np.nan


def put_a_large_number(matrices: Matrices) -> None:
    matrices["train-4"][6, 1] = 1e30


def lose_mass(matrices: Matrices) -> None:
    matrices["train-4"][6] -= 0.1


def exclude_all(matrices: Matrices) -> None:
    matrices["train-4"][6] = -np.inf


BAD: dict[str, tuple[Callable[[Matrices], None], type[Exception], str]] = {
    "missing utterances": (
        drop_two,
        BadInput,
        r"kaldi-a: .*train.scp lacks 2 of the corpus's 21 utterances \('train-4', 'train-11'\): ",
    ),
    "classes": (
        drop_a_class,
        BadInput,
        "member kaldi-a, utterance 'train-4': posteriors of 4 classes, the corpus has 5: ",
    ),
    "frames": (
        drop_a_frame,
        BadInput,
        "member kaldi-a, utterance 'train-4': 22 frames of posteriors, the corpus has 23: .*most",
    ),
    "nan": (put_a_nan, BadPosterior, "member kaldi-a, utterance 'train-4', frame 6: .* is nan"),
    "too large": (
        put_a_large_number,
        BadPosterior,
        "member kaldi-a, utterance 'train-4', frame 6: the probabilities sum to inf",
    ),
    "no mass": (
        exclude_all,
        BadPosterior,
        "member kaldi-a, utterance 'train-4', frame 6: the probabilities sum to 0, wanted 1",
    ),
    "sum": (
        lose_mass,
        BadPosterior,
        "member kaldi-a, utterance 'train-4', frame 6: the probabilities sum to 0.904837, wanted 1",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_invalid_posteriors_give_one_line_of_error(
    tmp_path: Path, archives: Path, corpus: Path, case: str
) -> None:
    edit, error, message = BAD[case]
    change(archives, edit)
    with pytest.raises(error, match=message) as caught:
        make_archived(archives, corpus, tmp_path / "member")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "member").iterdir())


@pytest.mark.parametrize("case", ["nan", "too large", "no mass", "sum"])
def test_bad_utterance_is_left_to_the_teacher_if_it_skips_them(
    tmp_path: Path, archives: Path, corpus: Path, case: str
) -> None:
    edit, _, message = BAD[case]
    change(archives, edit)
    (tmp_path / "member").mkdir()
    progress = RecordingProgress()
    make_member(
        ArchivedMemberSettings(name="kaldi-a", posteriors=archives),
        corpus_directory=corpus,
        directory=tmp_path / "member",
        device="cpu",
        progress=progress,
        keep_bad=True,
    )
    (note,) = [note for note in progress.notes if "no distributions" in note]
    assert re.search(f"train: 1 of 21 utterances.*{message}", note)
    label(tmp_path / "t", corpus, [tmp_path / "member"], on_bad_posterior="skip-utterance")
    store = open_store(tmp_path / "t" / "train.zarr")
    assert store.about.left_out == ("train-4",)
    with pytest.raises(BadPosterior, match=r"member, utterance 'train-4', frame 6"):
        label(tmp_path / "u", corpus, [tmp_path / "member"])


def test_archives_without_any_distribution_are_refused_whatever_the_policy(
    tmp_path: Path, archives: Path, corpus: Path
) -> None:
    change(archives, to_probabilities)
    with pytest.raises(BadPosterior, match=r"sum to .*posteriors_are is 'log'"):
        make_archived(archives, corpus, tmp_path / "member", keep_bad=True)


def differ_by_a_frame(matrices: Matrices) -> None:
    """Remove the last frame of train-4 and add one to train-11."""
    drop_a_frame(matrices)
    matrices["train-11"] = np.concatenate([matrices["train-11"], matrices["train-11"][:1]])


def test_one_frame_of_difference_needs_a_setting_and_is_recorded(
    tmp_path: Path, archives: Path, corpus: Path, spoken: dict[str, Matrices]
) -> None:
    """RELIABILITY 19: by default a difference to the corpus is refused, with both counts."""
    change(archives, differ_by_a_frame)
    member = make_archived(archives, corpus, tmp_path / "member", max_length_difference=1)
    about, strict = read_archive_about(member), tmp_path / "strict"
    assert about.max_length_difference == 1
    assert {split: about.splits[split].fitted for split in SPLITS} == {
        "train": ("train-4", "train-11"),
        "dev": (),
    }
    found, wanted = said_by(member, corpus, "train"), spoken["train"]
    short = wanted["train-4"][:-1]
    np.testing.assert_array_equal(found["train-4"], np.concatenate([short, short[-1:]]))
    for id in wanted.keys() - {"train-4"}:
        np.testing.assert_array_equal(found[id], wanted[id])
    with pytest.raises(BadInput, match="22 frames of posteriors, the corpus has 23"):
        make_archived(archives, corpus, strict)


@pytest.mark.parametrize("by", [-2, 2])
def test_two_frames_of_difference_are_always_refused(
    tmp_path: Path, archives: Path, corpus: Path, by: int
) -> None:
    def differ(matrices: Matrices) -> None:
        logp_TC = matrices["train-4"]
        matrices["train-4"] = logp_TC[:by] if by < 0 else np.concatenate([logp_TC, logp_TC[:by]])

    change(archives, differ)
    with pytest.raises(BadInput, match=f"{23 + by} frames of posteriors, the corpus has 23"):
        make_archived(archives, corpus, tmp_path / "member", max_length_difference=1)


def truncate(archives: Path) -> None:
    os.truncate(archives / "train.ark", 3000)


def write_twice(archives: Path) -> None:
    as_archive(archives)
    archive = archives / "train.ark"
    archive.write_bytes(archive.read_bytes() * 2)


def cut_the_archive(archives: Path) -> None:
    as_archive(archives)
    truncate(archives)


def cut_the_text(archives: Path) -> None:
    as_text(archives)
    truncate(archives)


def other_objects(archives: Path) -> None:
    as_archive(archives)
    kaldiio.save_ark(str(archives / "train.ark"), {"train-0": np.arange(9, dtype=np.int32)})


def without_train(archives: Path) -> None:
    for suffix in ("scp", "ark"):
        (archives / f"train.{suffix}").unlink()


DAMAGED: dict[str, tuple[Callable[[Path], None], type[Exception], str]] = {
    "no train": (
        without_train,
        MissingPart,
        "member kaldi-a: .* holds neither train.scp nor train.ark: compute",
    ),
    "truncated": (truncate, BadInput, "truncated: .* bytes wanted, 3000 found"),
    "twice": (write_twice, BadInput, "utterance 'train-0' occurs twice"),
    "truncated archive": (cut_the_archive, BadInput, "truncated: .* bytes wanted, 3000 found"),
    "truncated text": (cut_the_text, BadInput, "the text ends within a matrix"),
    "no matrices": (other_objects, BadInput, "train.ark"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_archives_give_one_line_of_error(
    tmp_path: Path, archives: Path, corpus: Path, case: str
) -> None:
    spoil, error, message = DAMAGED[case]
    spoil(archives)
    with pytest.raises(error, match=message) as caught:
        make_archived(archives, corpus, tmp_path / "member")
    assert "\n" not in str(caught.value)


def test_changed_or_moved_archives_are_refused(
    tmp_path: Path, archives: Path, corpus: Path
) -> None:
    member = make_archived(archives, corpus, tmp_path / "member")
    content = bytearray((archives / "train.ark").read_bytes())
    content[-1] ^= 1
    (archives / "train.ark").write_bytes(content)
    with pytest.raises(BadInput, match=r"found content \w{12}, .*member.json names \w{12}: .*run"):
        open_member(member, device="cpu")
    archives.rename(tmp_path / "elsewhere")
    with pytest.raises(MissingPart, match=r"the posteriors of train are no longer in .*: .*set"):
        open_member(member, device="cpu")


def test_posteriors_fingerprint_depends_on_content_not_on_place(
    tmp_path: Path, archives: Path
) -> None:
    before = posteriors_fingerprint(archives)
    moved = archives.rename(tmp_path / "moved")
    assert posteriors_fingerprint(moved) == before
    scp = moved / "train.scp"
    lines = scp.read_text()
    scp.write_text(lines.replace("train.ark", str(moved / "train.ark")))
    assert posteriors_fingerprint(moved) == before
    swapped = lines.replace("train-4 ", "train-? ").replace("train-3 ", "train-4 ")
    scp.write_text(swapped.replace("train-? ", "train-3 "))
    assert posteriors_fingerprint(moved) != before
    scp.write_text(lines)
    assert posteriors_fingerprint(moved) == before
    change(moved, drop_two)
    assert posteriors_fingerprint(moved) != before
    with pytest.raises(BadInput, match="is no directory: let a member's `posteriors` name"):
        posteriors_fingerprint(archives)


def test_archived_member_fingerprint_does_not_depend_on_archive_layout(
    tmp_path: Path, archives: Path, corpus: Path
) -> None:
    one = read_archive_about(make_archived(archives, corpus, tmp_path / "one"))
    as_two_archives(archives)
    two = read_archive_about(make_archived(archives, corpus, tmp_path / "two"))
    assert one.fingerprint == two.fingerprint
    with pytest.raises(BadInput, match="hold the same weights or posteriors"):
        label(tmp_path / "t", corpus, [tmp_path / "two", tmp_path / "two"])


def test_archived_member_of_another_corpus_is_refused(
    tmp_path: Path, archives: Path, corpus: Path
) -> None:
    member = make_archived(archives, corpus, tmp_path / "member")
    make_corpus(tmp_path / "other" / "train.h5", seed=5)
    with pytest.raises(BadInput, match=r"made for the corpus .* run 'essence ensemble' again"):
        said_by(member, tmp_path / "other", "train")


def test_member_description_of_another_format_is_named(
    tmp_path: Path, archives: Path, corpus: Path
) -> None:
    member = make_archived(archives, corpus, tmp_path / "member")
    about = json.loads((member / ABOUT_FILE).read_text())
    (member / ABOUT_FILE).write_text(json.dumps(about | {"format": "essence posteriors 2"}))
    with pytest.raises(BadInput, match=r"member.json: format: .*remove"):
        open_member(member, device="cpu")


def test_member_without_test_posteriors_is_not_evaluated_and_says_why(
    tmp_path: Path, archives: Path, corpus: Path, spoken: dict[str, Matrices]
) -> None:
    progress = RecordingProgress()
    directory = tmp_path / "member"
    directory.mkdir()
    make_member(
        ArchivedMemberSettings(name="kaldi-a", posteriors=archives),
        corpus_directory=corpus,
        directory=directory,
        device="cpu",
        progress=progress,
    )
    (note,) = progress.notes
    assert "neither test.scp nor test.ark: it and the ensemble will not be evaluated" in note
    system = System(
        name="s",
        kind="member",
        fingerprint="f",
        model_directories=(directory,),
        weights=(1.0,),
    )
    assert "no posteriors of test in" in str(why_not(system))
    make_corpus(tmp_path / "other" / "test.h5")
    with pytest.raises(MissingPart, match=r"no posteriors of test in .*: wanted test.scp or"):
        said_by(directory, tmp_path / "other", "test")
    archives.rename(tmp_path / "elsewhere")
    assert "not there any more" in str(why_not(system))


def label(directory: Path, corpus: Path, members: list[Path], **changes: Any) -> None:
    directory.mkdir(exist_ok=True)
    small = {"kept": 3, "shard_frames": 140, "chunk_frames": 20, "batch_frames": 90}
    label_corpus(
        TeacherSettings.model_validate(small | changes),
        members=members,
        corpus_directory=corpus,
        directory=directory,
        device="cpu",
        progress=SilentProgress(),
        workforce=ThisProcess(),
    )


def make_trained(directory: Path, kind: str, *, seed: int = 3) -> Path:
    directory.mkdir()
    model = make_model(kind, seed=seed)
    about = ModelAbout(
        architecture=model.settings,
        feature_dim=model.feature_dim,
        num_classes=NUM_CLASSES,
        class_inventory=INVENTORY,
        corpus_fingerprint="0" * 64,
    )
    save_model(directory, model, about)
    return directory


def test_teacher_of_archived_and_trained_members_equals_that_of_the_models(
    tmp_path: Path, archives: Path, corpus: Path
) -> None:
    foreign = make_archived(archives, corpus, tmp_path / "foreign")
    itself, other = make_trained(tmp_path / "gru", "gru"), make_trained(tmp_path / "conv", "conv")
    label(tmp_path / "mixed", corpus, [foreign, other])
    label(tmp_path / "own", corpus, [itself, other])
    for split in SPLITS:
        mixed, own = (open_store(tmp_path / t / f"{split}.zarr") for t in ("mixed", "own"))
        found, wanted = (s.read([u.id for u in s.utterances], k=3) for s in (mixed, own))
        same_TK = found.ids_TK == wanted.ids_TK  # two classes of one probability may change places
        assert same_TK.mean() > 0.999
        np.testing.assert_allclose(found.logp_TK, wanted.logp_TK, atol=0.07)  # one code
        assert np.abs(found.logp_TK - wanted.logp_TK).mean() < 1e-4
