#!/usr/bin/env bash
# Train a detector from PRETRAIN: as mim_dist_train_c4.sh or mim_dist_train_fpn.sh, whichever the name of CONFIG tells
#   [NNODES=1 NODE_RANK=0 MASTER_ADDR=127.0.0.1 PORT=29500] mim_dist_train.sh CONFIG PRETRAIN GPUS [KEY=VALUE ...] [ARGUMENTS OF train.py]
if [ $# -lt 3 ]; then sed -n '2,3s/^# //p' "$0" >&2; exit 2; fi
case "$(basename "$1")" in *_c4_*) HEAD=c4 ;; *) HEAD=fpn ;; esac
exec bash "$(dirname "$0")/mim_dist_train_$HEAD.sh" "$@"
