# Copyright (c) mmssl contributors. All rights reserved.
"""What every algorithm shares."""
import torch
from mmcv.runner import BaseModule

from mmssl.utils.errors import ConfigError
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


def one_view(img):
    """The images of a batch with one view of each.

    Raises:
        ConfigError: The batch is a list of views.
    """
    if isinstance(img, (list, tuple)):
        raise ConfigError(f'this algorithm takes one view of each image, the data gives a list of {len(img)}; use a '
                          'data set of single images, such as SingleViewDataset, or DeepClusterDataset for DeepCluster')
    return img


def masked_view(img, parts):
    """The parts of a batch whose pipeline ends with a mask generator.

    Args:
        img (list[Tensor]): What the data gives.
        parts (Sequence[str]): What it should give; the last is the mask.

    Returns:
        list[Tensor]: The parts.

    Raises:
        ConfigError: The batch has other parts.
    """
    if not isinstance(img, (list, tuple)) or len(img) != len(parts) or img[-1].dim() != 3:
        given = [tuple(part.shape) for part in img] if isinstance(img, (list, tuple)) else 'one tensor'
        raise ConfigError(f'this algorithm takes {", ".join(parts)} of each image, the data gives {given}: let the '
                          'pipeline end with the mask generator of its recipe')
    return img


class BaseModel(BaseModule):
    """Base class of algorithms: the modes of `forward`, and what a runner calls.

    A subclass builds `backbone` and where needed `neck` and `head`, and defines `forward_train`.

    Args:
        init_cfg (dict, optional): Initialisation.
        with_sobel (bool): Give the backbone edges, two channels, instead of the image.

    Attributes:
        loss_names (tuple[str]): Keys of the result of `forward_train` that are summed to the loss; its other entries
            are logged.
        needs_labels (bool): Whether it cannot be trained on samples without a label.
        is_update_iter (bool): Whether the weights changed since the last iteration; optimizer hooks that accumulate
            gradients set it, so that moving averages step only when there is something new.
        renamed_keys (dict[str, str]): Beginnings of state-dict keys of MMSelfSup's checkpoints, and what they are here.
    """
    loss_names = ('loss', )
    needs_labels = False
    is_update_iter = True
    renamed_keys = {}

    def __init__(self, init_cfg=None, with_sobel=False):
        super().__init__(init_cfg)
        self.sobel_layer = Sobel() if with_sobel else None

    @property
    def with_neck(self):
        return getattr(self, 'neck', None) is not None

    @property
    def with_head(self):
        return getattr(self, 'head', None) is not None

    def extract_feat(self, img):
        """Images, N x C x H x W, to the tuple of maps that the backbone returns."""
        return self.backbone(img if self.sobel_layer is None else self.sobel_layer(img))

    def forward_train(self, img, **kwargs):
        """A batch to a dict of losses and of scalars to log."""
        raise NotImplementedError(f'{type(self).__name__} has no training')

    def forward_test(self, img, **kwargs):
        """Images to a dict of predictions."""
        raise NotImplementedError(f"{type(self).__name__} predicts nothing; use mode='extract' for features")

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
        """
        if mode == 'train':
            return self.forward_train(img, **kwargs)
        if mode == 'test':
            return self.forward_test(img, **kwargs)
        if mode == 'extract':
            return self.extract_feat(img)
        raise ValueError(f'mode must be one of {MODES}, got {mode!r}')

    def parse_losses(self, losses):
        """Sum what `loss_names` declares.

        Args:
            losses (dict[str, Tensor]): What `forward_train` returned.

        Returns:
            tuple[Tensor, dict[str, Tensor]]: The loss, and everything to log as detached 0-dim tensors.

        Raises:
            KeyError: A declared loss is absent.
        """
        absent = [name for name in self.loss_names if name not in losses]
        if absent:
            raise KeyError(f'{type(self).__name__}.loss_names declares {absent[0]!r}, forward_train returned only '
                           f'{list(losses)}')
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
        return dict(loss=loss, log_vars=log_vars, num_samples=len(img[0] if isinstance(img, (list, tuple)) else img))

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
