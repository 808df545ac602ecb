#!/usr/bin/env bash
# Print a name for the trainings on top of a checkpoint: that of the file, with the folder of its run in front where the
# file has a name that every run has, such as latest.pth or epoch_12.pth. A link counts as what it points to:
#   run_name.sh CHECKPOINT
if [ $# -ne 1 ]; then sed -n '2,4s/^# //p' "$0"; exit 2; fi
FILE=$(readlink -f -- "$1")
NAME=$(basename "${FILE%.*}")
case "$NAME" in
    latest* | epoch_* | iter_* | best_* | backbone* | checkpoint* | weights* | model* | final*)
        NAME=$(basename "$(dirname "$FILE")")-$NAME ;;
esac
echo "$NAME"
