# Copyright (c) mmssl contributors. All rights reserved.
"""What does the network see?"""
from pathlib import Path

import numpy as np
import torch
from mmcv.runner.hooks import Hook
from PIL import Image

from mmssl.utils.errors import ConfigError
from ..builder import HOOKS
from .trackers import send_to_trackers


@HOOKS.register_module()
class ViewsHook(Hook):
    """Save images of a batch as the network gets them, with their normalisation undone, and send them to trackers.

    The picture has a row for each sample and a column for each view in its true relative size; it goes to
    views_iter_N.png in the work_dir, and to the trackers that take images. The first batch of each start is drawn.

    Args:
        samples (int): How many samples of the batch.
        interval (int | None): Epochs between further pictures; none by default.
    """

    def __init__(self, samples=8, interval=None):
        for name, value in (('samples', samples), ('interval', interval)):
            if value is not None and value < 1:
                raise ConfigError(f'ViewsHook.{name} is at least 1, got {value}')
        self.samples = samples
        self.interval = interval

    def before_run(self, runner):
        self._due = runner.rank == 0

    def before_train_epoch(self, runner):
        if self.interval is not None and runner.rank == 0 and runner.epoch % self.interval == 0:
            self._due = True

    def before_train_iter(self, runner):
        if not self._due:
            return
        self._due = False
        views = runner.data_batch['img'] if isinstance(runner.data_batch, dict) else runner.data_batch
        views = [view for view in (views if isinstance(views, (list, tuple)) else [views])
                 if isinstance(view, torch.Tensor) and view.ndim >= 4]  # yapf: disable
        if not views:
            runner.logger.warning('ViewsHook: the batch has no images to draw')
            return
        # patches of one image are views
        views = [part for view in views for part in (view.unbind(1) if view.ndim == 5 else [view])]
        norm = _statistics(runner)
        picture = sheet([[to_pixels(view[i], norm) for view in views] for i in range(min(self.samples, len(views[0])))])
        Image.fromarray(picture).save(Path(runner.work_dir) / f'views_iter_{runner.iter + 1}.png')
        send_to_trackers(runner, 'write_image', 'views', picture, runner.iter + 1)


def _statistics(runner):
    """Mean and standard deviation that the loader, the pipeline or the config normalises by; None where none does."""
    from mmssl.evaluation.views import normalisation
    loader = runner.data_loader
    if getattr(loader, 'scale', None) is not None:
        return loader.scale, loader.shift
    try:
        norm = normalisation(loader.dataset)
    except AttributeError:  # a data set of the user's own
        norm = None
    norm = norm or dict((getattr(runner, 'config', None) or {}).get('img_norm_cfg') or {})
    if norm.get('mean') is None or norm.get('std') is None:
        return None
    mean, std = (torch.tensor(norm[name], dtype=torch.float32).view(-1, 1, 1) for name in ('mean', 'std'))
    return 1 / (255 * std), -mean / std


def to_pixels(image, norm=None):
    """An image of a batch as it was stored.

    Args:
        image (Tensor): Floats, C x H x W.
        norm (tuple[Tensor, Tensor] | None): Scale and shift that made it of stored values; without them its lowest
            value is drawn black and its highest white.

    Returns:
        ndarray: uint8, H x W x 3.
    """
    image = image.detach().float().cpu()
    if norm is not None:
        scale, shift = (part.cpu() for part in norm)
        if len(scale) in (1, len(image)):
            image = (image - shift) / scale
    if norm is None or image.min() < -1 or image.max() > 256:  # other units: stretched
        low, high = image.aminmax()
        image = (image - low) / (high - low).clamp(min=1e-12) * 255
    image = image.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    return image[..., :3] if image.shape[2] >= 3 else image[..., :1].repeat(3, 2)


def sheet(rows, gap=2):
    """Images of several sizes side by side.

    Args:
        rows (list[list[ndarray]]): Of H x W x 3 each, as many in each row.
        gap (int): Pixels between them.

    Returns:
        ndarray: uint8, H x W x 3, white where there is no image.
    """
    heights = [max(image.shape[0] for image in row) + gap for row in rows]
    widths = [max(row[i].shape[1] for row in rows) + gap for i in range(len(rows[0]))]
    picture = np.full((sum(heights) - gap, sum(widths) - gap, 3), 255, np.uint8)
    top = 0
    for row, height in zip(rows, heights):
        left = 0
        for image, width in zip(row, widths):
            picture[top:top + image.shape[0], left:left + image.shape[1]] = image
            left += width
        top += height
    return picture
