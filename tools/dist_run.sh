#!/usr/bin/env bash
# Run a script in several processes: one a GPU, or on a machine without a GPU as many CPU processes.
# Usage: dist_run.sh GPUS SCRIPT [arguments of the script]
# Environment, for several nodes: NNODES NODE_RANK MASTER_ADDR PORT. On one node torchrun takes a free port, unless PORT
# is given. MAX_RESTARTS: how often torchrun starts all processes again when one has failed; a training then goes on.
set -e
GPUS=$1
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"
NODES="${NNODES:-1}"
if [ "$NODES" = 1 ] && [ -z "$PORT" ]; then
    PLACE=(--standalone --local_addr=127.0.0.1 --nproc_per_node="$GPUS")
else
    PLACE=(--nnodes="$NODES" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$GPUS"
        --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}")
fi
if [ -n "$MAX_RESTARTS" ]; then PLACE+=(--max-restarts="$MAX_RESTARTS"); fi
exec "${PYTHON:-python}" -m mmssl.utils.launch "${PLACE[@]}" "${@:2}" --launcher pytorch
