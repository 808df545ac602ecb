# Copyright (c) mmssl contributors. All rights reserved.
"""Mixup, CutMix and their kin, of whole batches on the device."""
import torch
from torch.overrides import TorchFunctionMode

from mmssl.utils.errors import ConfigError, nearest


class _OrderOnDevice(TorchFunctionMode):
    """Copies orders that torch.randperm draws on the CPU to a device, where an index on the CPU would wait for it."""

    def __init__(self, device):
        super().__init__()
        self.device = device

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        return out.to(self.device, non_blocking=True) if func is torch.randperm else out


class BatchAugments:
    """One of several batch augmentations of mmcls, drawn anew for each batch.

    Numbers come from the global generators of random, numpy and torch (on the CPU), whose states are in a checkpoint.
    With the probability that those of `augments` leave, images stay as they are.

    Args:
        augments (dict | list[dict]): Such as dict(type='BatchMixup', alpha=0.8, prob=0.5); `num_classes` may be left
            out.
        num_classes (int): Number of classes of the head.

    Raises:
        ConfigError: Another number of classes, or settings that mmcls refuses.
    """

    def __init__(self, augments, num_classes):
        from mmcls.models.utils.augment import Augments
        augments = [augments] if isinstance(augments, dict) else augments
        augments = [{'num_classes': num_classes, **cfg} for cfg in augments]
        for cfg in augments:
            if cfg['num_classes'] != num_classes:
                raise ConfigError(f"train_cfg.augments: {cfg['type']} has num_classes={cfg['num_classes']}, the head "
                                  f'has {num_classes}; leave it out to take that of the head')
        try:
            self.augments = Augments(augments)
        except (AssertionError, KeyError, TypeError) as error:
            raise ConfigError(f'mmcls refuses train_cfg.augments={augments} ({error}): alpha and prob must be floats, '
                              'alpha above 0, and the sum of prob at most 1') from error

    def __call__(self, img, label):
        """Images (N x C x H x W) and labels (N integers) to images and soft labels (N x num_classes)."""
        # CutMix writes into the images, and what is dumped when the loss is no number must be the batch as it came
        with _OrderOnDevice(img.device):
            img, label = self.augments(img.clone(), label)
        return img, label.float()


def build_augments(train_cfg, head):
    """The batch augmentations that `train_cfg=dict(augments=[...])` of a classifier asks for.

    Args:
        train_cfg (dict, optional): Nothing but `augments`.
        head (nn.Module, optional): The head, which knows the number of classes.

    Returns:
        BatchAugments | None: None where there are none.

    Raises:
        ConfigError: Another key, or see BatchAugments.
    """
    for key in train_cfg or ():
        if key != 'augments':
            raise ConfigError(f'train_cfg has the unknown key {key!r}; {nearest(key, ["augments"])}', train_cfg)
    if not train_cfg or not train_cfg.get('augments'):
        return None
    return BatchAugments(train_cfg['augments'], getattr(head, 'num_classes', None))
