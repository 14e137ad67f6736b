"""Settings of the huggingface kind of member (huggingface_runner.py). Does not load torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from stages.contract.settings import NOT_IN_IDENTITY
from stages.members.foreign.settings import ForeignMemberSettings

CONFIG = "config.json"
# Of the feature extractor, or of a processor that has one: what save_pretrained writes.
EXTRACTORS = ("preprocessor_config.json", "processor_config.json")
WEIGHTS = ("*.safetensors", "*.safetensors.index.json")


class HuggingfaceMemberSettings(ForeignMemberSettings):
    """A member by the folder of a `huggingface` model.

    If it reads the waveform, the folder's own feature extractor prepares it. Weights are read from
    safetensors alone, and no code that lies in the folder is run.
    """

    key: ClassVar[str] = "huggingface"
    title: ClassVar[str] = "Hugging Face"
    kind: Literal["huggingface"] = "huggingface"
    huggingface: Annotated[Path, NOT_IN_IDENTITY]  # the content of its files counts

    @property
    def files(self) -> Mapping[str, Path]:
        """The configurations, and the weights in safetensors."""
        weights = [path for pattern in WEIGHTS for path in sorted(self.huggingface.glob(pattern))]
        extractors = [self.huggingface / name for name in EXTRACTORS if self.input == "waveform"]
        found = [path for path in extractors if path.is_file()]
        return {path.name: path for path in (self.huggingface / CONFIG, *found, *weights)}
