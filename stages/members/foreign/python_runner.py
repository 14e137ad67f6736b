"""The python kind of member: the user's code, `python: "package.module:factory"`.

    def factory(options: dict) -> object

    class Model:                        # what the factory returns
        def posteriors(self, values: numpy.ndarray) -> numpy.ndarray: ...
        num_parameters: int             # may be missing
        class_inventory: str            # may be missing: that of the corpus for which it is meant

`values` are float32: rows (T, D) of the corpus of one utterance, or of a piece of a long one; or,
with `input: waveform`, its samples (S,).
`posteriors` returns a matrix (N, M) of what the setting `output` declares. It must not depend on
the utterances before.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.contract.errors import BadInput
from stages.members.foreign.make import ForeignKind
from stages.members.foreign.python_settings import PythonMemberSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonRunner:
    """An object of the user's factory."""

    model: Any

    feature_dim = None  # it raises where features do not fit

    @property
    def num_parameters(self) -> int | None:
        """What the object states."""
        return getattr(self.model, "num_parameters", None)

    @property
    def class_inventory(self) -> str | None:
        """What the object states."""
        return getattr(self.model, "class_inventory", None)

    def run(self, values: Tensor) -> Tensor:
        """The object's output (N, M) of features (T, F) or samples (S,), on their device."""
        # A copy: an object that changes its input must not change that of the other members.
        output = self.model.posteriors(values.cpu().numpy().copy())
        return torch.from_numpy(np.array(output, np.float32)).to(values.device)


def load_python(settings: PythonMemberSettings, _folder: Path, _device: str) -> PythonRunner:
    """What the factory returns. The caller trusts it.

    Raises:
        BadInput: if there is no such factory, it raises, or its object has no `posteriors`.
    """
    module_name, _, name = settings.python.partition(":")
    try:
        factory = getattr(import_module(module_name), name)
        model = factory(dict(settings.options))
    except Exception as cause:
        reason = " ".join(str(cause).split())
        raise BadInput(
            f"{settings.python} failed: {type(cause).__name__}: {reason}: wanted a function "
            f"{name}(options) in {module_name}"
        ) from cause
    if not callable(getattr(model, "posteriors", None)):
        raise BadInput(
            f"{settings.python} returned a {type(model).__name__}: wanted an object with a method "
            "posteriors(values)"
        )
    return PythonRunner(model=model)


PYTHON = ForeignKind(settings=PythonMemberSettings, load=load_python).row()
