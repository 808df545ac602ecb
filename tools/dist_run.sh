#!/usr/bin/env bash
# Run a script in several processes: one a GPU, or on a machine without a GPU as many CPU processes.
# Usage: dist_run.sh GPUS SCRIPT [arguments of the script]
# Environment, for several nodes: NNODES NODE_RANK MASTER_ADDR PORT. On one node another PORT than the first free one from
# 29500 on need not be given.
set -e
GPUS=$1
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"
if [ -z "$PORT" ]; then
    PORT=29500
    # on one machine the next one, as long as somebody listens there
    while [ "${NNODES:-1}" = 1 ] && (exec 3<> "/dev/tcp/127.0.0.1/$PORT") 2> /dev/null; do PORT=$((PORT + 1)); done
fi
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$GPUS" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="$PORT" "${@:2}" --launcher pytorch
