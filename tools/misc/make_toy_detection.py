# Copyright (c) mmssl contributors. All rights reserved.
"""Draw small data sets for detection and segmentation, to see the way from pre-training to mmdet and mmseg work.

OUT/VOCdevkit/{VOC2007,VOC2012} and OUT/coco are laid out as VOC and COCO are: shapes on the two photographs that
scikit-learn carries, with boxes and masks. Any recipe for folders pre-trains on the images of OUT/coco/train2017.
"""
import argparse
from pathlib import Path

from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, help='folder to write to')
    parser.add_argument('--train', type=int, default=128, help='images to train on (default: %(default)s)')
    parser.add_argument('--val', type=int, default=32, help='images to test on (default: %(default)s)')
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        default=(192, 144),
        metavar=('WIDTH', 'HEIGHT'),
        help='in pixels (default: 192 144)')
    parser.add_argument('--seed', type=int, default=0, help='of the drawing (default: %(default)s)')
    args = parser.parse_args()
    if args.train < 4 or args.val < 1:
        parser.error('--train takes at least 4 images, --val 1')
    if not (32 <= args.size[0] <= 640 and 32 <= args.size[1] <= 427):
        parser.error('--size must be between 32 32 and 640 427, the size of the photographs')
    return args


def main():
    args = parse_args()

    import numpy as np
    from sklearn.datasets import load_sample_images

    from mmssl.downstream.toy_scenes import draw_scene, write_coco, write_voc

    photographs, rng = load_sample_images().images, np.random.default_rng(args.seed)
    train, val = ([draw_scene(photographs, rng, args.size) for _ in range(number)] for number in (args.train, args.val))
    write_coco(args.out / 'coco', train, 'train2017')
    write_coco(args.out / 'coco', val, 'val2017')

    named = [(f'{i:06d}', scene) for i, scene in enumerate(train + val, 1)]
    half, whole = args.train // 2, args.train
    first, second, test = dict(named[:half]), dict(named[half:whole]), dict(named[whole:])
    devkit = args.out / 'VOCdevkit'
    write_voc(devkit, {**first, **test}, 2007, {'Main/trainval': list(first), 'Main/test': list(test)})
    names = list(second)
    write_voc(devkit, {
        **second,
        **test
    }, 2012, {
        'Main/trainval': names,
        'Segmentation/train': names[:len(names) // 2],
        'Segmentation/aug': names[len(names) // 2:],
        'Segmentation/val': list(test)
    })
    print(f'{args.train} images to train on and {args.val} to test on, with '
          f'{sum(len(scene.labels) for scene in train + val)} objects: {devkit} and {args.out / "coco"}')


if __name__ == '__main__':
    run_tool(main)
