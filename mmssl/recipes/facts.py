# Copyright (c) mmssl contributors. All rights reserved.
"""What is there: the images, from a look at a few hundred of them, and the machine."""
import os
import time
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from mmssl.datasets import build_datasource
from mmssl.datasets.channel_statistics import ChannelStatistics, normalisation_of
from mmssl.datasets.images import to_array
from mmssl.utils.dist import default_device
from mmssl.utils.errors import BrokenImageError, ConfigError, describe, printable
from mmssl.utils.machine import memory, usable_cores
from mmssl.utils.misc import fast_bfloat16

_LOOKS = 256  # images that are looked at
_LARGE = 4e6  # pixels above which an image takes long to decode: a quarter of them is looked at
_PIXELS = 2**16  # of an image that enter the statistics


@dataclass
class DataFacts:
    """Images, as far as a sample of them tells.

    Attributes:
        images (int): How many there are.
        looked (int): How many of them were looked at.
        classes (int): Different labels; 0 where there are none.
        labelled (int): Images with a label.
        multi_label (bool): Whether an image has several.
        sizes (tuple[int, int, int]): Shorter side in pixels: the least, the median, the greatest.
        channels (int): Of the stored images.
        dtype (str): 'uint8', 'uint16' or 'float32'.
        grey (bool): Whether images are stored in three channels, which are equal.
        broken (float): Share that cannot be read.
        first_broken (str): The first of them, with the reason.
        alike (float): Share of those looked at that have a near-duplicate among them.
        norm (dict): img_norm_cfg of them; `max_value` where they have other than 8 bits.
        seconds (float): To read and decode one.
    """
    images: int
    looked: int
    classes: int
    labelled: int
    multi_label: bool
    sizes: tuple
    channels: int
    dtype: str
    grey: bool
    broken: float
    first_broken: str
    alike: float
    norm: dict
    seconds: float

    @property
    def deep(self):
        """bool: Whether the images have other than 8 bits."""
        return self.dtype != 'uint8'

    @property
    def coloured(self):
        """bool: Whether the images have red, green and blue."""
        return not self.grey and not self.deep and self.channels in (3, 4)


def survey(source, seed=0):
    """Look at some of the images of a source.

    Args:
        source (BaseDataSource | SourceSubset): The source.
        seed (int): Which images are looked at.

    Returns:
        DataFacts: What is seen. It does not depend on the machine, but for `seconds`.

    Raises:
        ConfigError: None of the images can be read, or they differ in type or channels.
    """
    count = len(source)
    order = np.sort(np.random.default_rng(seed).choice(count, min(_LOOKS, count), replace=False))
    looked, broken, sides, total, grey, hashes, shapes, seconds = 0, [], [], None, True, {}, {}, 0.
    wanted = order
    for idx in order:
        if looked == 8 and np.median([h * w for h, w in sides] or [0]) > _LARGE:
            wanted = set(order[::4].tolist())
        if looked >= 8 and idx not in wanted:
            continue
        looked, start = looked + 1, time.perf_counter()
        try:
            img = source.get_array(idx) if hasattr(source, 'get_array') else to_array(source.get_img(idx))
        except BrokenImageError as error:
            broken.append(f'{printable(error.filename)} ({error.reason})')
            continue
        seconds += time.perf_counter() - start
        sides.append(img.shape[:2])
        step = max(1, int(np.sqrt(img.shape[0] * img.shape[1] / _PIXELS)))
        part = np.ascontiguousarray(img[::step, ::step])
        shapes.setdefault((str(img.dtype), img.shape[2]), int(idx))
        grey = grey and img.shape[2] == 3 and bool(
            (part[..., 0] == part[..., 1]).all() and (part[..., 1] == part[..., 2]).all())
        if len(shapes) == 1:
            found = ChannelStatistics.of(part)
            total = found if total is None else total.join(found)
        key = _fingerprint(part)
        hashes[key] = hashes.get(key, 0) + 1
    if not sides:
        raise ConfigError(f'none of {looked} images that were looked at can be read; the first: {broken[0]}')
    if len(shapes) > 1:
        (kind, channels), (other, more) = list(shapes)[:2]
        raise ConfigError(f'images differ: one is {kind} of {channels} channels, another {other} of {more} (samples '
                          f'{", ".join(map(str, list(shapes.values())[:2]))}); a network takes one kind')
    labels, targets = getattr(source, 'labels', None), getattr(source, 'targets', None)
    several = bool(getattr(source, 'multi_label', False))
    if several and targets is not None:
        classes, labelled = targets.shape[1], int((np.asarray(targets) >= 0).any(1).sum())
    elif labels is None:
        classes = labelled = 0
    else:
        labels = np.asarray(labels)
        classes, labelled = len(np.unique(labels[labels >= 0])), int((labels >= 0).sum())
    shorter = [min(side) for side in sides]
    (dtype, channels), = shapes
    return DataFacts(
        images=count,
        looked=looked,
        classes=classes,
        labelled=labelled,
        multi_label=several,
        sizes=(min(shorter), int(np.median(shorter)), max(shorter)),
        channels=channels,
        dtype=dtype,
        grey=grey,
        broken=len(broken) / looked,
        first_broken=broken[0] if broken else '',
        alike=sum(n for n in hashes.values() if n > 1) / len(sides),
        norm=normalisation_of(total),
        seconds=seconds / len(sides))


def _fingerprint(img):
    """What near-duplicates share: whether each of 16 x 16 patches is brighter than its neighbour (dHash)."""
    mean = img.mean(2, np.float32) if img.shape[2] > 1 else img[..., 0].astype(np.float32)
    small = cv2.resize(np.nan_to_num(mean), (17, 16), interpolation=cv2.INTER_AREA)
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes()


@dataclass
class MachineFacts:
    """The machine.

    Attributes:
        device (str): 'cpu' or 'cuda'.
        cores (int): Cores of the CPU that this process may use.
        memory (float): Free memory in GB; of the GPU where there is one.
        gpu (str): Name of the GPU, '' for none.
        gpus (int): Number of GPUs.
        bfloat16 (bool): Whether the device computes fast in it.
        processes (int): Processes that train together.
        load (float): Processes that wanted a core in the last minute, on average; 0 where the system does not tell.
    """
    device: str
    cores: int
    memory: float
    gpu: str = ''
    gpus: int = 0
    bfloat16: bool = False
    processes: int = 1
    load: float = 0.


def look_at_machine():
    """MachineFacts: Of the machine that this process runs on."""
    device = default_device()
    facts = dict(
        device=device.type,
        cores=usable_cores(),
        bfloat16=fast_bfloat16(device),
        processes=int(os.environ.get('WORLD_SIZE', 1)),
        load=os.getloadavg()[0] if hasattr(os, 'getloadavg') else 0.)
    if device.type == 'cuda':
        free, _ = torch.cuda.mem_get_info(device)
        return MachineFacts(
            memory=free / 1e9, gpu=torch.cuda.get_device_name(device), gpus=torch.cuda.device_count(), **facts)
    return MachineFacts(memory=memory()[1] / 1e9, **facts)


def build_source(config):
    """Build a data source, and say in one line why it cannot be.

    Args:
        config (dict): Of the source.

    Returns:
        BaseDataSource | SourceSubset: The source.

    Raises:
        ConfigError: It cannot be built.
    """
    try:
        return build_datasource(config)
    except (ConfigError, OSError):
        raise
    except ValueError as error:
        raise ConfigError(describe(error)) from error
