"""The huggingface kind of member: a model of transformers whose input is features.

Models of the class ...ForCTC or ...ForAudioFrameClassification that read `input_features`, as
Wav2Vec2BertForCTC does. Those that read the waveform cannot be members: a corpus has no audio.

Shapes: T rows of the corpus, F feature dims, N frames and M classes of the model.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stages.contract.errors import BadInput
from stages.members.foreign.huggingface_settings import HuggingfaceMemberSettings
from stages.members.foreign.make import ForeignKind

INPUT = "input_features"
AUTO_CLASSES = {
    "ForCTC": "AutoModelForCTC",
    "ForAudioFrameClassification": "AutoModelForAudioFrameClassification",
}
FEATURE_DIMS = ("feature_projection_input_dim", "num_mel_bins")  # in configurations
SHOWN = 3  # names of weights in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class HuggingfaceRunner:
    """A model of transformers in evaluation mode."""

    model: Any

    class_inventory = None  # labels of the configuration are texts of another program

    @property
    def num_parameters(self) -> int:
        """Number of weights."""
        return sum(weights.numel() for weights in self.model.parameters())

    @property
    def feature_dim(self) -> int | None:
        """F of the configuration."""
        config = self.model.config
        found = (getattr(config, name, None) for name in FEATURE_DIMS)
        return next((dim for dim in found if isinstance(dim, int)), None)

    def run(self, features_TF: Tensor) -> Tensor:
        """The logits (1, N, M)."""
        mask_1T = torch.ones(1, len(features_TF), dtype=torch.long, device=features_TF.device)
        output = self.model(**{INPUT: features_TF[None].contiguous()}, attention_mask=mask_1T)
        logits: Tensor = output.logits
        return logits


def load_huggingface(
    settings: HuggingfaceMemberSettings, folder: Path, device: str
) -> HuggingfaceRunner:
    """The model in the artefact, in float32.

    Raises:
        BadInput: if transformers cannot load it, weights are missing, or it reads no features.
    """
    transformers: Any = import_module("transformers")
    where = f"{settings.huggingface} (copied to {folder})"
    of_folder = {"local_files_only": True, "trust_remote_code": False}
    try:
        with _quiet(transformers):
            config = transformers.AutoConfig.from_pretrained(folder, **of_folder)
            auto_class = getattr(transformers, _auto_class(config, where))
            model, loading = auto_class.from_pretrained(
                folder,
                **of_folder,
                use_safetensors=True,
                dtype=torch.float32,  # not that of the file: half precision is slow here
                output_loading_info=True,
            )
    except BadInput:
        raise
    except Exception as cause:  # it raises whatever its parsers raise
        reason = " ".join(str(cause).split())
        raise BadInput(
            f"{where}: transformers cannot load the model ({type(cause).__name__}: "
            f"{reason[:300]}): wanted a folder of save_pretrained, with weights in safetensors"
        ) from cause
    _refuse_new_weights(loading, where)
    if model.main_input_name != INPUT:
        raise BadInput(
            f"{where}: {type(model).__name__} reads {model.main_input_name}, wanted {INPUT}: a "
            "corpus has features, and no audio; use the model's posteriors"
        )
    return HuggingfaceRunner(model=model.to(device).eval())


def _auto_class(config: Any, where: str) -> str:
    names = config.architectures or ["no class"]
    for suffix, auto_class in AUTO_CLASSES.items():
        if names[0].endswith(suffix):
            return auto_class
    wanted = " or ".join(f"...{suffix}" for suffix in AUTO_CLASSES)
    raise BadInput(f"{where} holds {names[0]}, wanted {wanted}: save the model with its head")


def _refuse_new_weights(loading: Any, where: str) -> None:
    """Weights that the file lacks would be drawn at random."""
    # Of another shape are listed with both shapes.
    other = [each[0] for each in loading["mismatched_keys"]]
    missing = [*sorted(loading["missing_keys"]), *sorted(other)]
    if missing:
        names = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        raise BadInput(
            f"{where} lacks {len(missing)} of the model's weights ({names}): save the trained "
            "model, with its head"
        )


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without its progress bars and warnings: what matters is an error here."""
    logging = transformers.utils.logging
    level, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if has_bars:
            logging.enable_progress_bar()


HUGGINGFACE = ForeignKind(settings=HuggingfaceMemberSettings, load=load_huggingface).row()
