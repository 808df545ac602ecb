# Copyright (c) mmssl contributors. All rights reserved.
"""Write a static augmented data set: for each image the original and a fixed number of views, as files."""
import json
import multiprocessing
import os.path as osp
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch

from mmssl.utils.errors import ConfigError
from mmssl.utils.indices import rows_by_value
from mmssl.utils.misc import atomic_write
from .data_sources.base import is_in_memory
from .data_sources.static_views import MANIFEST
from .pipelines.compose import Compose
from .pipelines.rng import reseed, seed_sample, seed_view

_FORMAT_STEPS = ('ToTensor', 'Normalize')


def view_pipelines(section):
    """The pipelines of a config's data.train, one a view, up to where views become tensors.

    Args:
        section (dict): Config of a data set with `pipelines` and `num_views`, or with `pipeline`; or of a wrapper with
            such a one as `dataset`.

    Returns:
        list[list[dict]]: Steps from image to uint8 image.
    """
    while 'dataset' in section:
        section = section['dataset']
    if section.get('pipelines'):
        found = [p for n, p in zip(section['num_views'], section['pipelines']) for _ in range(n)]
    elif section.get('pipeline'):
        found = [section['pipeline']]
    else:
        raise ConfigError(f'the data set {section.get("type")} has neither pipelines nor a pipeline to augment with')
    return [[step for step in p if step.get('type') not in _FORMAT_STEPS] for p in found]


def write_static_views(source,
                       pipelines,
                       folder,
                       num_views=2,
                       images_per_class=None,
                       seed=0,
                       quality=None,
                       workers=0,
                       progress=None):
    """Write originals and views; see StaticViews, which reads them, for the layout.

    A file is copied as it is to be the original, whereas an image in memory is written without loss. View v of image
    i depends on (seed, i, v) alone: it is what a training with that seed sees as its view v in the first epoch. What
    is there from a run that was cut off, with the same settings, is kept.

    Args:
        source (BaseDataSource): The images.
        pipelines (list[list[dict]]): View v is made by pipeline (v - 1) modulo their number.
        folder (str | Path): Where to.
        num_views (int): Views of each image.
        images_per_class (int, optional): Draw so many images of each class, by `seed`; all of a smaller class, and all
            unlabelled ones. None takes all.
        seed (int): The seed.
        quality (int, optional): Write views as JPEG of that quality, 1 to 100, instead of PNG.
        workers (int): Processes; 0 writes in this one.
        progress (callable, optional): Called after each image with the number of those done and of all.

    Returns:
        dict: 'images' (of the set), 'written' (the others were there) and 'classes'.

    Raises:
        ConfigError: The folder holds a set of other settings, or a pipeline gives no uint8 image.
        BrokenImageError: An image cannot be read.
    """
    if num_views < 1 or (images_per_class or 1) < 1 or not 1 <= (quality or 1) <= 100:
        raise ConfigError(f'num_views and images_per_class must be 1 or more and quality 1 to 100, got {num_views}, '
                          f'{images_per_class} and {quality}')
    chosen = _draw(source.get_gt_labels(), images_per_class, seed)
    targets = _targets(source, chosen)
    writer = _Writer(source, [Compose(p) for p in pipelines], Path(folder), num_views, seed, quality)
    settings = dict(
        source=f'{type(source).__name__} {source.data_prefix or ""}, {len(source)} images'.replace(' ,', ','),
        pipelines=[repr(p) for p in writer.pipelines],
        views=num_views,
        images_per_class=images_per_class,
        seed=seed,
        quality=quality)
    manifest = Path(folder) / MANIFEST
    _compare(manifest, settings)
    with atomic_write(manifest) as file:
        json.dump(dict(settings, complete=False), file, indent=1)
    written = 0
    for done, new in enumerate(_map(writer, list(zip(chosen.tolist(), targets)), workers), 1):
        written += new
        if progress:
            progress(done, len(chosen))
    classes = len(np.unique(source.get_gt_labels()[chosen]))
    with atomic_write(manifest) as file:
        json.dump(dict(settings, complete=True, images=len(chosen)), file, indent=1)
    return dict(images=len(chosen), written=written, classes=classes)


def _draw(labels, images_per_class, seed):
    """Ascending indices of the images that are taken."""
    if images_per_class is None:
        return np.arange(len(labels))
    chosen = []
    for label, own in zip(*rows_by_value(labels)):
        if label >= 0 and len(own) > images_per_class:
            own = np.random.default_rng([seed, int(label)]).choice(own, images_per_class, replace=False)
        chosen.append(own)
    return np.sort(np.concatenate(chosen))


def _targets(source, chosen):
    """Path of each image without number and extension, relative to the folder of the set."""
    labels = source.get_gt_labels()
    classes = [str(name).replace('/', '_') for name in source.CLASSES or ()]
    if len({*classes}) < len(classes) or len(classes) <= labels.max(initial=-1):
        width = len(str(labels.max(initial=0)))
        classes = [f'{label:0{width}d}' for label in range(labels.max(initial=0) + 1)]
    if is_in_memory(source):
        names = [f'{i:0{len(str(len(source)))}d}' for i in chosen]
    else:
        prefix = source.data_prefix or ''
        names = [osp.splitext(osp.relpath(source.get_filename(i), prefix or None))[0] for i in chosen.tolist()]
        if labels.max(initial=-1) >= 0:
            # what is below the folder of the class
            names = [name.split('/', 1)[-1] if labels[i] >= 0 else name for i, name in zip(chosen, names)]
        names = [name.replace('/', '__') for name in names]
    targets = [f'{classes[labels[i]]}/{name}' if labels[i] >= 0 else name for i, name in zip(chosen, names)]
    seen = {}
    for target in targets:
        seen[target] = seen.get(target, 0) + 1
    # two files that differ in their extension only, for example
    return [f'{target}_{i}' if seen[target] > 1 else target for i, target in zip(chosen, targets)]


def _compare(manifest, settings):
    if not manifest.is_file():
        return
    before = json.loads(manifest.read_text())
    for name, value in settings.items():
        if before.get(name) != value:
            raise ConfigError(f'{manifest.parent} holds a static set of {name} {before.get(name)!r}, now {value!r} is '
                              'wanted: choose another folder, or delete that one')


class _Writer:
    """Writes the files of one image."""

    def __init__(self, source, pipelines, folder, num_views, seed, quality):
        self.source, self.pipelines, self.folder = source, pipelines, folder
        self.num_views, self.seed, self.quality = num_views, seed, quality

    def __call__(self, task):
        """Whether anything was written for (index, target)."""
        idx, target = task
        in_memory = is_in_memory(self.source)
        extension = '.png' if in_memory else osp.splitext(self.source.get_filename(idx))[1]
        original = self.folder / f'{target}-0{extension}'
        suffix = '.png' if self.quality is None else '.jpg'
        views = [self.folder / f'{target}-{v}{suffix}' for v in range(1, self.num_views + 1)]
        if all(path.is_file() for path in (original, *views)):
            return False
        img = self.source.get_array(idx)
        if in_memory:
            _write_image(original, img)
        else:
            with atomic_write(original, 'wb') as file:
                file.write(self.source.get_bytes(idx))
        seed_sample(self.seed, 0, idx)
        try:
            for v, path in enumerate(views):
                seed_view(v)
                pipeline = self.pipelines[v % len(self.pipelines)]
                view = pipeline(img)
                if not (isinstance(view, np.ndarray) and view.dtype == np.uint8):
                    raise ConfigError(f'the augmentation gives no image but {type(view).__name__}: {pipeline}')
                _write_image(path, view, self.quality)
        finally:
            reseed()
        return True


def _write_image(path, img, quality=None):
    """Write uint8 H x W x 1 or 3 (RGB)."""
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1] if quality is None else [cv2.IMWRITE_JPEG_QUALITY, quality]
    done, data = cv2.imencode(path.suffix, img[..., ::-1] if img.shape[2] == 3 else img, options)
    if not done:
        raise ConfigError(f'{path}: an image of shape {img.shape} cannot be written')
    with atomic_write(path, 'wb') as file:
        file.write(data.tobytes())


def _map(function, tasks, workers):
    """Results of `function` in the order of the tasks, from several processes; one that dies is an error, no hang."""
    if not workers:
        yield from map(function, tasks)
        return
    # forked where that is possible: the annotations of a large source need not be sent
    method = 'fork' if 'fork' in multiprocessing.get_all_start_methods() else 'spawn'
    executor = ProcessPoolExecutor(workers, multiprocessing.get_context(method), _set_function, (function, ))
    try:
        yield from executor.map(_call_function, tasks, chunksize=max(1, min(16, len(tasks) // workers)))
    finally:
        executor.shutdown(cancel_futures=True)


def _set_function(function):
    global _function
    _function = function
    cv2.setNumThreads(0)  # each worker has a core of its own
    torch.set_num_threads(1)


def _call_function(task):
    return _function(task)
