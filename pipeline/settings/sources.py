"""Sources: the settings file and the changes to it, and which of them gave a value."""

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import SettingsError
from pipeline.settings.shipped import DEFAULTS, examples
from pipeline.settings.wording import touches
from pipeline.settings.yaml_tree import apply_change, read_yaml

DEFAULT_CONFIG = Path("pipeline.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The settings as they were given; `tree` has the changes, `in_file` has not."""

    path: Path
    in_file: dict[str, Any]
    tree: dict[str, Any]
    changed: tuple[str, ...]  # dotted keys of --set

    def given_by(self, place: str) -> str:
        """Where a wrong value at a dotted key was given: --set, or the file."""
        return "--set" if any(touches(key, place) for key in self.changed) else str(self.path)

    def origin(self, place: str) -> str:
        """Where the value at a dotted key comes from: `--set`, the file, or `default`."""
        if any(f"{place}.".startswith(f"{key}.") for key in self.changed):
            return "--set"
        return str(self.path) if self.path != DEFAULTS and self._is_in_file(place) else "default"

    def _is_in_file(self, place: str) -> bool:
        node: Any = self.in_file
        for part in place.split("."):
            if isinstance(node, list) and part.isdecimal() and int(part) < len(node):
                node = node[int(part)]
            elif isinstance(node, dict) and part in node:
                node = node[part]
            else:
                return False
        return True


def read_sources(config: Path | None, changes: Sequence[str]) -> Sources:
    """Read the file that `config` means (see `find_config`) and apply the changes.

    Raises:
        SettingsError: when the file cannot be read, is not YAML, or a change leads nowhere.
    """
    path = find_config(config)
    tree = read_yaml(path)
    in_file = copy.deepcopy(tree)
    for change in changes:
        apply_change(tree, change)
    changed = tuple(change.partition("=")[0].strip() for change in changes)
    return Sources(path=path, in_file=in_file, tree=tree, changed=changed)


def find_config(config: Path | None) -> Path:
    """The settings file that `--config` means.

    None: ./pipeline.yaml; without one, the shipped file, which has the defaults. The name of an
    example: that example, if no file of this name is here.

    Raises:
        SettingsError: if it is neither a file nor an example; the examples are listed.
    """
    if config is None:
        return DEFAULT_CONFIG if os.path.lexists(DEFAULT_CONFIG) else DEFAULTS
    if os.path.lexists(config):
        return config
    known = examples()
    if str(config) not in known:
        raise SettingsError(
            f"{config} cannot be read: there is no such file, and no such example: "
            f"give a file, or one of {', '.join(known)}"
        )
    return known[str(config)]
