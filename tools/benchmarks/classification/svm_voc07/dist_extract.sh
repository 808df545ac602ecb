#!/usr/bin/env bash
# Features of VOC07 for SVMs, in several processes:
#   dist_extract.sh SELFSUP_CONFIG GPUS WORK_DIR [ARGUMENTS OF extract.py, such as --checkpoint FILE --layers feat4 feat5]
# Without a GPU, GPUS is the number of processes.
if [ $# -lt 3 ]; then sed -n '2,4s/^# //p' "$0"; exit 2; fi
HERE=$(dirname "$0")
exec bash "$HERE/../../../dist_run.sh" "$2" "$HERE/extract.py" "$1" --work-dir "$3" "${@:4}"
