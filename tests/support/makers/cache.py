"""Makers for the cache commands: one call, as a user makes it, in this process."""

from pathlib import Path

from click.testing import CliRunner, Result

from pipeline.cli import main


def cache(*words: str | Path, stdin: str | bytes | None = None) -> Result:
    """`essence cache WORDS`. An exception that a user would see as a traceback fails the test."""
    result = CliRunner().invoke(main, ["cache", *map(str, words)], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result
