"""Error trees: as a module draws it in its docstring, and as its classes are."""

import inspect
import re
from types import ModuleType

LINE = re.compile(r"^(?P<branch>[│ ]*[├└]── |)(?P<name>[A-Z]\w+)(?=  |$)")
STEP = len("└── ")  # characters of one level


def drawn_parents(module: ModuleType) -> dict[str, str]:
    """Class -> the class above it in the tree of the module's docstring; "" for the root."""
    parents: dict[str, str] = {}
    above: list[str] = []
    for line in inspect.getdoc(module).splitlines():  # type: ignore[union-attr]
        found = LINE.match(line)
        if found and (found["branch"] or not above):
            above = above[: len(found["branch"]) // STEP]
            parents[found["name"]] = above[-1] if above else ""
            above.append(found["name"])
    return parents


def defined_parents(module: ModuleType) -> dict[str, str]:
    """Class -> its base, of all exceptions that the module defines, and "" for their root."""
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Exception)
        and value.__module__ == module.__name__
    ]
    parents = {kind.__name__: kind.__bases__[0].__name__ for kind in classes}
    parents = {name: "" if base == "Exception" else base for name, base in parents.items()}
    inherited = set(parents.values()) - parents.keys() - {""}
    return dict.fromkeys(inherited, "") | parents
