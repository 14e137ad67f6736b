#!/bin/sh
# usage: sh benchmarks/gpu_wheels.sh DIR     (some 21 MB)
#
# Downloads what benchmarks/gpu.py needs next to Python 3.12, torch and numpy, for a machine without
# a package registry. There, from a clone:
#
#   pip install --no-index --find-links DIR -r DIR/wheels.txt && PYTHONPATH=. python benchmarks/gpu.py --json gpu.json
set -e
dir=$1
here=$(dirname "$0")
mkdir -p "$dir"
grep -Ei '^(zarr|numcodecs|donfig|google-crc32c|packaging|typing-extensions|pyyaml|h5py|pydantic|pydantic-core|annotated-types|typing-inspection|safetensors|click|psutil|kaldifst|kaldiio)==' \
  "$here/../constraints.txt" > "$dir/wheels.txt"
pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
  --dest "$dir" -r "$dir/wheels.txt"
du -sh "$dir"
