"""docs/audio.md is true: its commands work as printed, on recordings with alignments."""

import re
from pathlib import Path

import pytest

from tests.docs.test_deploy import shell
from tests.support.makers.audio import make_audio
from tests.support.paths import DOCS

pytest.importorskip("espeakng_loader", reason="the spoken corpus needs the extra 'demo'")
pytest.importorskip("datasets", reason="needs the extra 'manifests'")
pytest.importorskip("lhotse", reason="needs the extra 'manifests'")
PAGE = (DOCS / "audio.md").read_text("utf-8")
SETTINGS = re.findall(r"```yaml\n# (audio\.yaml)\n(.*?)```", PAGE, flags=re.DOTALL)
BLOCKS = re.findall(r"<!-- run -->\n```\n(.*?)```", PAGE, flags=re.DOTALL)


def test_commands_of_the_page_make_the_same_corpus_of_every_format(tmp_path: Path) -> None:
    make_audio(tmp_path).write_table(tmp_path / "speech.tsv")
    ((name, text),) = SETTINGS
    (tmp_path / name).write_text(text)
    assert len(BLOCKS) == 4
    made = []
    for block in BLOCKS:
        ran = shell(block, tmp_path)
        assert ran.returncode == 0, ran.stderr
        made.append(tmp_path / ran.stdout.strip().splitlines()[-1])
    assert len(set(made)) == len(BLOCKS)
    summary = made[0] / "summary.json"
    before = summary.stat().st_mtime_ns
    again = shell(f"{BLOCKS[0]}\nessence status --config audio.yaml", tmp_path)
    assert again.stdout.startswith(f"{made[0].relative_to(tmp_path)}\n")
    assert "fresh" in again.stdout
    assert summary.stat().st_mtime_ns == before  # it was not made again
    summaries = {(folder / "summary.json").read_text() for folder in made}
    assert len(summaries) == 1
