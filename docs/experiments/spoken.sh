#!/bin/sh
# usage: sh docs/experiments/e1-spoken.sh [SEED ...]
#
# For each ensemble (SEED: of its first member, 1 11 21) two students an arm at 6 and 12 epochs over the noisy copies.
# Interrupted, it goes on where it was.
set -e
for seed in ${@:-1 11 21}; do
  common="--config docs/experiments/e1-spoken.yaml --set ensemble.members.0.training.seed=$seed \
    --set ensemble.members.1.training.seed=$((seed + 1))"
  essence corpus $common
  essence ensemble $common
  essence teacher $common
  essence sweep $common --compare --seeds 2
  essence report $common --set report.pool_ensembles=true
done
