#!/bin/sh
# usage: sh docs/experiments/e4-an4.sh DIR [SEED ...]     DIR: AN4 as examples/an4.yaml reads it
#
# For each ensemble (SEED: of its first member, 1 11 21) two students an arm at 6 and 12 epochs over all speech; hard labels of
# the transcribed third alone have three times as many epochs, which are as many steps. Interrupted, it goes on where it was.
set -e
dir=$1
shift
for seed in ${@:-1 11 21}; do
  common="--config docs/experiments/e4-an4.yaml --set corpus.path=$dir --set ensemble.members.0.training.seed=$seed \
    --set ensemble.members.1.training.seed=$((seed + 1))"
  essence corpus $common
  essence ensemble $common
  essence teacher $common
  essence labels $common
  essence sweep $common --compare --seeds 2
  essence report $common --set report.pool_ensembles=true
done
