"""ArchitectureSettings: the kind of a model and its size. Does not load torch."""

import difflib
import re
from typing import Any, Self

from pydantic import (
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from stages.acoustic.models.look_ahead import (
    CONV_KERNEL_FRAMES,
    TDNN_DILATIONS,
    share_look_ahead,
)
from stages.contract.settings import Settings

BUILT_IN = ("tdnn", "gru", "lstm", "conv")
OPTIONS = ("hidden", "layers", "dropout", "right_context")
OWN_KIND = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


class ArchitectureSettings(Settings):
    """Kind and size of a model; for the user's code, "package.module:factory" and its options."""

    model_config = ConfigDict(extra="allow")

    kind: str = "tdnn"
    hidden: int = Field(128, ge=1, le=8192)
    layers: int = Field(5, ge=1, le=64)
    dropout: float = Field(0.1, ge=0.0, lt=1.0)
    # Frames of the model's output that it may see ahead; null: no limit.
    right_context: int | None = Field(None, ge=0, le=1000)

    @property
    def is_own(self) -> bool:
        """Whether it is the user's code."""
        return self.kind not in BUILT_IN

    @property
    def look_ahead(self) -> list[int]:
        """The frames that each layer of a tdnn or conv looks ahead."""
        turns = TDNN_DILATIONS if self.kind == "tdnn" else (CONV_KERNEL_FRAMES // 2,)
        most = [turns[number % len(turns)] for number in range(self.layers)]
        return most if self.right_context is None else share_look_ahead(self.right_context, most)

    @property
    def options(self) -> dict[str, Any]:
        """The options that were given next to the kind."""
        return {name: getattr(self, name) for name in self._given_options()}

    def _given_options(self) -> list[str]:
        given = self.model_fields_set - {"kind"} - self._unlimited()
        return [*(name for name in OPTIONS if name in given), *(self.model_extra or {})]

    @model_validator(mode="after")
    def _kind_is_known(self) -> Self:
        if self.kind in BUILT_IN:
            for name in self.model_extra or {}:
                near = difflib.get_close_matches(name, OPTIONS, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(OPTIONS)}"
                raise ValueError(f"{name} is no option of {self.kind}: {hint}")
        elif not OWN_KIND.fullmatch(self.kind):
            known = ", ".join(BUILT_IN)
            raise ValueError(f"kind {self.kind!r}: expected {known}, or package.module:factory")
        return self

    @model_validator(mode="after")
    def _right_context_is_a_limit(self) -> Self:
        if self.kind in ("tdnn", "conv") and self.right_context is not None:
            most = sum(self.model_copy(update={"right_context": None}).look_ahead)
            if self.right_context > most:
                raise ValueError(
                    f"right_context {self.right_context} limits nothing: {self.layers} layers of "
                    f"{self.kind} see {most} frames ahead: lower it, or leave it out"
                )
        return self

    @model_serializer(mode="wrap")
    def _without_defaults(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The user's factory receives the options that were given, and no default of this class.

        A right context without a limit is left out: models are older than the setting.
        """
        values: dict[str, Any] = whole(self)
        given = {"kind", *self._given_options()} if self.is_own else set(values) - self._unlimited()
        return {name: v for name, v in values.items() if name in given}

    def _unlimited(self) -> set[str]:
        return {"right_context"} if self.right_context is None else set()
