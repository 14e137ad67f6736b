"""Arguments: types and options that the commands of `essence cache` share."""

import json
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from storage.contents.object_check import Subset
    from storage.place.place import Place


class SubsetType(click.ParamType):  # type: ignore[type-arg]  # generic in newer clicks only
    """n/t: the nth of t parts."""

    name = "n/t"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> "Subset":
        """The text 2/7 -> Subset(2, 7)."""
        from storage.contents.object_check import Subset

        number, slash, parts = str(value).partition("/")
        is_number = number.isascii() and number.isdigit() and parts.isascii() and parts.isdigit()
        if not slash or not is_number or not 1 <= int(number) <= int(parts):
            self.fail(f"found {value!r}, wanted n/t with 1 <= n <= t, as in 2/7", param, ctx)
        return Subset(int(number), int(parts))


class StorePlace(click.ParamType):  # type: ignore[type-arg]  # as above
    """The path of a store, or its URL."""

    name = "path or URL"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> "Place":
        """The text https://host/train.zarr -> a place on a server; a path -> a folder."""
        from storage.place.find_place import find_place

        return find_place(value)


class StorePlaces(click.ParamType):  # type: ignore[type-arg]  # as above
    """The path or URL of a store, or of a folder with stores, such as a teacher's."""

    name = "path or URL"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> "tuple[Place, ...]":
        """The text work/teacher-5a7227487ef6 -> its dev.zarr and train.zarr."""
        from storage.place.find_place import find_place
        from storage.transfer.stores import find_stores

        return tuple(map(find_place, find_stores(str(value)).values()))


def with_stores(command: Callable[..., None]) -> Callable[..., None]:
    """As `with_store`, for commands that accept a folder with several."""
    command = click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")(command)
    return click.argument("stores", metavar="STORE", type=StorePlaces())(command)


def with_store(command: Callable[..., None]) -> Callable[..., None]:
    """The argument and the option that all commands have."""
    command = click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")(command)
    return click.argument("store", type=StorePlace())(command)


def with_corpus(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command --corpus: the file with the hard labels."""
    return click.option(
        "--corpus",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Corpus file of the same split (work/corpus-*/train.h5): adds its hard labels.",
    )(command)


def with_out(default: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command --out: the file of its picture."""
    return click.option(
        "--out",
        type=click.Path(path_type=Path, dir_okay=False),
        help=f"Where the picture goes; default: {default}.",
    )


def short_name(store: "Place") -> str:
    """The last part of a path or URL: train.zarr."""
    return str(store).rsplit("/", 1)[-1]


def one_or_all(values: list[Any]) -> Any:
    """What --json prints: a store's object, or a list of those of a folder's stores."""
    return values[0] if len(values) == 1 else [_plain(value) for value in values]


def to_json(value: Any) -> str:
    """A dataclass or a plain value as indented JSON."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False)


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
