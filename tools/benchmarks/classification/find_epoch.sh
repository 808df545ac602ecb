#!/usr/bin/env bash
# Print the path of an epoch's checkpoint in the folder that tools/train.py, or dist_train.sh, chooses for a config:
#   find_epoch.sh SELFSUP_CONFIG EPOCH
if [ $# -ne 2 ]; then sed -n '2,3s/^# //p' "$0"; exit 2; fi
WORK_DIR=$(echo "${1%.*}" | sed 's/configs/work_dirs/')
[ -d "$WORK_DIR" ] || WORK_DIR=work_dirs/$(basename "${1%.*}")
echo "$WORK_DIR/epoch_$2.pth"
