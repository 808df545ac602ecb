#!/usr/bin/env bash
# Linear evaluation, or fine-tuning, as CONFIG says, under Slurm:
#   [GPUS=8 GPUS_PER_NODE=8] slurm_train_linear.sh PARTITION JOB_NAME CONFIG PRETRAIN [ARGUMENTS OF train.py]
set -e
if [ $# -lt 4 ]; then sed -n '2,3s/^# //p' "$0"; exit 2; fi
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$HERE/pretrained.sh" "$3" "$4"
exec bash "$HERE/../../slurm_train.sh" "$1" "$2" "$3" "$WORK_DIR" "${@:5}" "${WEIGHTS[@]}"
