# Copyright (c) mmssl contributors. All rights reserved.
"""A trained model on single images."""
import numpy as np
import torch
from PIL import Image, ImageOps

from mmssl.datasets.pipelines import Compose
from mmssl.models import build_algorithm
from mmssl.utils.checkpoint import load_weights
from mmssl.utils.config import config_section, load_config
from mmssl.utils.dist import default_device


def init_model(config, checkpoint=None, device=None, options=None):
    """Build a model from its config, ready for inference.

    Args:
        config (str | mmcv.Config): Path or config.
        checkpoint (str, optional): Path of the weights; without it they are random.
        device (str | torch.device, optional): Such as 'cuda:0' or 'cpu'. Default: a GPU where there is one.
        options (dict, optional): Settings of the config to override, by dotted keys.

    Returns:
        nn.Module: The model in evaluation mode, with the config as its attribute `cfg`.
    """
    cfg = load_config(config, options)
    with config_section(cfg, 'model'):
        model = build_algorithm(cfg.model)
    model.init_weights()
    if checkpoint is not None:
        load_weights(model, checkpoint)
    model.cfg = cfg
    return model.to(default_device() if device is None else device).eval()


@torch.no_grad()
def inference_model(model, data):
    """Outputs of a model for one image.

    The image goes through `data.test` or `data.val` of the config, whichever is there: its pipeline, and with
    `prefetch` the normalisation.

    Args:
        model (nn.Module): From init_model.
        data (PIL.Image.Image | ndarray | str | Path): Image, RGB array of H x W x 3, or path of an image.

    Returns:
        What the model's mode 'test' returns, for a batch of one.
    """
    if not isinstance(data, (Image.Image, np.ndarray)):
        data = ImageOps.exif_transpose(Image.open(data))
    if isinstance(data, Image.Image):
        data = np.asarray(data.convert('RGB'))
    cfg = model.cfg
    section = cfg.data.get('test') or cfg.data.get('val')
    if section is None:
        raise ValueError('the config has neither data.test nor data.val, which say how an image is prepared')
    img = Compose(section['pipeline'])(data)
    if not isinstance(img, torch.Tensor):
        norm = cfg.get('img_norm_cfg', dict(mean=[0.], std=[1.]))
        img = torch.from_numpy(np.array(img, dtype=np.float32)).permute(2, 0, 1) / 255
        img = (img - torch.tensor(norm['mean'])[:, None, None]) / torch.tensor(norm['std'])[:, None, None]
    return model(img[None].to(next(model.parameters()).device), mode='test')
