"""Object check: objects of a store against their records, and what else lies there."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from storage.errors import StoreCorrupt, StoreError
from storage.format.partial_copy import PART
from storage.format.records import HEAD, Records, manifest_name
from storage.place.place import Place

NAMED = 10  # problems that a message spells out


@dataclass(frozen=True, slots=True)
class Problem:
    """An object, and what is wrong with it."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Subset:
    """The `number`th of `parts` parts, counted from 1. All parts together are the whole store."""

    number: int
    parts: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.parts:
            raise StoreError(
                f"found subset {self.number}/{self.parts}, wanted n/t with 1 <= n <= t"
            )

    def choose(self, names: Iterable[str]) -> list[str]:
        """Every `parts`th name of the sorted ones."""
        return sorted(names)[self.number - 1 :: self.parts]


EVERYTHING = Subset(1, 1)


def check_objects(
    place: Place, records: Records, *, data: bool, subset: Subset = EVERYTHING
) -> Iterator[tuple[int, Problem | None]]:
    """(bytes, what is wrong) of one object after the other: sizes, and with `data` all bytes.

    Raises:
        StoreUnreachable: when the system or the server does not let us read.
    """
    chosen = {name: records[name] for name in subset.choose(records)}
    for name, text in place.check(chosen, data=data):
        yield chosen[name].num_bytes, Problem(name, text) if text else None


def strangers(place: Place, records: Records, *, digest: str) -> list[Problem]:
    """Files in the store that do not belong there; none if the place cannot be listed."""
    if not place.can_list:
        return []
    known = {*records, HEAD, PART, manifest_name(digest)} if digest else {*records}
    names = sorted(place.sizes().keys() - known)
    return [Problem(name, f"{name} is not in the manifest") for name in names]


def refuse_problems(place: Place, problems: list[Problem]) -> None:
    """Raise StoreCorrupt if there are any, with the first of them."""
    if problems:
        more = f" and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
        named = "; ".join(problem.text for problem in problems[:NAMED])
        repair = f", or run 'essence cache repair {place}'" if place.folder else " to the server"
        raise StoreCorrupt(f"{place}: {named}{more}: copy the store again{repair}")
