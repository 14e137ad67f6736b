"""Errors of pipeline/. The command line exits with 2 for a SettingsError, with 1 for the rest.

EssenceError
├── SettingsError      pipeline.yaml, --set or an option is not what it should be
└── FlowError          a stage cannot begin
    ├── NotMadeYet     what it reads is not in the work directory
    ├── ClusterFailed  the cluster is gone, or its workers die
    ├── ModelsFailed   some of several models could not be made
    ├── InUse          another process is making the same thing
    ├── NotInstalled   a package that the command needs is not installed
    └── Changed        an artefact is not as it was written
"""

from storage.errors import EssenceError


class SettingsError(EssenceError):
    """pipeline.yaml, --set or an option is not what it should be."""


class FlowError(EssenceError):
    """A stage cannot begin."""


class NotMadeYet(FlowError):
    """What the stage reads is not in the work directory."""


class ClusterFailed(FlowError):
    """The cluster is gone, or its workers die."""


class ModelsFailed(FlowError):
    """Some of several models could not be made."""


class InUse(FlowError):
    """Another process is making the same thing."""


class NotInstalled(FlowError):
    """A package that the command needs is not installed."""


class Changed(FlowError):
    """An artefact is not as it was written."""


def in_words(cause: Exception) -> str:
    """A failure in one line; with its type, unless it is an EssenceError."""
    text = " ".join(str(cause).split())
    return text if isinstance(cause, EssenceError) else f"{type(cause).__name__}: {text}"
