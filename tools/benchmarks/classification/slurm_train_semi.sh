#!/usr/bin/env bash
# Semi-supervised evaluation under Slurm: fine-tuning with a share of the labels, as CONFIG says, deterministic:
#   [GPUS=4 GPUS_PER_NODE=4] slurm_train_semi.sh PARTITION JOB_NAME CONFIG PRETRAIN [ARGUMENTS OF train.py]
set -e
if [ $# -lt 4 ]; then sed -n '2,3s/^# //p' "$0"; exit 2; fi
GPUS=${GPUS:-4} GPUS_PER_NODE=${GPUS_PER_NODE:-4} exec bash "$(dirname "$0")/slurm_train_linear.sh" "${@:1:4}" \
    --deterministic "${@:5}"
