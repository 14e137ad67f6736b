"""The audio of all tests of this folder: made once, never changed."""

import pytest

from tests.support.makers.audio import AudioFolder, make_audio


@pytest.fixture(scope="session")
def audio(tmp_path_factory: pytest.TempPathFactory) -> AudioFolder:
    pytest.importorskip("espeakng_loader", reason="the spoken corpus needs the extra 'demo'")
    return make_audio(tmp_path_factory.mktemp("audio"))
