"""Folders of exports that cannot transcribe are refused with the reason."""

from pathlib import Path

import pytest

from stages.contract.errors import BadInput, MissingPart
from stages.deploy.folder import Deployment, SoundSettings, refuse_other_folder
from tests.stages.deploy.test_card import make_about


def test_features_of_another_program_cannot_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text(make_about().model_dump_json())
    with pytest.raises(MissingPart, match="were computed by another program"):
        Deployment.open(tmp_path)


def test_features_of_another_version_are_refused(tmp_path: Path) -> None:
    sound = SoundSettings(num_mel_bins=40, low_hertz=125.0)
    about = make_about().model_copy(update={"sound": sound})
    (tmp_path / "export.json").write_text(about.model_dump_json())
    with pytest.raises(BadInput, match="are not those of this version"):
        Deployment.open(tmp_path)


def test_folder_without_its_description_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingPart, match=r"export\.json is missing"):
        Deployment.open(tmp_path)
    (tmp_path / "export.json").write_text("{}")
    with pytest.raises(BadInput, match=r"export\.json"):
        Deployment.open(tmp_path)


def test_folder_that_is_no_student_either_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingPart, match="no exported model"):
        refuse_other_folder(tmp_path)
    (tmp_path / "model.json").write_text("{}")
    refuse_other_folder(tmp_path)
    refuse_other_folder(tmp_path / "k=8")  # a name in tables
