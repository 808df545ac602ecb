#!/usr/bin/env bash
# kNN with a checkpoint or extracted backbone weights, through Slurm:
#   [GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5 SRUN_ARGS=...] \
#   slurm_test_knn_pretrain.sh PARTITION JOB_NAME SELFSUP_CONFIG PRETRAIN [ARGUMENTS OF test_knn.py]
# On nodes without a GPU set GRES= (empty).
set -e
if [ $# -lt 4 ]; then sed -n '2,5s/^# //p' "$0"; exit 2; fi
HERE=$(cd "$(dirname "$0")" && pwd)
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-$((GPUS < 8 ? GPUS : 8))}
GRES=${GRES-gpu:$GPUS_PER_NODE}
export PYTHONPATH=$HERE/../../../..:$PYTHONPATH
# shellcheck disable=SC2086
srun -p "$1" --job-name="$2" ${GRES:+--gres=$GRES} --ntasks="$GPUS" --ntasks-per-node="$GPUS_PER_NODE" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 $SRUN_ARGS \
    "${PYTHON:-python}" -u "$HERE/test_knn.py" "$3" --checkpoint "$4" --launcher slurm "${@:5}"
