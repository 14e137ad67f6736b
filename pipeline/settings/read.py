"""pipeline.yaml, --set -> PipelineSettings, or an error that names the key."""

import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from pipeline.errors import SettingsError
from pipeline.settings.fit import misfits
from pipeline.settings.plain_values import oddities
from pipeline.settings.shipped import DEFAULTS, examples
from pipeline.settings.tree import PipelineSettings, compared
from pipeline.settings.wording import in_one_line, touches
from pipeline.settings.yaml_tree import apply_change, read_yaml
from stages.student.settings import StudentSettings

DEFAULT_CONFIG = Path("pipeline.yaml")


def find_config(config: Path | None) -> Path:
    """The settings file that `--config` means.

    None: ./pipeline.yaml; without one, the shipped file, which has the defaults. The name of an
    example: that example, if no file of this name is here.

    Raises:
        SettingsError: if it is neither a file nor an example; the examples are listed.
    """
    if config is None:
        return DEFAULT_CONFIG if os.path.lexists(DEFAULT_CONFIG) else DEFAULTS
    if os.path.lexists(config):
        return config
    known = examples()
    if str(config) not in known:
        raise SettingsError(
            f"{config} cannot be read: there is no such file, and no such example: "
            f"give a file, or one of {', '.join(known)}"
        )
    return known[str(config)]


def read_settings(config: Path | None, changes: Sequence[str] = ()) -> PipelineSettings:
    """Read a settings file (see `find_config`) and apply `key=value` changes.

    What is wrong with a student, or with two branches together, is found here, not after hours
    of a run.

    Raises:
        SettingsError: naming the key, what was found and what was wanted.
    """
    source = find_config(config)
    tree = read_yaml(source)
    for change in changes:
        apply_change(tree, change)

    def given_by(place: str) -> str:
        keys = [change.partition("=")[0].strip() for change in changes]
        return "--set" if any(touches(key, place) for key in keys) else str(source)

    for place, wrong in oddities(tree):
        raise SettingsError(f"{given_by(place)}: {f'{place}: ' if place else ''}{wrong}")
    try:
        settings = PipelineSettings.model_validate(tree)
    except ValidationError as error:
        words = in_one_line(error, model=PipelineSettings, given_by=given_by)
        raise SettingsError(words) from error
    for number, difference in enumerate(settings.compare):
        try:
            compared(settings.student, difference)
        except ValidationError as error:
            below = ("compare", number)
            words = in_one_line(error, model=StudentSettings, given_by=given_by, below=below)
            raise SettingsError(words) from error
    for misfit in misfits(settings):
        raise SettingsError(f"{source}: {misfit}")
    return settings
