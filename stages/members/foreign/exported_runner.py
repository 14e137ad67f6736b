"""The exported kind of member: a program of torch.export, run by torch."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.export.passes import move_to_device_pass

from stages.contract.errors import BadInput
from stages.members.foreign.exported_settings import ExportedMemberSettings
from stages.members.foreign.make import ForeignKind
from stages.members.foreign.torch_runner import TorchRunner, lines_of


def load_exported(settings: ExportedMemberSettings, folder: Path, device: str) -> TorchRunner:
    """The program in the artefact. Loading it can run code: the caller trusts it.

    Raises:
        BadInput: if torch cannot load it.
    """
    path = folder / settings.model
    try:
        with _quiet():
            program = move_to_device_pass(torch.export.load(path), device)
            module = program.module()
    except Exception as cause:  # the loader raises whatever its parsers raise
        raise BadInput(
            f"{settings.exported} (copied to {path}) is no program that this torch loads "
            f"({type(cause).__name__}: {lines_of(cause)[0]}): save it with torch.export.save"
        ) from cause
    return TorchRunner(module=module, call=module, settings=settings)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's remarks, and its log of a traceback where a file is no program."""
    log = logging.getLogger("torch.export")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)


EXPORTED = ForeignKind(settings=ExportedMemberSettings, load=load_exported).row()
