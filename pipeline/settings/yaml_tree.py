"""YAML text -> nested dicts and lists; `key.key=value` changes to them."""

from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import SettingsError
from pipeline.settings.wording import shortened
from storage.files.regular_file import open_regular


class _OneKeyLoader(yaml.SafeLoader):
    """A safe loader that refuses a repeated key: YAML would take the last one without a word."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(
                    problem="a list or mapping as a key: wanted text", problem_mark=key.start_mark
                )
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} comes twice: keep one",
                    problem_mark=key.start_mark,
                )
            seen.add(key.value)
        return node


def parse_yaml(text: str, *, where: str) -> Any:
    """The value of a YAML text.

    Raises:
        SettingsError: beginning with `where`.
    """
    try:
        return _OneKeyLoader(text).get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError) as cause:  # a date, a number; depth
        raise SettingsError(f"{where} is not YAML: {_described(cause)}") from cause


def _described(cause: Exception) -> str:
    """What is wrong, and where, not the text: PyYAML quotes a piece, maybe a password."""
    if not isinstance(cause, yaml.MarkedYAMLError):
        return " ".join(str(cause).split())
    mark = cause.problem_mark or cause.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return ", ".join(part for part in (cause.context, cause.problem, place) if part)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty one.

    Raises:
        SettingsError: naming the file.
    """
    try:
        with open_regular(path) as file:
            text = file.read().decode("utf-8-sig")
    except OSError as cause:
        raise SettingsError(f"{path} cannot be read: {cause.strerror}") from cause
    except UnicodeDecodeError as cause:
        raise SettingsError(f"{path} is not YAML: it is not UTF-8 text ({cause})") from cause
    tree = parse_yaml(text, where=str(path))
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise SettingsError(f"{path}: wanted 'key: value' lines, found {type(tree).__name__}")
    return tree


def apply_change(tree: dict[str, Any], change: str) -> None:
    """Set one value: `student.k=4`, `ensemble.members.0.name=a`, `compare=[{k: 1}]`.

    Raises:
        SettingsError: when the text is not `key=value`, or the key leads nowhere.
    """
    key, separator, text = change.partition("=")
    if not separator or not all(part.strip() for part in key.split(".")):
        raise SettingsError(f"--set {change}: wanted key=value, as in --set student.k=4")
    value = parse_yaml(text, where=f"--set {key}: the value {shortened(text)}")
    *parents, last = key.strip().split(".")
    node: Any = tree
    for parent in parents:
        node = _step(node, parent, change=change)
    _store(node, last, value, change=change)


def _step(node: Any, name: str, *, change: str) -> Any:
    if isinstance(node, list):
        return node[_position(node, name, change=change)]
    if node.get(name) is None:
        node[name] = {}
    child = node[name]
    if not isinstance(child, dict | list):
        raise SettingsError(f"--set {change}: {name} is a value, it has no settings below it")
    return child


def _store(node: Any, name: str, value: Any, *, change: str) -> None:
    if isinstance(node, list):
        node[_position(node, name, change=change)] = value
    else:
        node[name] = value


def _position(items: list[Any], name: str, *, change: str) -> int:
    if not name.isdecimal() or int(name) >= len(items):
        raise SettingsError(f"--set {change}: {name} is not a place in a list of {len(items)}")
    return int(name)
