#!/usr/bin/env bash
# Train a detector from PRETRAIN: as mim_slurm_train_c4.sh or mim_slurm_train_fpn.sh, whichever the name of CONFIG tells
#   [GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5 SRUN_ARGS=...] mim_slurm_train.sh PARTITION CONFIG PRETRAIN [KEY=VALUE ...] [ARGUMENTS OF train.py]
if [ $# -lt 3 ]; then sed -n '2,3s/^# //p' "$0" >&2; exit 2; fi
case "$(basename "$2")" in *_c4_*) HEAD=c4 ;; *) HEAD=fpn ;; esac
exec bash "$(dirname "$0")/mim_slurm_train_$HEAD.sh" "$@"
