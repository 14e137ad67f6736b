#!/bin/sh
# usage: sh docs/experiments/alignment-an4.sh AN4 DIR     AN4: as examples/an4.yaml reads it
#
# A student on hard labels alone, five seeds, of AN4's own alignment and of ours, which has its phones and its language model; then
# the difference. Interrupted, it goes on where it was.
set -e
an4=$1 dir=$2
mkdir -p "$dir"
python - "$an4" "$dir/lexicon.txt" <<'END'
import sys
from pathlib import Path

sys.path.insert(0, "docs/experiments")
from an4_folds import lexicon_in_phones

Path(sys.argv[2]).write_text(lexicon_in_phones(Path(sys.argv[1])))
END
for side in given ours; do
  common="--config an4 --set corpus.path=$an4 --set work_dir=$dir/$side"
  [ $side = given ] || common="$common --set corpus.align.lexicon=$dir/lexicon.txt --set corpus.align.arpa=$an4/lang/lm.arpa"
  essence corpus $common
  essence sweep $common --hard-weight 1 --seeds 5
done
python docs/experiments/compare_works.py "$dir/ours" "$dir/given"
