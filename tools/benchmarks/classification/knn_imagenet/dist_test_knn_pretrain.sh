#!/usr/bin/env bash
# kNN with a checkpoint or extracted backbone weights:
#   [GPUS=8 PORT=29500] dist_test_knn_pretrain.sh SELFSUP_CONFIG PRETRAIN [ARGUMENTS OF test_knn.py]
# Without a GPU, GPUS is the number of processes.
set -e
if [ $# -lt 2 ]; then sed -n '2,4s/^# //p' "$0"; exit 2; fi
HERE=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH=$HERE/../../../..:$PYTHONPATH
"${PYTHON:-python}" -m torch.distributed.run --nproc_per_node="${GPUS:-8}" --master_port="${PORT:-29500}" \
    "$HERE/test_knn.py" "$1" --checkpoint "$2" --launcher pytorch "${@:3}"
