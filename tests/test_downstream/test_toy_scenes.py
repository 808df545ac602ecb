"""The drawn data sets, read by readers that know nothing of them."""
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image
from scipy import ndimage

from mmssl.downstream.toy_scenes import COCO_NAMES, VOC_NAMES, VOID, draw_scene

TOOL = 'tools/misc/make_toy_detection.py'


@pytest.fixture(scope='module')
def toy(run_tool, tmp_path_factory):
    """Folder with 12 images to train on and 3 to test on."""
    out = tmp_path_factory.mktemp('toy')
    run_tool(TOOL, out, '--train', 12, '--val', 3)
    return out


def test_boxes_and_masks_agree(photographs):
    """A box is the smallest one around its mask, the label map is made of the masks, and no two objects touch."""
    rng, seen = np.random.default_rng(3), set()
    for _ in range(40):
        scene = draw_scene(photographs, rng)
        assert scene.image.shape == (144, 192, 3) and 1 <= len(scene.labels) <= 4
        seen.update(scene.labels)
        labels = scene.label_map()
        for label, mask, (x1, y1, x2, y2) in zip(scene.labels, scene.masks(), scene.boxes()):
            rows, columns = np.nonzero(mask)
            assert (columns.min(), rows.min(), columns.max(), rows.max()) == (x1, y1, x2, y2)
            assert x1 >= 0 and y1 >= 0 and x2 < 192 and y2 < 144
            assert set(np.unique(labels[mask])) == {1 + label, VOID}
        assert ndimage.label(labels > 0, np.ones((3, 3)))[1] == len(scene.labels)
        assert (labels[~np.any(scene.masks(), axis=0)] == 0).all()
    assert seen == {0, 1, 2}


@pytest.mark.parametrize('year, split, number', [(2007, 'trainval', 6), (2007, 'test', 3), (2012, 'trainval', 6)])
def test_voc_boxes(toy, year, split, number):
    """torchvision reads the boxes; they lie around what the label maps show, counted from 1."""
    root = toy / 'VOCdevkit' / f'VOC{year}'
    names = (root / 'ImageSets' / 'Main' / f'{split}.txt').read_text().split()
    found = torchvision.datasets.VOCDetection(toy, year=str(year), image_set=split)
    assert len(found) == len(names) == number
    for name, (image, annotation) in zip(names, found):
        annotation = annotation['annotation']
        assert annotation['filename'] == f'{name}.jpg'
        assert image.size == (int(annotation['size']['width']), int(annotation['size']['height'])) == (192, 144)
        path, = root.glob(f'SegmentationClass*/{name}.png')
        labels = np.asarray(Image.open(path))
        parts, count = ndimage.label(labels > 0, np.ones((3, 3)))
        want = sorted((*(int(edge.start + 1) for edge in place[::-1]), *(int(edge.stop) for edge in place[::-1]))
                      for place in ndimage.find_objects(parts))
        got = sorted(
            tuple(int(item['bndbox'][key]) for key in ('xmin', 'ymin', 'xmax', 'ymax'))
            for item in annotation['object'])
        assert got == want and count == len(annotation['object'])
        assert {VOC_NAMES.index(item['name']) + 1
                for item in annotation['object']} == set(np.unique(labels)) - {0, VOID}


def test_voc_label_maps(toy):
    """torchvision reads those of train and val; the extra ones are where mmseg looks for them."""
    for split, number in (('train', 3), ('val', 3)):
        found = torchvision.datasets.VOCSegmentation(toy, year='2012', image_set=split)
        assert len(found) == number
        for image, labels in found:
            assert image.size == labels.size and labels.mode == 'P' and set(np.unique(labels)) <= {0, 1, 2, 3, VOID}
    root = toy / 'VOCdevkit' / 'VOC2012'
    extra = (root / 'ImageSets' / 'Segmentation' / 'aug.txt').read_text().split()
    assert sorted(extra) == sorted(path.stem for path in (root / 'SegmentationClassAug').glob('*.png')) != []


@pytest.mark.parametrize('split, number', [('train2017', 12), ('val2017', 3)])
def test_coco(toy, split, number):
    """Boxes, areas and polygons of an object agree."""
    content = json.loads((toy / 'coco' / 'annotations' / f'instances_{split}.json').read_text())
    assert [item['name'] for item in content['categories']] == list(COCO_NAMES)
    assert len(content['images']) == number
    images = {item['id']: item for item in content['images']}
    assert len({item['id'] for item in content['annotations']}) == len(content['annotations']) >= number
    for item in images.values():
        with Image.open(toy / 'coco' / split / item['file_name']) as image:
            assert image.size == (item['width'], item['height'])
    for item in content['annotations']:
        x, y, width, height = item['bbox']
        corners = np.array(item['segmentation'][0]).reshape(-1, 2)
        assert (*corners.min(0), *corners.max(0)) == (x, y, x + width - 1, y + height - 1)
        # all whole points in the polygon or on its edges (theorem of Pick) are of the mask, and at most a rim besides
        steps = np.roll(corners, -1, 0) - corners
        area = abs((corners[:, 0] * steps[:, 1] - corners[:, 1] * steps[:, 0]).sum()) / 2
        within = area + np.gcd(*steps.T).sum() / 2 + 1
        assert within <= item['area'] <= area + np.linalg.norm(steps, axis=1).sum() + 1


def test_seed_decides_everything(call_tool, tmp_path):

    def digest(name, seed):
        call_tool(TOOL, tmp_path / name, '--train', 4, '--val', 1, '--size', 64, 48, '--seed', seed)
        files = sorted(path for path in (tmp_path / name).rglob('*') if path.is_file())
        return {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files}

    first = digest('a', 1)
    assert first == digest('b', 1)
    other = digest('c', 2)
    assert first.keys() == other.keys() and first != other
    assert Image.open(Path(tmp_path / 'a/coco/val2017/000000000001.jpg')).size == (64, 48)


@pytest.mark.parametrize('arguments, message', [
    (['--train', 3], '--train takes at least 4 images'),
    (['--size', 16, 300], '--size must be between 32 32 and 640 427'),
])
def test_bad_arguments(call_tool, tmp_path, arguments, message):
    done = call_tool(TOOL, tmp_path / 'out', *arguments, check=False)
    assert done.returncode == 2 and re.search(message, done.stderr) and not (tmp_path / 'out').exists()
