#!/usr/bin/env bash
# Linear evaluation, or fine-tuning, as CONFIG says, of a checkpoint or extracted backbone weights:
#   [GPUS=8 PORT=29500] dist_train_linear.sh CONFIG PRETRAIN [ARGUMENTS OF train.py]
set -e
if [ $# -lt 2 ]; then sed -n '2,3s/^# //p' "$0"; exit 2; fi
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$HERE/pretrained.sh" "$1" "$2"
exec bash "$HERE/../../dist_train.sh" "$1" "${GPUS:-8}" --work-dir "$WORK_DIR" "${@:3}" "${WEIGHTS[@]}"
