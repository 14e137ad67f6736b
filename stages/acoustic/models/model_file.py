"""Model file: a directory with model.safetensors (weights) and model.json (what they are).

The fingerprint of a model is the SHA-256 of its weights file; a file that differs is refused.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load, save

from stages.acoustic.models.architectures import AcousticModel, build_model, without_weights
from stages.acoustic.models.settings import ArchitectureSettings
from stages.contract.description import read_description
from stages.contract.errors import BadInput, MissingPart
from stages.contract.settings import Settings
from storage.files.fingerprint import file_digest
from storage.files.publish import publish_file

WEIGHTS_FILE = "model.safetensors"
ABOUT_FILE = "model.json"


class ModelAbout(Settings):
    """What a model is and what it was trained on. `facts` (seed, epochs, ...) are for people."""

    format: Literal["essence model 1"] = "essence model 1"
    architecture: ArchitectureSettings
    feature_dim: int = Field(ge=1)
    num_classes: int = Field(ge=1)
    class_inventory: str
    corpus_fingerprint: str  # of the split that it was trained on
    fingerprint: str = ""  # SHA-256 of the weights file; `save_model` fills it in
    facts: dict[str, Any] = {}

    @property
    def title(self) -> str:
        """A word for messages: the architecture."""
        return self.architecture.kind


def save_model(directory: Path, model: AcousticModel, about: ModelAbout) -> ModelAbout:
    """Write weights, then description; returns the description with the weights' fingerprint."""
    weights = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    publish_file(directory / WEIGHTS_FILE, save(weights))
    about = about.model_copy(update={"fingerprint": file_digest(directory / WEIGHTS_FILE)})
    publish_file(directory / ABOUT_FILE, about.model_dump_json(indent=2).encode() + b"\n")
    return about


def read_model_about(directory: Path) -> ModelAbout:
    """The description of the model in `directory`; its weights are not touched.

    Raises:
        MissingPart: when no model is there.
        BadInput: when model.json is not a description of ours.
    """
    path = directory / ABOUT_FILE
    if not path.is_file():
        raise MissingPart(f"{path} is not there: no model has been trained in {directory}")
    return read_description(ModelAbout, path, advice=f"remove {directory} and train again")


def load_model(directory: Path, device: str) -> tuple[AcousticModel, ModelAbout]:
    """The model in `directory`, ready to be evaluated on `device`, and its description.

    Raises:
        MissingPart: when weights or description are not there.
        BadInput: when the weights are not those that the description names.
    """
    about = read_model_about(directory)
    path = directory / WEIGHTS_FILE
    if not path.is_file():
        raise MissingPart(f"{path} is not there: remove {directory} and train again")
    found = file_digest(path)
    if found != about.fingerprint:
        raise BadInput(
            f"{path}: found weights {found[:12]}, {ABOUT_FILE} names {about.fingerprint[:12]}: "
            f"the file was changed: remove {directory} and train again"
        )
    with without_weights(about.architecture):  # no memory before the shapes are known to agree
        model = build_model(about.architecture, about.feature_dim, about.num_classes)
    try:
        model.load_state_dict(load(path.read_bytes()), assign=True)
    except (RuntimeError, SafetensorError) as cause:
        raise BadInput(
            f"{path} does not hold the {about.architecture.kind} that {ABOUT_FILE} describes "
            f"({str(cause).splitlines()[0]}): remove {directory} and train again"
        ) from cause
    return model.to(device).eval(), about
