"""Custom architecture: the user's code, `architecture: {kind: "package.module:factory", ...}`.

    def factory(*, feature_dim: int, num_classes: int, **options) -> nn.Module

Its module takes normalised features (B, T, F) and lengths (B,), and returns logits (B, T, C).
Padding after the end of an utterance must not change its logits: this is checked once.

Naming a factory runs its code. The description of a model from another source may name one, too:
it is imported only if the user's own settings name the same factory, or if the variable
ESSENCE_ARCHITECTURES lists it. Child processes inherit the permission.

Shapes: B utterances, T frames, F feature dims, C classes.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from inspect import getsourcefile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from stages.acoustic.models.permission import ALLOWED, is_allowed
from stages.contract.errors import BadInput
from storage.files.fingerprint import file_digest

PROBE_FRAMES = (11, 7, 1)  # lengths of the utterances that a new model is tried on
PROBE_PADDING = 3.0
CLOSE = 1e-3  # of the largest logit: sums in another order


def make_own(
    kind: str, options: dict[str, Any], *, feature_dim: int, num_classes: int
) -> nn.Module:
    """A new module from the user's factory. Its weights are drawn from torch's generator.

    Raises:
        BadInput: when the factory is not permitted, cannot be found, or returns no module.
    """
    factory = _find_factory(kind)
    try:
        module = factory(feature_dim=feature_dim, num_classes=num_classes, **options)
    except Exception as cause:
        given = ", ".join(["feature_dim", "num_classes", *options])
        raise BadInput(f"{kind}({given}) failed: {type(cause).__name__}: {cause}") from cause
    if not isinstance(module, nn.Module):
        raise BadInput(f"{kind} returned a {type(module).__name__}: expected a torch.nn.Module")
    return module


def source_digest(kind: str) -> str:
    """SHA-256 of the source file of the factory; empty if there is none."""
    source = getsourcefile(_find_factory(kind))
    return file_digest(Path(source)) if source and Path(source).is_file() else ""


@torch.no_grad()
def check_own(
    kind: str,
    module: nn.Module,
    *,
    feature_dim: int,
    num_classes: int,
    right_context: int | None = None,
) -> None:
    """Check a new module: shapes, finite values, no effect of padding, weights that can be saved.

    With a `right_context` also that it sees no frame after that.

    Raises:
        BadInput: naming what was found.
    """
    was_training = module.training
    module.eval()
    rng = torch.Generator().manual_seed(0)
    utterances = [torch.randn(frames, feature_dim, generator=rng) for frames in PROBE_FRAMES]
    together_BTF = torch.full((len(utterances), max(PROBE_FRAMES) + 2, feature_dim), PROBE_PADDING)
    for row, utterance_TF in enumerate(utterances):
        together_BTF[row, : len(utterance_TF)] = utterance_TF
    run = partial(_run, kind, module, num_classes=num_classes)
    together_BTC = run(together_BTF, torch.tensor(PROBE_FRAMES))
    for row, utterance_TF in enumerate(utterances):
        alone_TC = run(utterance_TF[None], torch.tensor([len(utterance_TF)]))[0]
        found_TC = together_BTC[row, : len(utterance_TF)]
        difference = float((found_TC - alone_TC).abs().max())
        if difference > CLOSE * max(1.0, float(alone_TC.abs().max())):
            raise BadInput(
                f"{kind}: an utterance of {len(utterance_TF)} frames has other logits when it is "
                f"padded next to longer ones (difference {difference:.3g}): zero the frames after "
                "each length before every layer that reads neighbouring frames"
            )
    if right_context is not None:
        _refuse_look_ahead(kind, run, right_context, feature_dim=feature_dim, rng=rng)
    _refuse_unsaveable(kind, module)
    module.train(was_training)


def _refuse_look_ahead(
    kind: str,
    run: Callable[[Tensor, Tensor], Tensor],
    right_context: int,
    *,
    feature_dim: int,
    rng: torch.Generator,
) -> None:
    """Change all frames after the first `right_context` + 1: the first output must stay."""
    num_frames = right_context + max(PROBE_FRAMES)
    features_1TF = torch.randn(1, num_frames, feature_dim, generator=rng)
    changed_1TF = features_1TF.clone()
    changed_1TF[:, right_context + 1 :] = PROBE_PADDING
    one_C, other_C = (
        run(features, torch.tensor([num_frames]))[0, 0] for features in (features_1TF, changed_1TF)
    )
    difference = float((one_C - other_C).abs().max())
    if difference > CLOSE * max(1.0, float(one_C.abs().max())):
        raise BadInput(
            f"{kind}: the output at a frame changes with frames more than {right_context} later "
            f"(difference {difference:.3g}), right_context is {right_context}: let the module see "
            "fewer frames ahead, or leave right_context out"
        )


def _run(
    kind: str, module: nn.Module, features_BTF: Tensor, lengths_B: Tensor, *, num_classes: int
) -> Tensor:
    try:
        logits = module(features_BTF, lengths_B)
    except Exception as cause:
        raise BadInput(
            f"{kind}: its module failed on features {tuple(features_BTF.shape)} and lengths "
            f"{lengths_B.tolist()}: {type(cause).__name__}: {cause}"
        ) from cause
    wanted = (*features_BTF.shape[:2], num_classes)
    if not isinstance(logits, Tensor) or tuple(logits.shape) != wanted:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise BadInput(f"{kind}: its module returned {found}, expected logits (B, T, C) = {wanted}")
    if logits.dtype != torch.float32:
        raise BadInput(f"{kind}: its logits are {logits.dtype}, expected torch.float32")
    live_BT = torch.arange(features_BTF.shape[1]) < lengths_B[:, None]
    if not logits[live_BT].isfinite().all():
        raise BadInput(f"{kind}: not all of its logits are finite")
    return logits


def _refuse_unsaveable(kind: str, module: nn.Module) -> None:
    if not any(weights.requires_grad for weights in module.parameters()):
        raise BadInput(f"{kind}: its module has no weights to train")
    try:
        save(module.state_dict())
    except (RuntimeError, ValueError) as cause:
        raise BadInput(
            f"{kind}: its weights cannot be saved ({str(cause).splitlines()[0]}): "
            "no two names may share one tensor"
        ) from cause


def _find_factory(kind: str) -> Callable[..., Any]:
    if not is_allowed(kind):
        raise BadInput(
            f"the architecture {kind} is code that your settings do not name, so it is not run: if "
            f"you trust it, name it in your settings, or set {ALLOWED}={kind}"
        )
    module_name, _, name = kind.partition(":")
    try:
        module = import_module(module_name)
    except ImportError as cause:
        raise BadInput(
            f"{kind}: {module_name} cannot be imported ({cause}): install it, or name its folder "
            "in PYTHONPATH"
        ) from cause
    factory = getattr(module, name, None)
    if not callable(factory):
        raise BadInput(f"{kind}: {module_name} has no function {name}")
    found: Callable[..., Any] = factory
    return found
