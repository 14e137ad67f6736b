"""Makers (tests/makers_*.py) are importable from every test."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

# Decided when triton is first imported, by whomever: its kernels run here without a GPU.
os.environ.setdefault("TRITON_INTERPRET", "1")
