"""pipeline.yaml, --set -> PipelineSettings, or an error that names the key."""

import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from pipeline.errors import SettingsError
from pipeline.settings.fit import misfits
from pipeline.settings.plain_values import oddities
from pipeline.settings.tree import PipelineSettings, compared
from pipeline.settings.wording import in_one_line, touches
from pipeline.settings.yaml_tree import apply_change, read_yaml
from stages.student.settings import StudentSettings

DEFAULT_CONFIG = Path("pipeline.yaml")


def read_settings(config: Path | None, changes: Sequence[str] = ()) -> PipelineSettings:
    """Read `config` (otherwise ./pipeline.yaml, or nothing) and apply `key=value` changes.

    What is wrong with a student, or with two branches together, is found here, not after hours
    of a run.

    Raises:
        SettingsError: naming the key, what was found and what was wanted.
    """
    source = config or DEFAULT_CONFIG
    tree = read_yaml(source) if config or os.path.lexists(source) else {}
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
