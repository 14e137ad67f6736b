"""Errors of the top floor. The command line exits with 2 for a SettingsError, 1 for the rest.

EssenceError
├── SettingsError    pipeline.yaml, --set or an option is not what it should be
└── FlowError        a stage cannot begin
    ├── NotMadeYet   what it reads is not in the work directory
    ├── InUse        another process is making the same thing
    └── Changed      an artefact is not what was written
"""

from storage.errors import EssenceError


class SettingsError(EssenceError):
    """pipeline.yaml, --set or an option is not what it should be."""


class FlowError(EssenceError):
    """A stage cannot begin."""


class NotMadeYet(FlowError):
    """What the stage reads is not in the work directory."""


class InUse(FlowError):
    """Another process is making the same thing."""


class Changed(FlowError):
    """An artefact is not what was written."""
