#!/usr/bin/env bash
# Semi-supervised evaluation: fine-tuning with a share of the labels, as CONFIG says, deterministic:
#   [GPUS=4 PORT=29500] dist_train_semi.sh CONFIG PRETRAIN [ARGUMENTS OF train.py]
set -e
if [ $# -lt 2 ]; then sed -n '2,3s/^# //p' "$0"; exit 2; fi
GPUS=${GPUS:-4} exec bash "$(dirname "$0")/dist_train_linear.sh" "$1" "$2" --deterministic "${@:3}"
