"""The huggingface kind of member: a model of transformers, of features or of the waveform.

Models of the class ...ForCTC or ...ForAudioFrameClassification. They read `input_features`, as
Wav2Vec2BertForCTC does, or `input_values`, as Wav2Vec2ForCTC does. With `input: waveform` the
feature extractor in the folder, if there is one, makes what the model reads of the samples.

Shapes: T rows of the corpus, F feature dims, S samples, N frames and M classes of the model.
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
from stages.members.foreign.huggingface_settings import EXTRACTORS, HuggingfaceMemberSettings
from stages.members.foreign.make import ForeignKind

FEATURES, SAMPLES, MASK = "input_features", "input_values", "attention_mask"
AUTO_CLASSES = {
    "ForCTC": "AutoModelForCTC",
    "ForAudioFrameClassification": "AutoModelForAudioFrameClassification",
}
FEATURE_DIMS = ("feature_projection_input_dim", "num_mel_bins")  # in configurations
SHOWN = 3  # names of weights in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class HuggingfaceRunner:
    """A model of transformers in evaluation mode. `extractor` is its own, if it is used."""

    model: Any
    extractor: Any | None
    sample_rate: int

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

    def run(self, values: Tensor) -> Tensor:
        """The logits (1, N, M) of features (T, F), or of samples (S,)."""
        inputs = {self.model.main_input_name: values[None].contiguous()}
        if self.extractor is not None:
            inputs = self._extracted(values)
        elif self.model.main_input_name == FEATURES:
            inputs[MASK] = torch.ones(1, len(values), dtype=torch.long, device=values.device)
        logits: Tensor = self.model(**inputs).logits
        return logits

    def _extracted(self, samples_S: Tensor) -> dict[str, Tensor]:
        """What the extractor makes of the samples; it computes on the processor."""
        extracted = self.extractor(  # type: ignore[misc]  # the caller has one
            samples_S.cpu().numpy(), sampling_rate=self.sample_rate, return_tensors="pt"
        )
        wanted = (self.model.main_input_name, MASK)
        return {name: extracted[name].to(samples_S.device) for name in wanted if name in extracted}


def load_huggingface(
    settings: HuggingfaceMemberSettings, folder: Path, device: str
) -> HuggingfaceRunner:
    """The model in the artefact, in float32.

    Raises:
        BadInput: if transformers cannot load it, weights are missing, or it reads another input.
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
            extractor = None
            if any((folder / name).is_file() for name in EXTRACTORS):
                extractor = transformers.AutoFeatureExtractor.from_pretrained(folder, **of_folder)
    except BadInput:
        raise
    except Exception as cause:  # it raises whatever its parsers raise
        reason = " ".join(str(cause).split())
        raise BadInput(
            f"{where}: transformers cannot load the model ({type(cause).__name__}: "
            f"{reason[:300]}): wanted a folder of save_pretrained, with weights in safetensors"
        ) from cause
    _refuse_new_weights(loading, where)
    _refuse_other_input(model, extractor, settings, where)
    return HuggingfaceRunner(
        model=model.to(device).eval(), extractor=extractor, sample_rate=settings.sample_rate
    )


def _refuse_other_input(
    model: Any, extractor: Any, settings: HuggingfaceMemberSettings, where: str
) -> None:
    """Compare what the model reads with the settings."""
    reads, kind = model.main_input_name, type(model).__name__
    if settings.input == "features" and reads != FEATURES:
        raise BadInput(
            f"{where}: {kind} reads {reads}, wanted {FEATURES} with input: features: set input: "
            "waveform if the corpus has audio, or use the model's posteriors"
        )
    if settings.input == "features":
        return
    if extractor is None:
        if reads != SAMPLES:
            raise BadInput(
                f"{where}: {kind} reads {reads}, and the folder has no {EXTRACTORS[0]}, which has "
                "how these are made of the waveform: save the feature extractor next to the model"
            )
        return
    if reads not in extractor.model_input_names:
        raise BadInput(
            f"{where}: {kind} reads {reads}, its {type(extractor).__name__} gives "
            f"{', '.join(extractor.model_input_names)}: save the model's own feature extractor"
        )
    if extractor.sampling_rate != settings.sample_rate:
        raise BadInput(
            f"{where}: its feature extractor wants {extractor.sampling_rate} Hz, sample_rate is "
            f"{settings.sample_rate}: set sample_rate: {extractor.sampling_rate}"
        )
    if settings.normalise != "none":
        raise BadInput(
            f"{where}: its feature extractor normalises the waveform or leaves it: remove normalise"
        )


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
