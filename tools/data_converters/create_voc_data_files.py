# Copyright (c) mmssl contributors. All rights reserved.
"""Write images and targets of Pascal VOC 2007 (or 2012) as arrays: SPLIT_images.npy and SPLIT_targets.npy.

SPLIT is each of train, val, trainval and test whose lists are there. Images are paths; targets are N x 20: 1 where the
class is in the image, 0 where not, -1 where its objects are difficult to see.
"""
import argparse
from pathlib import Path

from mmssl.utils.misc import atomic_write, run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data-source-dir', '--data_source_dir', required=True, help='such as VOCdevkit/VOC2007')
    parser.add_argument('--output-dir', '--output_dir', required=True, help='folder to write to')
    return parser.parse_args()


def main():
    args = parse_args()

    import numpy as np

    from mmssl.datasets.data_sources.voc import SPLITS, VOC
    from mmssl.utils.errors import ConfigError

    lists = Path(args.data_source_dir) / 'ImageSets/Main'
    splits = [split for split in SPLITS if (lists / f'{VOC.CLASSES[0]}_{split}.txt').is_file()]
    if not splits:
        raise ConfigError(f'{lists} has no lists such as {VOC.CLASSES[0]}_trainval.txt; --data-source-dir is a folder '
                          'such as VOCdevkit/VOC2007')
    sources = {split: VOC(args.data_source_dir, split) for split in splits}  # all are read before anything is written
    for split, source in sources.items():
        paths = [source.get_filename(i) for i in range(len(source))]
        for name, array in (('images', np.array(paths)), ('targets', source.targets)):
            with atomic_write(Path(args.output_dir) / f'{split}_{name}.npy', 'wb') as file:
                np.save(file, array)
        print(f'{split}: {len(source)} images, {int((source.targets == 1).sum())} labels')


if __name__ == '__main__':
    run_tool(main)
