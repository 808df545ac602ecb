# Copyright (c) mmssl contributors. All rights reserved.
"""What every algorithm shares."""
import itertools
import math
import re

import torch
from mmcv.runner import BaseModule
from torch import nn

from mmssl.utils.errors import Completed, ConfigError, NotOfferedError
from mmssl.utils.logger import get_root_logger
from ..builder import HEADS, NECKS, build_backbone, build_head, build_neck
from ..utils.channels import feature_channels, fill_in_channels, fill_map_channels
from ..utils.patches import check_mask, patch_grid
from ..utils.sobel import Sobel

MODES = ('train', 'test', 'extract')


def two_views(img):
    """The two views of a batch.

    Raises:
        ConfigError: The batch has another number of views.
    """
    if not isinstance(img, (list, tuple)) or len(img) != 2:
        given = f'{len(img)} views' if isinstance(img, (list, tuple)) else 'one tensor'
        raise ConfigError(f'this algorithm compares 2 views of each image, the data gives {given}; '
                          'use MultiViewDataset with num_views=[2] or [1, 1]')
    return img


def several_views(img):
    """The views of a batch, two or more, whose sizes may differ.

    Raises:
        ConfigError: The batch has one view.
    """
    if not isinstance(img, (list, tuple)) or len(img) < 2:
        given = f'{len(img)} view' if isinstance(img, (list, tuple)) else 'one tensor'
        raise ConfigError(f'this algorithm compares 2 views of each image or more, the data gives {given}; '
                          'use MultiViewDataset with num_views such as [2], [1, 1] or [2, 4]')
    return img


def large_first(img):
    """The views of a batch, two or more, of which none is larger than the first: a teacher sees that one.

    Raises:
        ConfigError: The batch has one view, or small views come first.
    """
    sizes = [tuple(view.shape[2:]) for view in several_views(img)]
    largest = max(sizes, key=math.prod)
    if math.prod(largest) > math.prod(sizes[0]):
        first, largest = (' x '.join(map(str, size)) for size in (sizes[0], largest))
        raise ConfigError(f'large views come first, which a teacher sees: the data gives {first} pixels before '
                          f'{largest}; change the order of num_views and pipelines')
    return img


def one_view(img):
    """The images of a batch with one view of each.

    Raises:
        ConfigError: The batch is a list of views.
    """
    if isinstance(img, (list, tuple)):
        raise ConfigError(f'this algorithm takes one view of each image, the data gives a list of {len(img)}; use a '
                          'data set of single images, such as SingleViewDataset, or DeepClusterDataset for DeepCluster')
    return img


def masked_view(img, parts, backbone):
    """The parts of a batch whose pipeline ends with a mask generator.

    Args:
        img (list[Tensor]): What the data gives.
        parts (Sequence[str]): What it should give; the first is the image, the last the mask.
        backbone (nn.Module): Its patches are the places of a mask that comes as B x L.

    Returns:
        list[Tensor]: The parts, the mask as B x h x w.

    Raises:
        ConfigError: The batch has other parts.
    """
    if not isinstance(img, (list, tuple)) or len(img) != len(parts) or img[-1].dim() not in (2, 3):
        given = [tuple(part.shape) for part in img] if isinstance(img, (list, tuple)) else 'one tensor'
        raise ConfigError(f'this algorithm takes {", ".join(parts)} of each image, the data gives {given}: let the '
                          'pipeline end with the mask generator of its recipe')
    *images, mask = img
    if mask.dim() == 2:
        grid = patch_grid(*images[0].shape[-2:], backbone.patch_embed.patch_size)
        check_mask(mask, grid)
        mask = mask.unflatten(1, grid)
    return [*images, mask]


def by_size(img):
    """Crops of a batch as one tensor a size: crops of one size that stand in a row are joined.

    Args:
        img (list[Tensor]): B x C x H x W each.

    Returns:
        list[Tensor]: The first crops of all B images, then the second ones, and so on.
    """
    return [torch.cat(list(crops)) for _, crops in itertools.groupby(img, lambda crop: crop.shape)]


def scores_by_stage(backbone, scores):
    """Scores of classifiers by names that say on which stage each stands.

    Args:
        backbone (nn.Module): Its `out_indices`, where it has them, are the stages; else they count from 0.
        scores (list[Tensor]): Scores on each of these stages, or on the last alone; one more is of MultiClsHead's
            unpooled map.

    Returns:
        dict[str, Tensor]: Such as head4, head4_2 where a stage comes a second time, and head4_unpool, on the CPU.
    """
    stages = list(getattr(backbone, 'out_indices', None) or range(len(scores)))
    if len(scores) == 1:
        stages = stages[-1:]
    before = [stages[:i].count(stage) for i, stage in enumerate(stages)]
    names = [f'head{stage}_{times + 1}' if times else f'head{stage}' for stage, times in zip(stages, before)]
    names.append(f'head{stages[-1]}_unpool')
    return {name: score.cpu() for name, score in zip(names, scores)}


class BaseModel(BaseModule):
    """Base class of algorithms: the modes of `forward`, and what a runner calls.

    A subclass builds `backbone` and where needed `neck` and `head`, and defines `forward_train`.

    Args:
        init_cfg (dict, optional): Initialisation.
        with_sobel (bool): Give the backbone edges, two channels, instead of the image.

    Attributes:
        loss_names (tuple[str]): Keys of the result of `forward_train` that are summed to the loss; its other entries
            are logged. Without a declaration `forward_train` gives no loss but `loss`.
        compares_images (bool): Whether the loss compares the images of a batch with each other.
        has_fixed_targets (bool): Whether the loss has targets that the images alone give, such as pixels: a network
            whose features are all alike cannot meet them.
        momentum_parts (tuple[str]): Networks that follow others, which `copy_momentum_parts` copies to them.
        needs_labels (bool): Whether it cannot be trained on samples without a label.
        label_step (str | None): The step of the pipeline that makes the label; None where it is that of the image.
        is_update_iter (bool): Whether the weights changed since the last iteration; optimizer hooks that accumulate
            gradients set it, so that moving averages step only when there is something new.
        renamed_keys (dict[str, str]): Beginnings of state-dict keys of MMSelfSup's checkpoints, and what they are here.
    """
    loss_names = ('loss', )
    compares_images = False
    has_fixed_targets = False
    momentum_parts = ()
    needs_labels = False
    label_step = None
    is_update_iter = True
    renamed_keys = {}

    def __init__(self, init_cfg=None, with_sobel=False):
        super().__init__(init_cfg)
        self.with_sobel = with_sobel
        self.sobel_layer = Sobel() if with_sobel else None

    def init_weights(self):
        """Initialise the networks that are trained, and copy them to those that follow after that."""
        super().init_weights()
        self.copy_momentum_parts()

    def copy_momentum_parts(self):
        """Have `momentum_parts` begin as the networks that they follow are now."""

    def teacher_backbone(self):
        """The moving average of the backbone, such as DINO's teacher.

        Returns:
            nn.Module: As it is at work here.

        Raises:
            ConfigError: There is none.
        """
        for name in self.momentum_parts:
            part = getattr(self, name)
            return part[0] if isinstance(part, nn.Sequential) else part
        raise ConfigError(f'{type(self).__name__} has no moving average of its backbone, a teacher')

    def fit_to_data(self, samples, views=None):
        """Take from the training data what the config leaves out, and see that the rest fits.

        Each part that has a method of this name is asked; so a memory gets its length. A queue that is not shorter than
        the data is warned of.

        Args:
            samples (int): Number of distinct training samples.
            views (list[int] | None): Number of views that each pipeline makes; None where the data set has no such
                number.

        Raises:
            ConfigError: The config says something else than the data.
        """
        length = getattr(self, 'queue_len', None) or 0
        if length >= samples:
            get_root_logger().warning(
                f'model.queue_len={length} is not less than the {samples} training images: an image is compared with '
                f'its own earlier features. Set a shorter one, such as {max(1, samples // 4)}')
        # memories first: a head may have its length from one, where a wrong number then belongs to the memory
        parts = sorted(list(self.named_modules())[1:], key=lambda item: not item[0].startswith('memory_bank'))
        for name, part in parts:
            if hasattr(part, 'fit_to_data'):
                try:
                    part.fit_to_data(samples=samples, views=views)
                except ConfigError as error:
                    raise ConfigError(f'model.{name}: {error}') from error

    @property
    def with_neck(self):
        return getattr(self, 'neck', None) is not None

    @property
    def with_head(self):
        return getattr(self, 'head', None) is not None

    def refuses_one_image(self, processes):
        """Why a batch with one image in each process cannot be trained on.

        Args:
            processes (int): Their number.

        Returns:
            str | None: The reason; None where it can.
        """
        if self.compares_images and processes == 1:
            return 'the loss compares the images of a batch with each other'
        norms = (nn.BatchNorm1d, nn.SyncBatchNorm) if processes == 1 else nn.BatchNorm1d
        for name, module in self.named_modules():
            if name.startswith(('neck', 'head')) and isinstance(module, norms):
                return f'{name} is a batch norm, which needs more than the one vector of an image'
        return None

    def extract_feat(self, img):
        """Images, N x C x H x W, to the tuple of maps that the backbone returns."""
        return self.backbone(img if self.sobel_layer is None else self.sobel_layer(img))

    def forward_train(self, img, **kwargs):
        """A batch to a dict of losses and of scalars to log."""
        raise NotOfferedError(f'{type(self).__name__} has no training')

    def forward_test(self, img, **kwargs):
        """Images to a dict of predictions."""
        raise NotOfferedError(f"{type(self).__name__} predicts nothing; use mode='extract' for features")

    def forward(self, img, mode='train', **kwargs):
        """Run a batch.

        Args:
            img (Tensor | list[Tensor]): N x C x H x W, or one such tensor a view.
            mode (str): 'train' (losses), 'test' (predictions) or 'extract' (features).
            kwargs: The rest of the batch, for training and testing.

        Returns:
            dict | tuple[Tensor]: See forward_train, forward_test and extract_feat.

        Raises:
            ValueError: An unknown mode.
            ConfigError: There is no head where one is needed, or parts do not fit each other or the images.
        """
        if mode not in MODES:
            raise ValueError(f'mode must be one of {MODES}, got {mode!r}')
        if mode != 'extract' and getattr(self, 'head', self) is None:
            raise ConfigError(f'{type(self).__name__} without a head (model.head is None) gives features only')
        try:
            if mode == 'train':
                return self.forward_train(img, **kwargs)
            return self.forward_test(img, **kwargs) if mode == 'test' else self.extract_feat(img)
        except RuntimeError as error:
            # parts of ours look themselves, those of other packages leave it to torch
            found = re.search(r'expected input\[.*\] to have (\d+) channels, but got (\d+)', str(error))
            if found is None:
                raise
            raise ConfigError(
                f'a convolution takes {found[1]} channels and gets {found[2]}: in_channels of the backbone '
                'must be that of the images, and in_channels of each other part what the part before it '
                'gives') from error

    def parse_losses(self, losses):
        """Sum what `loss_names` declares.

        Args:
            losses (dict[str, Tensor]): What `forward_train` returned.

        Returns:
            tuple[Tensor, dict[str, Tensor]]: The loss, and everything to log as detached 0-dim tensors.

        Raises:
            ConfigError: A declared loss is absent, or nothing is declared and there are losses besides `loss`.
        """
        named = tuple(name for name in losses if 'loss' in name)
        declared = 'loss_names' in vars(self) or any('loss_names' in vars(cls)
                                                     for cls in type(self).__mro__ if cls is not BaseModel)
        undeclared = not declared and named != self.loss_names
        if undeclared or not set(self.loss_names) <= set(losses):
            raise ConfigError(f'{type(self).__name__} sums loss_names = {self.loss_names}, and forward_train gives '
                              f'{list(losses)}: name all that are summed to the loss in the class, such as '
                              f'loss_names = {named or tuple(losses)}; the others are only logged')
        loss = sum(losses[name].mean() for name in self.loss_names)
        log_vars = {name: torch.as_tensor(value).detach().float().mean() for name, value in losses.items()}
        log_vars['loss'] = loss.detach()
        return loss, log_vars

    def train_step(self, data, optimizer=None, forward=None):
        """One iteration up to the loss, without a host sync.

        Args:
            data (dict): The batch.
            optimizer: Not used; hooks step it.
            forward (callable, optional): Called in place of the model, by wrappers such as DDP.

        Returns:
            dict: `loss` (Tensor), `log_vars` (dict[str, Tensor]) and `num_samples` (int, of this process).
        """
        loss, log_vars = self.parse_losses((forward or self)(**data))
        img = data['img']
        while not isinstance(img, torch.Tensor):  # views, or images by name
            img = next(iter(img.values())) if isinstance(img, dict) else img[0]
        return dict(loss=loss, log_vars=log_vars, num_samples=len(img))

    def val_step(self, data, optimizer=None):
        """The losses of a batch, as train_step."""
        return self.train_step(data, optimizer)

    def compile_parts(self):
        """The networks that `compile=True` compiles in place: all but the loss and what draws or communicates."""
        parts = [getattr(self, 'backbone', None), getattr(self, 'neck', None)]
        parts.append(getattr(getattr(self, 'head', None), 'predictor', None))
        return [part for part in parts if part is not None]

    def _load_from_state_dict(self, state_dict, prefix, *args):
        for old, new in self.renamed_keys.items():
            for key in [k for k in state_dict if k.startswith(prefix + old)]:
                # MMSelfSup stores some networks under both names
                state_dict.setdefault(prefix + new + key[len(prefix + old):], state_dict.pop(key))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _dump_init_info(self, logger_name):
        """mmcv prints two lines a parameter here; the lines printed for each module say the same."""


class BackboneNeckHead(BaseModel):
    """An algorithm of a backbone, a neck and a head, which are built from their configs.

    A neck or head without `in_channels` (or `feat_dim`), or with None, takes the channels of the network before it.

    Args:
        backbone (dict): Config of the backbone.
        neck (dict, optional): Config of the neck.
        head (dict, optional): Config of the head.
        init_cfg (dict, optional): Initialisation.
        with_sobel (bool): See BaseModel.

    Attributes:
        optional_parts (tuple[str]): Which of 'neck' and 'head' the algorithm can do without.
        heads (tuple[str]): Names of the heads of ours whose loss is that of the algorithm; empty for any. It is not for
            subclasses, and heads of other packages are not looked at.
        online_name (str): What MMSelfSup calls the sequence of backbone and neck. It is an attribute here too, and the
            beginning of keys in MMSelfSup's checkpoints.

    Raises:
        ConfigError: A part is absent that the algorithm needs, or the head is that of another algorithm.
    """
    optional_parts = ()
    heads = ()
    online_name = None

    def __init__(self, backbone, neck=None, head=None, init_cfg=None, with_sobel=False):
        super().__init__(init_cfg, with_sobel)
        for part, cfg in dict(neck=neck, head=head).items():
            if cfg is None and part not in self.optional_parts:
                raise ConfigError(
                    f'{type(self).__name__} needs a {part}: model.{part} is None, it must be a config such '
                    'as that of its recipe')
        self.backbone = build_backbone(backbone)
        channels = feature_channels(self.backbone)
        self.neck = None if neck is None else build_neck(fill_in_channels(neck, channels, NECKS))
        if self.neck is not None and not getattr(self.neck, 'keeps_channels', False):
            channels = feature_channels(self.neck)
        elif self.neck is None:
            head = fill_map_channels(head, self.backbone, None, HEADS)
        self.head = None if head is None else build_head(self._fill_head(head, channels))
        kind, heads = type(self.head), vars(type(self)).get('heads')
        if heads and kind.__module__.startswith('mmssl.models.heads') and kind.__name__ not in heads:
            raise ConfigError(f'{type(self).__name__} takes the head {" or ".join(heads)}, model.head is a '
                              f'{kind.__name__}, the loss of another algorithm')

    @staticmethod
    def _fill_head(head, channels):
        if not isinstance(head, dict):
            return head
        if 'predictor' in head:
            head = Completed(head, predictor=fill_in_channels(head['predictor'], channels, NECKS))
        head = fill_in_channels(head, channels, HEADS, 'feat_dim')
        return fill_in_channels(head, channels, HEADS)

    @property
    def renamed_keys(self):
        return {f'{self.online_name}.{i}.': part for i, part in enumerate(('backbone.', 'neck.'))}

    def __getattr__(self, name):
        if name == type(self).online_name:
            return nn.Sequential(self.backbone, self.neck)
        return super().__getattr__(name)
