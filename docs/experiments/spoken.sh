#!/bin/sh
# usage: sh docs/experiments/spoken.sh e1-spoken|e3-spoken [SEED ...]
#
# For each ensemble (SEED: of its first member, 1 11 21) two students an arm at 6 and 12 epochs over the noisy copies. Interrupted, it goes on
# where it was. The ensembles of both are the same: corpus-*, member-* and teacher-* can be copied from one work directory to the other.
set -e
config=docs/experiments/$1.yaml
shift
for seed in ${@:-1 11 21}; do
  common="--config $config --set ensemble.members.0.training.seed=$seed \
    --set ensemble.members.1.training.seed=$((seed + 1))"
  essence corpus $common
  essence ensemble $common
  essence teacher $common
  essence sweep $common --compare --seeds 2
  essence report $common --set report.pool_ensembles=true
done
