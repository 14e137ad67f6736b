"""essence init, essence config: a settings file to begin with, and the settings in force."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.errors import SettingsError
from pipeline.settings.shipped import DEFAULTS, examples
from pipeline.terminal.options import with_settings

if TYPE_CHECKING:
    from pipeline.settings.sources import Sources
    from pipeline.settings.tree import PipelineSettings


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path("pipeline.yaml"))
@click.option(
    "--example",
    type=click.Choice(list(examples())),
    help="One of the shipped examples; without it, the defaults.",
)
def init(path: Path, *, example: str | None) -> None:
    """Write a commented settings file. Overwrites nothing.

    Writes PATH (default: pipeline.yaml, which every command reads). Examples: tiny, a first look
    in a minute; kaldi, an ordinary Kaldi experiment; an4*, real speech; spoken-untranscribed,
    three hours of synthesised speech, a third transcribed.

    \b
    Example: essence init
    Example: essence init --example kaldi mine.yaml
    """
    source = examples()[example] if example else DEFAULTS
    try:
        with path.open("xb") as file:
            file.write(source.read_bytes())
    except FileExistsError as cause:
        raise SettingsError(
            f"{path} is there already and was not changed: remove it, or name another file, "
            "as in: essence init mine.yaml"
        ) from cause
    except OSError as cause:
        raise SettingsError(
            f"{path} cannot be written ({cause.strerror}): name a file in a folder that is there"
        ) from cause
    option = "" if path == Path("pipeline.yaml") else f" --config {path}"
    click.echo(f"{path}: change it as you like, then: essence run{option}")


@click.command()
@with_settings
@click.option("--origin", "shows_origin", is_flag=True, help="Add where each value comes from.")
def config(settings: "PipelineSettings", sources: "Sources", *, shows_origin: bool) -> None:
    """Print the settings in force, as YAML that can be used as a file.

    With --origin a comment after each value: default, the settings file, or --set. Passwords in
    URLs are masked.

    \b
    Example: essence config --config tiny --origin
    Example: essence config --set student.k=4 > mine.yaml
    """
    from pipeline.settings.as_yaml import as_yaml

    click.echo(as_yaml(settings, origin=sources.origin if shows_origin else None))
