# Copyright (c) mmssl contributors. All rights reserved.
"""Small data sets with boxes and masks, drawn on real photographs, in the layouts of VOC and COCO.

Shapes are cut out of one place of scikit-learn's two photographs, tinted by their class, and pasted elsewhere. They are
called by the first names in the lists of each data set, which are the only ones that its readers know.
"""
import json
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import cv2
import numpy as np

from mmssl.utils.misc import atomic_write

SHAPES = ('disc', 'square', 'triangle')
VOC_NAMES = ('aeroplane', 'bicycle', 'bird')
COCO_NAMES = ('person', 'bicycle', 'car')
TINTS = np.array([[230, 60, 50], [50, 110, 230], [235, 200, 40]])
VOID = 255  # label of a mask's edge, which neither trains nor counts


class Scene(NamedTuple):
    """An image and what is in it.

    Attributes:
        image (ndarray): H x W x 3, uint8, RGB.
        labels (list[int]): Index into SHAPES of each object.
        polygons (list[ndarray]): P x 2 corners of each object, x and y in whole pixels.
    """
    image: np.ndarray
    labels: list
    polygons: list

    def boxes(self):
        """Corners x1, y1, x2, y2 of each object; the pixels at them belong to it."""
        return [[*polygon.min(0).tolist(), *polygon.max(0).tolist()] for polygon in self.polygons]

    def masks(self):
        """Of each object, H x W, bool."""
        return [
            cv2.fillPoly(np.zeros(self.image.shape[:2], np.uint8), [polygon], 1).astype(bool)
            for polygon in self.polygons
        ]

    def label_map(self):
        """H x W, uint8: 0 for the background, 1 + label for objects, VOID on their edges."""
        found = np.zeros(self.image.shape[:2], np.uint8)
        for label, polygon, mask in zip(self.labels, self.polygons, self.masks()):
            found[mask] = 1 + label
            cv2.polylines(found, [polygon], isClosed=True, color=VOID)
        return found


def draw_scene(photographs, rng, size=(192, 144), max_objects=4):
    """Draw one to `max_objects` shapes that do not overlap on a crop of a photograph.

    Args:
        photographs (Sequence[ndarray]): H x W x 3, uint8, RGB, larger than the size.
        rng (np.random.Generator): Decides everything.
        size (tuple[int, int]): Width and height of the image in pixels.
        max_objects (int): Fewer fit sometimes.

    Returns:
        Scene: With at least one object.
    """
    width, height = size
    image = _crop(photographs, rng, width, height).copy()
    scene = Scene(image, [], [])
    taken = np.zeros((height, width), bool)
    for _ in range(rng.integers(1, max_objects + 1)):
        for _ in range(20):  # places, until one is free
            label, side = int(rng.integers(len(SHAPES))), int(rng.integers(height // 4, height // 2))
            corner = rng.integers(1, [width - side - 1, height - side - 1])
            polygon = np.round(corner + side * _outline(SHAPES[label], rng)).astype(np.int32)
            mask = cv2.fillPoly(np.zeros((height, width), np.uint8), [polygon], 1).astype(bool)
            if not (taken & mask).any():
                break
        else:
            continue
        taken |= cv2.dilate(mask.astype(np.uint8), np.ones((5, 5))).astype(bool)
        inside = 0.35 * _crop(photographs, rng, width, height) + 0.65 * (TINTS[label] + rng.normal(0, 15, 3))
        image[mask] = inside.clip(0, 255).round()[mask]
        scene.labels.append(label)
        scene.polygons.append(polygon)
    return scene


def _crop(photographs, rng, width, height):
    photograph = photographs[rng.integers(len(photographs))]
    top, left = rng.integers(0, np.array(photograph.shape[:2]) - (height, width) + 1)
    return photograph[top:top + height, left:left + width][:, ::rng.choice((-1, 1))]  # mirrored half of the time


def _outline(shape, rng):
    """Corners of a shape in the unit square, turned a little."""
    sides, start = dict(disc=(32, 0.), square=(4, np.pi / 4), triangle=(3, -np.pi / 2))[shape]
    angles = start + rng.uniform(-0.3, 0.3) + 2 * np.pi * np.arange(sides) / sides
    return 0.5 + 0.5 * np.stack([np.cos(angles), np.sin(angles)], 1)


def write_voc(root, scenes, year, splits):
    """Write scenes as a year of VOC: images, boxes, label maps of classes, and lists.

    Args:
        root (str | Path): Folder VOCdevkit; the year's folder in it is added to.
        scenes (dict[str, Scene]): By name of the image.
        year (int): 2007 or 2012.
        splits (dict[str, list[str]]): Names by list, such as 'Main/trainval'. Label maps of 'Segmentation/aug' go to
            the folder of SBD's extra annotations, SegmentationClassAug.
    """
    folder = Path(root) / f'VOC{year}'
    extra = splits.get('Segmentation/aug', [])
    for name, scene in scenes.items():
        _write_image(folder / 'JPEGImages' / f'{name}.jpg', scene.image)
        annotation = ElementTree.Element('annotation')
        _add(annotation, folder=f'VOC{year}', filename=f'{name}.jpg', segmented=1)
        height, width = scene.image.shape[:2]
        _add(ElementTree.SubElement(annotation, 'size'), width=width, height=height, depth=3)
        for label, (x1, y1, x2, y2) in zip(scene.labels, scene.boxes()):
            item = ElementTree.SubElement(annotation, 'object')
            _add(item, name=VOC_NAMES[label], pose='Unspecified', truncated=0, difficult=0)
            # VOC counts pixels from 1
            _add(ElementTree.SubElement(item, 'bndbox'), xmin=x1 + 1, ymin=y1 + 1, xmax=x2 + 1, ymax=y2 + 1)
        with atomic_write(folder / 'Annotations' / f'{name}.xml', 'wb') as file:
            ElementTree.ElementTree(annotation).write(file)
        maps = folder / ('SegmentationClassAug' if name in extra else 'SegmentationClass')
        _write_label_map(maps / f'{name}.png', scene.label_map())
    for split, names in splits.items():
        with atomic_write(folder / 'ImageSets' / f'{split}.txt') as file:
            file.writelines(f'{name}\n' for name in names)


def write_coco(root, scenes, split):
    """Write scenes as a split of COCO: images, and boxes and polygons in one file.

    Args:
        root (str | Path): Folder that holds `annotations`.
        scenes (Sequence[Scene]): Numbered from 1.
        split (str): 'train2017' or 'val2017'.
    """
    images, annotations = [], []
    for number, scene in enumerate(scenes, 1):
        name, (height, width) = f'{number:012d}.jpg', scene.image.shape[:2]
        _write_image(Path(root) / split / name, scene.image)
        images.append(dict(id=number, file_name=name, width=width, height=height))
        for label, polygon, mask, (x1, y1, x2, y2) in zip(scene.labels, scene.polygons, scene.masks(), scene.boxes()):
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number,
                    category_id=label + 1,
                    bbox=[x1, y1, x2 - x1 + 1, y2 - y1 + 1],
                    area=int(mask.sum()),
                    segmentation=[polygon.ravel().tolist()],
                    iscrowd=0))
    categories = [dict(id=i, name=name, supercategory='toy') for i, name in enumerate(COCO_NAMES, 1)]
    with atomic_write(Path(root) / 'annotations' / f'instances_{split}.json') as file:
        json.dump(dict(images=images, annotations=annotations, categories=categories), file)


def _add(parent, **texts):
    for tag, text in texts.items():
        ElementTree.SubElement(parent, tag).text = str(text)


def _write_image(path, image):
    with atomic_write(path, 'wb') as file:
        file.write(cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1])


def _write_label_map(path, labels):
    """A PNG with a palette, as VOC's are: the number of the colour is the label."""
    from PIL import Image
    picture = Image.fromarray(labels, 'P')
    palette = np.zeros((256, 3), np.uint8)
    palette[1:1 + len(TINTS)], palette[VOID] = TINTS, (224, 224, 192)
    picture.putpalette(palette.ravel().tolist())
    with atomic_write(path, 'wb') as file:
        picture.save(file, 'PNG')
