"""README's first command needs no extra but those that it installs."""

import re
from pathlib import Path

import pytest

from pipeline.terminal.extras import EXTRA_OF
from tests.support.makers.pipeline import write_tiny
from tests.support.paths import ROOT
from tests.support.without_packages import COMMAND, run_without

pytest.importorskip("espeakng_loader", reason="the spoken corpus needs the extra 'demo'")
FIRST_COMMAND = re.compile(r"-e '\.\[([a-z,]+)\]' && \.venv/bin/essence run$", re.MULTILINE)


def test_all_stages_run_with_the_extras_of_the_first_command(tmp_path: Path) -> None:
    found = FIRST_COMMAND.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert found is not None
    installed = set(found[1].split(","))
    missing = {package for package, extra in EXTRA_OF.items() if extra not in installed}
    assert {"soundfile", "onnx", "transformers"} <= missing
    ran = run_without(missing, COMMAND, "run", "--config", write_tiny(tmp_path), cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "work" / "report" / "index.html").is_file()
