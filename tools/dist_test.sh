#!/usr/bin/env bash
# Evaluate in several processes: one a GPU, or on a machine without a GPU as many CPU processes.
# Usage: dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py]
# Environment, for several nodes: NNODES NODE_RANK MASTER_ADDR PORT
if [ $# -lt 3 ]; then sed -n '3s/^# //p' "$0" >&2; exit 2; fi
HERE=$(dirname "$0")
exec bash "$HERE/dist_run.sh" "$3" "$HERE/test.py" "$1" "$2" "${@:4}"
