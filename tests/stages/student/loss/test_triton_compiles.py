"""The Triton kernel compiles for GPUs, which needs none: its registers hold all that it keeps."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.skipif(
    find_spec("triton") is None, reason="triton comes with torch's CUDA wheels, or by itself"
)
# In a process of its own: this one has Triton's interpreter (tests/conftest.py). Prints for each
# variant the bytes of a thread that are not in registers, as the compiled file has them.
PROGRAM = """
import re, subprocess, sys, tempfile
from pathlib import Path
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource, compile
from stages.student.loss.triton_kernel import _frame_kernel as kernel

TYPES = {"rows": "*{}", "class_ids": "*i64", "stride": "i32", "num_classes": "i32",
         "hard_weight": "fp32", "temperature": "fp32"}

for dtype, tail, k, capability in eval(sys.argv[1]):
    constants = dict(num_targets=k + 1, width=1 << k.bit_length(), block=4096,
                     has_soft=tail != "hard", has_every_mass=tail == "uniform",
                     has_bucket=tail == "bucket", with_gradient=True)
    signature = {name: "constexpr" if name in constants else TYPES.get(name, "*fp32").format(dtype)
                 for name in kernel.arg_names}
    places = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(fn=kernel, signature=signature, constexprs=places)
    target = GPUTarget("cuda", capability, 32)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compile(source, target=target, options={"num_warps": 8}).asm["cubin"])
        file.flush()
        reader = Path(get_ptxas(capability).path).with_name("cuobjdump")
        usage = subprocess.check_output([reader, "-res-usage", file.name], text=True)
    print(sum(int(size) for size in re.findall("(?:STACK|LOCAL):(\\d+)", usage)))
"""
ALL = [
    (dtype, tail, k, capability)
    for dtype in ("fp32", "bf16", "fp16")
    for tail in ("hard", "renormalize", "bucket", "uniform")
    for k in ((0,) if tail == "hard" else (8, 32))
    for capability in (80, 90)
]


@pytest.mark.parametrize(
    "variants", [[("bf16", "bucket", 32, 90)], pytest.param(ALL, marks=pytest.mark.slow)]
)
def test_kernel_compiles_and_spills_no_register(variants: list[tuple[str, str, int, int]]) -> None:
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, repr(variants)],
        env={**os.environ, "TRITON_INTERPRET": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    assert found.stdout.split() == ["0"] * len(variants)
