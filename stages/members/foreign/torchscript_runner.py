"""The torchscript kind of member: a scripted or traced module, run by torch."""

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch

from stages.contract.errors import BadInput
from stages.members.foreign.make import ForeignKind
from stages.members.foreign.torch_runner import TorchRunner, lines_of
from stages.members.foreign.torchscript_settings import TorchscriptMemberSettings

JIT: Any = torch.jit  # without types


def load_torchscript(settings: TorchscriptMemberSettings, folder: Path, device: str) -> TorchRunner:
    """The model in the artefact, in evaluation mode. It can run code: the caller trusts it.

    Raises:
        BadInput: if torch cannot load it.
    """
    path = folder / settings.model
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit is deprecated; models of it are not gone
            module = JIT.load(path, map_location=device).eval()
    except (RuntimeError, ValueError, OSError) as cause:
        raise BadInput(
            f"{settings.torchscript} (copied to {path}) is no TorchScript that this torch loads "
            f"({lines_of(cause)[0]}): save it with torch.jit.save"
        ) from cause
    return TorchRunner(module=module, call=partial(_call, module), settings=settings)


def _call(module: Any, *inputs: torch.Tensor) -> Any:
    # The profiling executor runs the first calls unfused and later ones fused: their last bits
    # would depend on how many utterances a process has done before.
    with JIT.optimized_execution(False):  # noqa: FBT003
        return module(*inputs)


TORCHSCRIPT = ForeignKind(settings=TorchscriptMemberSettings, load=load_torchscript).row()
