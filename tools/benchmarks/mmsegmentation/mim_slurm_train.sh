#!/usr/bin/env bash
# Train a segmentor from PRETRAIN, a checkpoint or extracted backbone weights, under Slurm:
#   [GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5 SRUN_ARGS=...] mim_slurm_train.sh PARTITION CONFIG PRETRAIN [KEY=VALUE ...] [ARGUMENTS OF train.py]
set -e
if [ $# -lt 3 ]; then sed -n '2,3s/^# //p' "$0" >&2; exit 2; fi
PACKAGE=mmseg
PARTS=
source "$(dirname "${BASH_SOURCE[0]}")/../mim.sh" "${@:2}"
exec bash "$ROOT/tools/slurm_run.sh" "$1" "$(basename "${2%.*}")" "${COMMAND[@]}"
