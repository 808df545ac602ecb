"""Several labels an image from annotations in COCO's form."""
import json

import numpy as np
import pytest
from PIL import Image

from mmssl.datasets import build_dataset, build_datasource
from mmssl.datasets.data_sources import COCO
from mmssl.utils.errors import ConfigError

CATEGORIES = [dict(id=1, name='person'), dict(id=3, name='car'), dict(id=90, name='toothbrush')]


def write_coco(root, split='train', images=20, seed=0):
    """Annotations at random, odd ones among them; returns the content of the file."""
    rng = np.random.default_rng(seed)
    folder = 'train2014' if split == 'train' else 'val2014'
    entries = [
        dict(id=int(number), file_name=f'COCO_{folder}_{number:012d}.jpg', width=40, height=30)
        for number in rng.permutation(images) + 7
    ]
    objects = []
    for number in range(images * 3):
        box = [int(rng.integers(38)), int(rng.integers(28)), int(rng.integers(4)), int(rng.integers(4))]
        entry = dict(
            id=number,
            image_id=entries[int(rng.integers(images - 1))]['id'],  # the last has none
            category_id=CATEGORIES[int(rng.integers(3))]['id'],
            bbox=box,
            area=float(rng.integers(3)),
            iscrowd=int(rng.integers(2)),
            segmentation=[[1.0, 2.0, 3.0]])
        if rng.random() < 0.2:
            entry['ignore'] = int(rng.integers(2))
        objects.append(entry)
    content = dict(images=entries, annotations=objects, categories=CATEGORIES, info=dict(year=2014))
    (root / 'annotations').mkdir(exist_ok=True)
    (root / 'annotations' / f'instances_{split}2014.json').write_text(json.dumps(content))
    (root / folder).mkdir(exist_ok=True)
    for entry in entries:
        Image.new('RGB', (40, 30), (entry['id'], 0, 0)).save(root / folder / entry['file_name'])
    return content


def read_naively(content):
    """Classes by file name, object for object."""
    found = {image['file_name']: set() for image in content['images']}
    for image in content['images']:
        for entry in content['annotations']:
            if entry['image_id'] != image['id'] or entry.get('ignore') == 1 or not entry['area'] > 0:
                continue
            x, y, w, h = entry['bbox']
            columns = [c for c in (x, x + max(w - 1, 0)) if 0 <= c]
            rows = [r for r in (y, y + max(h - 1, 0)) if 0 <= r]
            if min(columns[1], 39) > columns[0] and min(rows[1], 29) > rows[0]:
                found[image['file_name']].add(entry['category_id'])
    return found


def test_targets_are_those_of_a_naive_reading(tmp_path):
    content = write_coco(tmp_path)
    found = read_naively(content)
    source = COCO(str(tmp_path), split='train')
    assert list(source.samples) == [f'train2014/{name}' for name in sorted(found)]
    expected = [[int(c['id'] in found[name]) for c in CATEGORIES] for name in sorted(found)]
    np.testing.assert_array_equal(source.targets, expected)
    assert source.targets.sum(1).min() == 0 and 0 < source.targets.mean() < 0.9  # the reading has something to find
    assert source.CLASSES == ('person', 'car', 'toothbrush') and (source.labels == -1).all()
    first = sorted(content['images'], key=lambda image: image['file_name'])[0]
    assert abs(int(source.get_array(0)[0, 0, 0]) - first['id']) <= 2

    some = COCO(str(tmp_path), classes=['toothbrush', 'person'])
    np.testing.assert_array_equal(some.targets, source.targets[:, [2, 0]])
    dataset = build_dataset(
        dict(type='SingleViewDataset', data_source=dict(type='COCO', data_prefix=str(tmp_path)), pipeline=[]))
    assert dataset.num_classes == 3
    np.testing.assert_array_equal(dataset[4]['label'], source.targets[4])


def test_other_splits_and_files(tmp_path):
    content = write_coco(tmp_path, 'minival', 5)
    source = COCO(str(tmp_path), split='minival')
    assert source.samples[0].startswith('val2014/')
    own = tmp_path / 'own.json'
    own.write_text(json.dumps(content))
    listed = COCO(str(tmp_path / 'val2014'), ann_file=str(own))
    assert listed.get_filename(0) == source.get_filename(0)
    np.testing.assert_array_equal(listed.targets, source.targets)


@pytest.mark.parametrize('change, words', [
    (dict(split='test'), 'no such annotations'),
    (dict(classes=['persn']), "did you mean 'person'"),
    (dict(ann_file='{root}/broken.json'), 'no JSON file in the form of COCO'),
    (dict(ann_file='{root}/other.json'), 'no JSON file in the form of COCO'),
    (dict(ann_file='{root}/unknown.json'), 'an annotation names an image_id and a category_id that are there'),
])
def test_what_is_wrong_is_named(tmp_path, change, words):
    content = write_coco(tmp_path, images=3)
    (tmp_path / 'broken.json').write_text('{"images": [')
    (tmp_path / 'other.json').write_text('[1, 2]')
    content['annotations'][0]['category_id'] = 5
    (tmp_path / 'unknown.json').write_text(json.dumps(content))
    change = {key: value.format(root=tmp_path) if isinstance(value, str) else value for key, value in change.items()}
    with pytest.raises((ConfigError, FileNotFoundError), match=words):
        build_datasource(dict(type='COCO', data_prefix=str(tmp_path), **change))
