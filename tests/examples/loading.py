"""Load a program of examples/ as a module."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from tests.support.paths import ROOT

EXAMPLES: Path = ROOT / "examples"


def load_example(path: str) -> ModuleType:
    """The module at `path` below examples/."""
    name = "example_" + path.removesuffix(".py").replace("/", "_")
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
