"""Floors: the packages that essence imports must be its own, not others of the same name.

`storage`, `stages` and `pipeline` are generic names. A project's own `storage/`, in the working
directory or on PYTHONPATH, precedes site-packages and would be imported in place of this one. A
plain folder `storage/` without __init__.py, such as one with recordings, is no such package.
"""

import sys
from importlib import invalidate_caches
from importlib.util import find_spec
from pathlib import Path

FLOORS = ("storage", "stages", "pipeline")
INSTALLED_IN = Path(__file__).resolve().parents[1]  # all four packages are installed together


def refuse_other_floors() -> None:
    """Check which file each of the names is, or would be, imported from; nothing is imported.

    A folder without __init__.py hides the packages of an editable installation, which are looked up
    after all entries of sys.path. Python prefers a package to such folders wherever it stands on
    sys.path, so that the place of the installation is appended there.

    Raises:
        ImportError: if it is not the one next to essence; the message names both.
    """
    for name in FLOORS:
        found, wanted = _find(name), INSTALLED_IN / name / "__init__.py"
        if found is not None and found.is_dir() and wanted.is_file() and name not in sys.modules:
            sys.path.append(str(INSTALLED_IN))
            invalidate_caches()
            found = _find(name)
        if found is not None and found != wanted:
            raise ImportError(
                f"another package is named '{name}': found {found}, wanted {wanted}: rename that "
                f"package, or remove {_entry(found)} from sys.path (PYTHONPATH, working directory)",
                name=name,
                path=str(found),
            )


def _find(name: str) -> Path | None:
    """The __init__.py of a package, or its folder if it has none; None if there is no package."""
    module = sys.modules.get(name)
    if module is not None:  # imported already, even if sys.path has changed since
        file, folders = getattr(module, "__file__", None), getattr(module, "__path__", ())
    elif spec := find_spec(name):
        file = spec.origin if spec.has_location else None
        folders = spec.submodule_search_locations or ()
    else:
        return None  # the import that follows raises ModuleNotFoundError
    place = file or next(iter(folders), None)
    return Path(place).resolve() if place else None


def _entry(found: Path) -> Path:
    """The entry of sys.path from which a package was imported."""
    package = found.parent if found.name == "__init__.py" else found
    return package.parent
