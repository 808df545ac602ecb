#!/usr/bin/env bash
# Train and test SVMs on features that extract.py has written:  eval_svm_full.sh WORK_DIR [FEATURE_LIST]
# FEATURE_LIST is one argument, such as "feat4 feat5" (default: "feat5").
set -e
if [ $# -lt 1 ]; then sed -n '2,3s/^# //p' "$0"; exit 2; fi
HERE=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$HERE/../../../../..${PYTHONPATH:+:$PYTHONPATH}"
PYTHON=${PYTHON:-python}
for FEAT in ${2:-feat5}; do
    echo "For feature: $FEAT"
    for STEP in train_svm_kfold:trainval test_svm:test; do
        "$PYTHON" "$HERE/${STEP%:*}.py" --data_file "$1/features/voc07_${STEP#*:}_$FEAT.npy" \
            --targets_data_file "$1/features/voc07_${STEP#*:}_targets.npy" \
            --costs_list 1.0,10.0,100.0 --output_path "$1/svm/voc07_$FEAT"
    done
done
