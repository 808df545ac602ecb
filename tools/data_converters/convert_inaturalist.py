# Copyright (c) mmssl contributors. All rights reserved.
"""Turn the JSON files of iNaturalist (2018 and others) into annotation files: `file_name label`, one a line.

train2018.json becomes OUT/train.txt, val2018.json OUT/val.txt. Labels count the categories by their ids.
"""
import argparse
import json
from pathlib import Path

from mmssl.utils.misc import atomic_write, run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('annotations', nargs='+', help='train2018.json, val2018.json')
    parser.add_argument('--images', required=True, help='folder of the images: data/iNaturalist2018/train_val2018')
    parser.add_argument('--out', required=True, help='folder to write to: data/iNaturalist2018/meta')
    return parser.parse_args()


def read(path):
    """Ids of the categories, and pairs of file name and category id."""
    from mmssl.utils.errors import ConfigError
    try:
        content = json.loads(Path(path).read_text())
        categories = sorted(category['id'] for category in content['categories'])
        files = {image['id']: image['file_name'] for image in content['images']}
        of_image = {a['image_id']: a['category_id'] for a in content['annotations']}
    except FileNotFoundError:
        raise ConfigError(f'there is no {path}') from None
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f'{path} is no JSON file with categories, images and annotations: {error!r}') from None
    unlabelled = [name for key, name in files.items() if of_image.get(key) not in set(categories)]
    if unlabelled or not files:
        raise ConfigError(f'{path}: {len(unlabelled)} of {len(files)} images have no annotation of a known category: '
                          f'{", ".join(unlabelled[:3])}')
    return categories, [(files[key], of_image[key]) for key in files]


def main():
    args = parse_args()

    from mmssl.utils.errors import ConfigError

    root, found, categories = Path(args.images), {}, None
    for path in args.annotations:
        name = Path(path).stem.rstrip('0123456789') + '.txt'
        if name in found:
            raise ConfigError(f'{path} and another file would both be written to {name}')
        known, samples = read(path)
        if categories is not None and known != categories:
            raise ConfigError(f'{path} has {len(known)} categories, others than the {len(categories)} of '
                              f'{args.annotations[0]}')
        categories = known
        # names begin with the folder of the images, which data_prefix has already
        found[name] = [(file.removeprefix(f'{root.name}/'), category) for file, category in samples]
        missing = [file for file, _ in found[name] if not (root / file).is_file()]
        if missing:
            raise ConfigError(f'{path}: {len(missing)} of {len(samples)} images are not in {root}: '
                              f'{", ".join(missing[:3])}')
    labels = {category: i for i, category in enumerate(categories)}
    for name, samples in found.items():
        with atomic_write(Path(args.out) / name) as file:
            file.writelines(f'{path} {labels[category]}\n' for path, category in samples)
        print(f'{Path(args.out) / name}: {len(samples)} images, {len(labels)} classes')


if __name__ == '__main__':
    run_tool(main)
