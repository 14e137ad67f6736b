"""Errors of the stages. A message is what was found, what was wanted, what to do.

EssenceError
└── StageError           a stage cannot do its work
    ├── BadInput         somebody's corpus, lang or label file is not what it should be
    ├── BadPosterior     a member's output is not a distribution: names member, utterance, frame
    ├── MemberFailed     a member raises when it runs: names member and utterance
    ├── WorkerMismatch   a worker has other versions, or sees other files, than it should
    └── MissingPart      an optional package or an earlier stage's output is not here
"""

from storage.errors import EssenceError


class StageError(EssenceError):
    """A stage cannot do its work."""


class BadInput(StageError):
    """Somebody's corpus, lang or label file is not what it should be."""


class BadPosterior(StageError):
    """A member's output is not a distribution."""


class MemberFailed(StageError):
    """A member raises when it runs."""


class WorkerMismatch(StageError):
    """A worker has other versions, or sees other files, than it should."""


class MissingPart(StageError):
    """An optional package, or an earlier stage's output, is not here."""
