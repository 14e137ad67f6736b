"""The audio of all tests of this folder, made once; and a copy to damage."""

import shutil
from pathlib import Path

import pytest

from tests.support.makers.audio import AudioFolder, make_audio


@pytest.fixture(scope="session")
def audio(tmp_path_factory: pytest.TempPathFactory) -> AudioFolder:
    pytest.importorskip("espeakng_loader", reason="the spoken corpus needs the extra 'demo'")
    return make_audio(tmp_path_factory.mktemp("audio"))


@pytest.fixture
def copy(audio: AudioFolder, tmp_path: Path) -> AudioFolder:
    """The audio, to be damaged."""
    shutil.copytree(audio.folder, tmp_path / "copy")
    return AudioFolder(tmp_path / "copy", [dict(row) for row in audio.rows])
