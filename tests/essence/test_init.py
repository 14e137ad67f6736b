"""essence/__init__.py: lazy, complete, and the same for the interpreter and a type checker."""

import ast
import subprocess
import sys

import pytest

import essence
from tests.support.paths import ROOT

SLOW = {"torch", "numpy", "h5py", "zarr", "click", "pydantic", "storage", "stages", "pipeline"}


def loaded_by(code: str) -> set[str]:
    """The packages of SLOW that a new interpreter has loaded after `code`."""
    code = f"import sys\n{code}\nprint(*sorted({SLOW} & set(sys.modules)))"
    command = [sys.executable, "-W", "error", "-c", code]
    ran = subprocess.run(
        command,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(ran.stdout.split())


def typed_names() -> dict[str, str]:
    """Name -> owner, by the imports that only a type checker reads."""
    tree = ast.parse((ROOT / "essence" / "__init__.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in imports
        for alias in node.names
        if node.module and node.module.startswith("storage.")
    }


def test_import_essence_loads_no_other_package() -> None:
    assert loaded_by("import essence; dir(essence)") == set()


def test_version_needs_no_numpy() -> None:
    assert loaded_by("import essence; essence.__version__") == {"stages"}


def test_errors_need_no_numpy() -> None:
    assert loaded_by("import essence; essence.EssenceError") == {"storage"}


@pytest.mark.parametrize("name", ["open_store", "StoreWriter", "keep_top_k"])
def test_store_names_need_neither_torch_nor_h5py(name: str) -> None:
    assert loaded_by(f"import essence; essence.{name}") <= {"storage", "numpy", "zarr"}


def test_torch_is_loaded_when_essence_torch_is_used() -> None:
    assert loaded_by("import essence; 'torch' in dir(essence)") == set()
    assert "torch" in loaded_by("import essence; essence.torch.SoftLabelSource")
    assert "torch" in loaded_by("import essence.torch")
    assert "torch" not in loaded_by("from essence import *")


def test_essence_torch_without_torch_names_the_package() -> None:
    code = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
import essence
try:
    essence.torch
except ImportError as error:
    assert "pip install torch" in str(error), error
else:
    raise AssertionError
"""
    assert "torch" not in loaded_by(code)


def test_names_of_essence_torch_are_there() -> None:
    torch = pytest.importorskip("essence.torch")
    assert torch is essence.torch
    assert all(hasattr(torch, name) for name in torch.__all__)


@pytest.mark.parametrize("name", essence.__all__)
def test_public_name_is_the_object_of_its_owner(name: str) -> None:
    found = getattr(essence, name)
    assert found is getattr(essence, name)
    if name != "__version__":
        module, _, attribute = typed_names()[name].rpartition(".")
        assert found is getattr(sys.modules[module], attribute)


def test_types_and_runtime_table_list_the_same_names() -> None:
    table = essence._OWNERS  # type: ignore[attr-defined, unused-ignore]
    assert typed_names() | {"__version__": "stages.contract.version.VERSION"} == table
    assert sorted(table) == sorted(essence.__all__)
    assert set(essence.__all__) <= set(dir(essence))


def test_unknown_name_raises_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'essence' has no attribute 'opne_store'"):
        essence.opne_store  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(essence, "__path_of_nothing__")
