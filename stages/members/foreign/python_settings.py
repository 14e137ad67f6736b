"""Settings of the python kind of member (python_runner.py). Does not load torch."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from stages.acoustic.models.settings import OWN_KIND
from stages.contract.errors import BadInput
from stages.contract.results import SystemFacts
from stages.members.foreign.settings import TrustedMemberSettings

MODULE = "module.py"


class PythonMemberSettings(TrustedMemberSettings):
    """A member by a factory of the user's, `python: "package.module:factory"`.

    Its identity is the module's source file, `options` and `version`: whatever else the factory
    reads, weights for instance, is a new `version`.
    """

    key: ClassVar[str] = "python"
    title: ClassVar[str] = "Python"
    is_copied: ClassVar[bool] = False  # it is imported
    runs: ClassVar[str] = "a Python factory"
    kind: Literal["python"] = "python"
    python: str
    version: str = Field(min_length=1)
    options: dict[str, Any] = {}

    @property
    def files(self) -> Mapping[str, Path]:
        """The source file of the module.

        Raises:
            BadInput: if there is none.
        """
        module = self.python.partition(":")[0]
        try:
            spec = find_spec(module)
        except (ImportError, ValueError) as cause:
            raise BadInput(f"{self.python}: {_not_found(module)} ({cause})") from cause
        if spec is None:
            raise BadInput(f"{self.python}: {_not_found(module)}")
        if spec.origin is None or not Path(spec.origin).is_file():
            raise BadInput(f"{self.python}: {module} has no source file: name a module that has")
        return {MODULE: Path(spec.origin)}

    @property
    def permission(self) -> str:
        """The factory: another one is not run."""
        return self.python

    def facts(self) -> SystemFacts:
        """The factory and its version."""
        return SystemFacts(architecture=f"{self.python} {self.version}")

    @model_validator(mode="after")
    def _names_a_factory(self) -> Self:
        if not OWN_KIND.fullmatch(self.python):
            raise ValueError(f"python {self.python!r}: wanted package.module:factory")
        return self


def _not_found(module: str) -> str:
    return f"the module {module} cannot be found: install it, or name its folder in PYTHONPATH"
