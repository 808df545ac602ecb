#!/usr/bin/env bash
# Low-shot SVMs on features that extract.py has written:  eval_svm_lowshot.sh WORK_DIR [FEATURE_LIST]
# FEATURE_LIST is one argument, such as "feat4 feat5" (default: "feat5"). SHOTS="1 2 4" chooses other numbers of
# positives than 1 2 4 8 16 32 64 96.
set -e
if [ $# -lt 1 ]; then sed -n '2,4s/^# //p' "$0"; exit 2; fi
HERE=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$HERE/../../../../..${PYTHONPATH:+:$PYTHONPATH}"
PYTHON=${PYTHON:-python}
SHOTS=${SHOTS:-1 2 4 8 16 32 64 96}
COSTS=1.0,10.0,100.0
SAMPLES="$1/features/low_shot"
"$PYTHON" "$HERE/../../../../data_converters/create_voc_low_shot_challenge_samples.py" \
    --targets_data_file "$1/features/voc07_trainval_targets.npy" --output_path "$SAMPLES" --k_values "${SHOTS// /,}"
for FEAT in ${2:-feat5}; do
    echo "For feature: $FEAT"
    OUT="$1/svm_lowshot/voc07_$FEAT"
    for K in $SHOTS; do
        for S in 1 2 3 4 5; do
            "$PYTHON" "$HERE/train_svm_low_shot.py" --data_file "$1/features/voc07_trainval_$FEAT.npy" \
                --targets_data_file "$SAMPLES/train_targets_sample${S}_k$K.npy" --costs_list "$COSTS" \
                --output_path "$OUT"
        done
    done
    "$PYTHON" "$HERE/test_svm_low_shot.py" --data_file "$1/features/voc07_test_$FEAT.npy" \
        --targets_data_file "$1/features/voc07_test_targets.npy" --costs_list "$COSTS" --output_path "$OUT" \
        --k_values "${SHOTS// /,}"
    "$PYTHON" "$HERE/aggregate_low_shot_svm_stats.py" --output_path "$OUT" --k_values "${SHOTS// /,}"
done
