# Copyright (c) mmssl contributors. All rights reserved.
"""Photographs of 12 megapixels: views of them as they are, and of a copy with a shorter side of 256 pixels."""
from functools import partial

import numpy as np
import simplejpeg
from PIL import Image

from mmssl.datasets.data_sources import decode_image
from mmssl.datasets.images import to_array
from mmssl.datasets.pack import shrink
from mmssl.datasets.pipelines.compose import Compose, least_reduction
from mmssl.datasets.pipelines.rng import reseed, seed_sample, seed_view
from .data import dataset_views, folder_images
from .data_cases import compare

FILES = 4


def large_photographs(count=FILES, height=3000, width=4000):
    """JPEG files of 12 megapixels and about 4 MB, made of the two photographs that scikit-learn carries.

    These have 427 x 640 pixels: they are enlarged, and noise stands for the detail that is not there, so that a file
    has as many bytes, and takes as long to decode, as one from a camera. As a camera's, which interpolates the colours
    of its sensor, the noise is that of half as many pixels to each side.

    Args:
        count (int): Number of files.
        height (int): In pixels.
        width (int): In pixels.

    Returns:
        list[bytes]: The files.
    """
    from sklearn.datasets import load_sample_images
    rng, files = np.random.default_rng(0), []
    for i in range(count):
        photo = Image.fromarray(load_sample_images().images[i % 2]).crop((20 * i, 10 * i, 540 + 20 * i, 390 + 10 * i))
        pixels = np.asarray(photo.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
        noise = rng.normal(128, 12, (height // 2, width // 2, 3)).clip(0, 255).astype(np.uint8)
        pixels += np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))
        files.append(simplejpeg.encode_jpeg((pixels - 128).clip(0, 255).astype(np.uint8), 92, colorsubsampling='420'))
    return files


def run(cfg, data_prefix=None, num=20):
    """See data_cases: all views of an image, decoding included."""
    views, _ = dataset_views(cfg)
    pipelines = [pipeline for n, steps in views for pipeline in [Compose(steps)] * n]
    files = large_photographs() if data_prefix is None else folder_images(data_prefix, num)
    small = [shrink(file, 256) for file in files]

    def views_of(files, choose=None):

        def sample(i):
            img = decode_image(files[i % len(files)], choose=choose)
            for view, pipeline in enumerate(pipelines):
                seed_view(view)
                pipeline(img)

        return sample

    choose = partial(least_reduction, pipelines, 0, True)
    rows = compare(
        {
            f'all {len(pipelines)} views, full decode': views_of(files),
            'all views, decoded as far as they look': views_of(files, choose),
            'full decode alone': lambda i: decode_image(files[i % len(files)]),
            'decode at an eighth, the floor: entropy decoding': lambda i: _eighth(files[i % len(files)]),
            'all views, copy with a shorter side of 256': views_of(small)
        },
        min(num, 20),
        repetitions=3)
    differences, seen = [], []
    for i in range(num):
        seed_sample(0, 0, i)
        images = [decode_image(files[i % len(files)], choose=c) for c in (None, choose)]
        for view, pipeline in enumerate(pipelines):
            outputs = []
            for img in images:
                seed_view(view)
                outputs.append(np.concatenate([np.ravel(part) for part in _images(pipeline(img))]))
            differences.append(np.abs(np.subtract(*outputs, dtype=np.float32)).mean())
        seen.append(getattr(images[1], 'reduction', 1))
    reseed()
    return dict(
        rows=rows,
        difference_in_grey_levels=dict(mean=float(np.mean(differences)), largest_of_a_view=float(np.max(differences))),
        images_by_reduction={str(r): seen.count(r)
                             for r in sorted(set(seen))},
        megabytes_a_file=sum(map(len, files)) / len(files) / 1e6,
        kilobytes_of_its_copy=sum(map(len, small)) / len(small) / 1e3)


def _images(view):
    """The images of a view, which may be two, or come with a mask."""
    return [part for part in to_array(view if isinstance(view, tuple) else (view, )) if np.ndim(part) == 3]


def _eighth(file):
    height, width = simplejpeg.decode_jpeg_header(file)[:2]
    return simplejpeg.decode_jpeg(file, min_height=-(-height // 8), min_width=-(-width // 8))
