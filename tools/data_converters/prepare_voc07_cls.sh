#!/usr/bin/env bash
# Prepare Pascal VOC 2007 for the SVM benchmark, in DATA_ROOT/VOCdevkit/VOC2007, and link it as data/VOCdevkit:
#   prepare_voc07_cls.sh DATA_ROOT [--download]
# With --download the two archives (about 0.9 GB) come from the site of Pascal VOC where the folder is not there yet.
set -e
if [ $# -lt 1 ] || { [ $# -gt 1 ] && [ "$2" != --download ]; }; then sed -n '2,4s/^# //p' "$0"; exit 2; fi
mkdir -p "$1"
ROOT=$(cd "$1" && pwd)
VOC=$ROOT/VOCdevkit/VOC2007
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ ! -d "$VOC/JPEGImages" ] && [ "$2" = --download ]; then
    for NAME in VOCtrainval_06-Nov-2007.tar VOCtest_06-Nov-2007.tar; do
        curl -fL -C - -o "$ROOT/$NAME" "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/$NAME"
        tar -xf "$ROOT/$NAME" -C "$ROOT"
    done
fi
for PART in JPEGImages ImageSets/Main/trainval.txt ImageSets/Main/test.txt; do
    [ -e "$VOC/$PART" ] || { echo "error: there is no $VOC/$PART; unpack the archives of VOC 2007 (trainval and test)" \
        "into $ROOT, or use --download" >&2; exit 1; }
done
# lists of files for the data source ImageList
mkdir -p "$VOC/Lists"
for SPLIT in trainval test; do
    sed 's/[[:space:]]*$//; /^$/d; s/$/.jpg/' "$VOC/ImageSets/Main/$SPLIT.txt" > "$VOC/Lists/$SPLIT.txt"
done
cat "$VOC/Lists/trainval.txt" "$VOC/Lists/test.txt" > "$VOC/Lists/trainvaltest.txt"
"${PYTHON:-python}" "$TOOLS/create_voc_data_files.py" --data-source-dir "$VOC" --output-dir "$VOC/SVMLabels"
"${PYTHON:-python}" "$TOOLS/create_voc_low_shot_challenge_samples.py" \
    --targets-data-file "$VOC/SVMLabels/trainval_targets.npy" --output-path "$VOC/SVMLabels/low_shot" ${K_VALUES:+--k-values "$K_VALUES"}
mkdir -p data
[ -e data/VOCdevkit ] || ln -s "$ROOT/VOCdevkit" data/VOCdevkit
echo "$VOC is ready; data/VOCdevkit is $(cd data/VOCdevkit && pwd -P)"
