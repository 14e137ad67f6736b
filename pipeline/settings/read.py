"""pipeline.yaml, --set -> PipelineSettings, or an error that names the key."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from pipeline.errors import SettingsError
from pipeline.settings.fit import misfits
from pipeline.settings.plain_values import oddities
from pipeline.settings.sources import Sources, read_sources
from pipeline.settings.tree import PipelineSettings, compared
from pipeline.settings.wording import in_one_line
from stages.student.settings import StudentSettings


def read_settings(config: Path | None, changes: Sequence[str] = ()) -> PipelineSettings:
    """Read a settings file (see `find_config`) and apply `key=value` changes.

    What is wrong with a student, or with two branches together, is found here, not after hours
    of a run.

    Raises:
        SettingsError: naming the key, what was found and what was wanted.
    """
    return checked(read_sources(config, changes))


def checked(sources: Sources) -> PipelineSettings:
    """The settings that were given; see `read_settings`."""
    tree, given_by = sources.tree, sources.given_by
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
        giver = "--set" if sources.changed and not _is_in_file(misfit, sources) else sources.path
        raise SettingsError(f"{giver}: {misfit}")
    return settings


def _is_in_file(misfit: str, sources: Sources) -> bool:
    """Is this wrong with the file alone, without any --set?"""
    try:
        checked(replace(sources, tree=sources.in_file, changed=()))
    except SettingsError as error:
        return str(error).endswith(misfit)
    return False
