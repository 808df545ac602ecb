# Copyright (c) mmssl contributors. All rights reserved.
"""How fast one worker makes views, next to the same pipeline built from torchvision's steps on Pillow images."""
import io
import os
import random
import time
from contextlib import contextmanager
from functools import partial

import cv2
import numpy as np
import torch
import torchvision.transforms as T
from PIL import Image, ImageFilter
from torchvision.transforms import InterpolationMode

from mmssl.datasets.builder import DATASOURCES, build_datasource
from mmssl.datasets.data_sources import ArraySource, decode_image
from mmssl.datasets.images import to_array
from mmssl.datasets.pipelines.base import Step
from mmssl.datasets.pipelines.compose import Compose, build_step
from mmssl.datasets.pipelines.mask import MaskStep
from mmssl.datasets.pipelines.photometric import StepOfStrength
from mmssl.datasets.pipelines.resample import interpolation_name
from mmssl.datasets.pipelines.rng import reseed, seed_sample, seed_view
from mmssl.datasets.pipelines.sample import SamplePipeline
from mmssl.utils.errors import ConfigError

REPETITIONS = 5
EXTENSIONS = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')


class PillowBlur:
    """MMSelfSup's GaussianBlur."""

    def __init__(self, sigma_min, sigma_max, p=0.5):
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max
        self.p = p

    def __call__(self, img):
        if np.random.rand() > self.p:
            return img
        return img.filter(ImageFilter.GaussianBlur(np.random.uniform(self.sigma_min, self.sigma_max)))


class PillowTwoPic(T.RandomResizedCrop):
    """MMSelfSup's RandomResizedCropAndInterpolationWithTwoPic."""

    def __init__(self, size, second_size=None, second_interpolation='lanczos', **kwargs):
        super().__init__(size, **kwargs)
        self.second_size = second_size and [second_size] * 2
        self.second_interpolation = InterpolationMode(interpolation_name(second_interpolation))

    def forward(self, img):
        place = self.get_params(img, self.scale, self.ratio)
        first = T.functional.resized_crop(img, *place, self.size, self.interpolation)
        if self.second_size is None:
            return first
        return first, T.functional.resized_crop(img, *place, self.second_size, self.second_interpolation)


def torchvision_step(step):
    """The counterpart of a step.

    Args:
        step (dict | Callable): As in a pipeline.

    Returns:
        Callable: From torchvision where it has such a step; a step that is not native is the same; a native step
            without counterpart works between conversions from and to Pillow.
    """
    built = build_step(step)
    if isinstance(built, MaskStep):
        return built  # it does not touch the image
    if not isinstance(built, Step) or not isinstance(step, dict):
        return built
    name, args = type(built).__name__, {k: v for k, v in step.items() if k != 'type'}
    if name == 'RandomAppliedTrans':
        return T.RandomApply([torchvision_step(s) for s in args['transforms']], args.get('p', 0.5))
    if name == 'GaussianBlur':
        return PillowBlur(**args)
    if name == 'Solarization':
        return T.RandomSolarize(args.get('threshold', 128), args.get('p', 0.5))
    if 'interpolation' in args:
        args['interpolation'] = InterpolationMode(interpolation_name(args['interpolation']))
    if name == 'RandomResizedCropAndInterpolationWithTwoPic':
        return PillowTwoPic(**args)
    drawn = isinstance(built, StepOfStrength) and not all(map(np.isscalar, args.values()))
    if name == 'RandomErasing' or drawn or not hasattr(T, name):
        return built
    return getattr(T, name)(**args)


def photographs(count=8):
    """JPEG files of 500 x 375 pixels, made of the two photographs that scikit-learn carries.

    Args:
        count (int): Number of files, each another part of a photograph.

    Returns:
        list[bytes]: The files.
    """
    from sklearn.datasets import load_sample_images
    files = []
    for i in range(count):
        part = Image.fromarray(load_sample_images().images[i % 2]).crop((10 * i, 5 * i, 10 * i + 560, 5 * i + 390))
        file = io.BytesIO()
        part.resize((500, 375), Image.Resampling.BICUBIC).save(file, 'JPEG', quality=90)
        files.append(file.getvalue())
    return files


def folder_images(folder, count):
    """Image files of a folder and those below it.

    Args:
        folder (str | Path): The folder.
        count (int): Number of files; they are taken evenly from all in the order of their names.

    Returns:
        list[bytes]: The files.

    Raises:
        FileNotFoundError: No folder, or no image in it.
    """
    paths = sorted(
        os.path.join(root, name) for root, _, names in os.walk(folder) for name in names
        if name.lower().endswith(EXTENSIONS))
    if not paths:
        raise FileNotFoundError(f'no image ({", ".join(EXTENSIONS)}) in {folder}')
    files = []
    for path in paths[::max(1, len(paths) // count)][:count]:
        with open(path, 'rb') as file:
            files.append(file.read())
    return files


def readers(data_source, data_prefix=None, count=8):
    """Functions that read image number i: ours, and Pillow's.

    Args:
        data_source (dict): Config of the data source.
        data_prefix (str, optional): Folder of images to be used.
        count (int): Number of images.

    Returns:
        tuple[Callable, Callable]: index -> uint8 H x W x C array, index -> Pillow image.
    """
    source = DATASOURCES.get(data_source['type']) if isinstance(data_source['type'], str) else data_source['type']
    if data_prefix is None and isinstance(source, type) and issubclass(source, ArraySource):
        images = build_datasource(data_source)
        return images.get_array, images.get_img
    files = photographs(count) if data_prefix is None else folder_images(data_prefix, count)
    color_type = data_source.get('color_type', 'color')
    mode = dict(color='RGB', grayscale='L').get(color_type)

    def pillow_image(i):
        img = Image.open(io.BytesIO(files[i % len(files)]))
        img.load()
        return img if mode in (None, img.mode) else img.convert(mode)

    return lambda i: decode_image(files[i % len(files)], color_type), pillow_image


@contextmanager
def one_thread():
    """Torch and OpenCV use one thread within, as in a worker of the loader."""
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])


def fastest(functions, num, repetitions=REPETITIONS):
    """Mean over samples of the fastest of several repetitions.

    The functions take turns, so that what else the machine does hits all of them; each works on all samples in a
    row, so that its code and data are in the caches as they are in a worker. The same samples come back in each
    repetition, so that the fastest is the one that nothing else disturbed.

    Args:
        functions (list[Callable]): Each takes an index and returns a list of seconds; of any other the call counts.
        num (int): Number of samples.
        repetitions (int): How often each sample is timed.

    Returns:
        list: Of each function, seconds a sample, or a list of them.
    """
    best = [None] * len(functions)
    for _ in range(repetitions):
        for k, function in enumerate(functions):
            times = []
            for i in range(num):
                _seed(i)
                start = time.thread_time()
                parts = function(i)
                times.append(parts if isinstance(parts, list) else time.thread_time() - start)
            times = np.array(times)
            best[k] = times if best[k] is None else np.minimum(best[k], times)
    return [b.mean(0).tolist() for b in best]


def _seed(i):
    """Key the random numbers of our steps and of all others by the sample."""
    seed_sample(0, 0, i)
    random.seed(i)
    np.random.seed(i)
    torch.default_generator.manual_seed(i)


def _by_step(steps, read):
    """A function that runs steps one after another on an image and returns what each took."""

    def run(i):
        img = read(i)
        seconds = []
        for step in steps:
            start = time.thread_time()
            img = step(img)
            seconds.append(time.thread_time() - start)
        return seconds

    return run


def innermost(cfg):
    """Config of the data set in wrappers and lists, of several the first."""
    while isinstance(cfg, (list, tuple)) or 'dataset' in cfg or 'datasets' in cfg:
        cfg = cfg[0] if isinstance(cfg, (list, tuple)) else cfg.get('dataset', cfg.get('datasets'))
    return cfg


def dataset_views(cfg):
    """The pipeline of each view that a data set makes, and its data source.

    Args:
        cfg (dict): Config of the data set.

    Returns:
        tuple[list[tuple[int, list]], dict]: Number of views and steps of each pipeline; config of the data source.

    Raises:
        ConfigError: The data set has no pipeline.
    """
    cfg = innermost(cfg)
    if 'pipelines' in cfg:
        return list(zip(cfg['num_views'], cfg['pipelines'])), cfg['data_source']
    if 'pipeline' in cfg:
        return [(1, cfg['pipeline'])], cfg['data_source']
    raise ConfigError(f'the data set {cfg.get("type")!r} has neither `pipeline` nor `pipelines`', cfg)


def benchmark_dataset(cfg, data_prefix=None, num=100):
    """Time what one worker of the loader does for a data set, in one thread.

    Each sample counts with the processor time of the fastest of five repetitions; both pipelines and decoding take
    turns. On a machine that does nothing else, this is the time by the clock: nothing here waits.

    Args:
        cfg (dict): Config of the data set.
        data_prefix (str, optional): Folder of images. None: photographs, or the source's own small images.
        num (int): Number of samples that each is timed on.

    Returns:
        dict: `images_per_second`, `torchvision_images_per_second` (samples, with decoding and all their views),
            `ratio` of the two, `decode_images_per_second`, `share_of_decode` (how much of the rate of decoding
            alone is left), `views` of a sample, and `steps`: a list of dicts with `pipeline` (its number), `step`,
            `microseconds` and `torchvision_microseconds` a view.
    """
    views, data_source = dataset_views(cfg)
    names = () if 'type' in data_source else tuple(data_source)  # of several sources, all are read as the first
    read, read_pillow = readers(data_source[names[0]] if names else data_source, data_prefix)
    theirs = [(n, [torchvision_step(step) for step in steps]) for n, steps in views]
    build, their_steps = Compose, [steps for _, steps in theirs]
    if cfg['type'] == 'SampleDataset':  # steps that take a sample are the same ones
        read = read_pillow = partial(_read_sample, read, names)
        build, their_steps = SamplePipeline, [[SamplePipeline([step]) for step in steps] for steps in their_steps]
        theirs = [(n, [SamplePipeline(steps)]) for n, steps in theirs]
    ours = [(n, build(steps)) for n, steps in views]

    def our_sample(i):
        img = read(i)
        view = 0
        for n, pipeline in ours:
            for _ in range(n):
                seed_view(view)
                pipeline(img)
                view += 1

    def their_sample(i):
        img = read_pillow(i)
        for n, steps in theirs:
            for _ in range(n):
                out = img
                for step in steps:
                    out = step(out)
                to_array(out)  # what the loader collates

    with one_thread():
        seconds = fastest([our_sample, their_sample, read], num)
        steps = []
        for number, ((_, configs), other_steps) in enumerate(zip(views, their_steps)):
            times = fastest([_by_step([build([c]) for c in configs], read), _by_step(other_steps, read_pillow)], num)
            steps += [
                dict(
                    pipeline=number,
                    step=_step_name(config),
                    microseconds=1e6 * our_seconds,
                    torchvision_microseconds=1e6 * their_seconds)
                for config, our_seconds, their_seconds in zip(configs, *times)
            ]
    reseed()
    return dict(
        images_per_second=1 / seconds[0],
        torchvision_images_per_second=1 / seconds[1],
        ratio=seconds[1] / seconds[0],
        decode_images_per_second=1 / seconds[2],
        share_of_decode=seconds[2] / seconds[0],
        views=sum(n for n, _ in views),
        steps=steps)


def _read_sample(read, names, i):
    """What the pipeline of a SampleDataset begins with."""
    return dict(img={name: read(i) for name in names} if names else read(i), label=0, idx=i)


def _step_name(step):
    if not isinstance(step, dict):
        return type(step).__name__
    inner = ', '.join(_step_name(s) for s in step.get('transforms', ()))
    return f'{step["type"]}({inner})' if inner else step['type']


def format_table(result):
    """The result of benchmark_dataset as text."""
    lines = [f'{"step (pipeline)":<44} {"us a view":>10} {"torchvision":>12} {"ratio":>7}']
    for step in result['steps']:
        ours, theirs = step['microseconds'], step['torchvision_microseconds']
        lines.append(f'{step["step"] + " (%d)" % step["pipeline"]:<44} {ours:>10.1f} {theirs:>12.1f} '
                     f'{theirs / ours:>7.1f}')
    return '\n'.join([
        *lines, '', f'one worker, {result["views"]} view(s) an image, decoding included: '
        f'{result["images_per_second"]:.0f} images/s',
        f'the same with torchvision on Pillow: {result["torchvision_images_per_second"]:.0f} images/s '
        f'(ratio {result["ratio"]:.1f})',
        f'decoding alone: {result["decode_images_per_second"]:.0f} images/s (share {result["share_of_decode"]:.2f})'
    ])
