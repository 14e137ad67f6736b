#!/bin/sh
# usage: sh docs/experiments/e2-an4.sh AN4 DIR [FOLD ...]     AN4: as examples/an4.yaml reads it
#
# For each fold (1 2 3 4) an alignment, an ensemble and two students an arm, in DIR; then all folds together. Interrupted, it goes
# on where it was.
set -e
an4=$1 dir=$2
shift 2
[ -f "$dir/lexicon.txt" ] || python docs/experiments/an4_folds.py "$an4" "$dir"
for fold in ${@:-1 2 3 4}; do
  common="--config docs/experiments/e2-an4.yaml --set corpus.path=$dir/fold$fold --set corpus.align.lexicon=$dir/lexicon.txt \
    --set work_dir=$dir/work$fold --set ensemble.members.0.training.seed=${fold}1 --set ensemble.members.1.training.seed=${fold}2"
  essence corpus $common
  essence ensemble $common
  essence teacher $common
  essence labels $common
  essence sweep $common --compare --seeds 2
done
python docs/experiments/pool_folds.py "$dir"/work?
