# Copyright (c) mmssl contributors. All rights reserved.
"""A trained model on single images."""
import numpy as np
import torch
from PIL import Image, ImageOps

from mmssl.datasets.pipelines import Compose
from mmssl.models import build_algorithm
from mmssl.utils.checkpoint import CheckpointError, get_state_dict, load_weights, read_checkpoint, teacher_weights
from mmssl.utils.config import config_section, load_config
from mmssl.utils.dist import default_device
from mmssl.utils.logger import get_root_logger


def init_model(config, checkpoint=None, device=None, options=None):
    """Build a model from its config, ready for inference.

    Args:
        config (str | mmcv.Config): Path or config.
        checkpoint (str, optional): Path of the weights; without it they are random.
        device (str | torch.device, optional): Such as 'cuda:0' or 'cpu'. Default: a GPU where there is one.
        options (dict, optional): Settings of the config to override, by dotted keys.

    Returns:
        nn.Module: The model in evaluation mode, with the config as its attribute `cfg`.

    Raises:
        CheckpointError: The checkpoint lacks weights of the model.
    """
    cfg = load_config(config, options)
    with config_section(cfg, 'model'):
        model = build_algorithm(cfg.model)
    if checkpoint is None:
        model.init_weights()
    else:
        load_weights(model, checkpoint, complete=('', ))
    model.cfg = cfg
    return model.to(default_device() if device is None else device).eval()


def training_source(cfg):
    """The config of the data source that a training takes its images from, None where there is no such.

    Args:
        cfg (mmcv.Config): Of the training. Of several data sets in data.train the first one counts.
    """
    section = cfg.get('data', {}).get('train')
    while True:
        if isinstance(section, (list, tuple)) and section:
            section = section[0]
        elif not isinstance(section, dict):
            return None
        elif 'data_source' in section:
            return section['data_source'] if isinstance(section['data_source'], dict) else None
        else:
            section = section.get('dataset') or section.get('datasets')


def reading_of_folders(cfg):
    """How a tool reads folders of images for a network that was trained on images in their depth and channels.

    Args:
        cfg (mmcv.Config): Of the training.

    Returns:
        dict: Arguments of the data source of data.train with depth='stored' that hold for images of any place: `depth`,
            `nodata`, `layout`, `array_name`, `extensions`, `color_type`. Empty where there is no such source.
    """
    source = training_source(cfg) or {}
    if source.get('depth') != 'stored':
        return {}
    names = ('depth', 'nodata', 'layout', 'array_name', 'extensions', 'color_type')
    return {name: source[name] for name in names if source.get(name) is not None}


def pretrained_model(cfg, checkpoint=None, parts=('backbone', ), logger=None, teacher=False):
    """Build the model of a config for an evaluation of what it learned.

    Args:
        cfg (mmcv.Config): The config.
        checkpoint (str, optional): One of the whole algorithm, or of its backbone alone, whose keys have no prefix.
            Without it, and without a model.init_cfg, there is a warning that weights are random.
        parts (Sequence[str]): Parts of the model that are evaluated: the checkpoint must hold all their weights.
        logger (logging.Logger, optional): For what was loaded; default: mmssl's.
        teacher (bool): Take the moving averages of backbone and neck, such as DINO's teacher; see teacher_weights.

    Returns:
        nn.Module: On the GPU where there is one.

    Raises:
        CheckpointError: Weights of these parts are absent: random ones would be evaluated. There is no teacher.
    """
    logger = logger or get_root_logger()
    with config_section(cfg, 'model'):
        model = build_algorithm(cfg.model)
    if not checkpoint:
        if teacher:
            raise CheckpointError('--teacher is a part of a checkpoint, and none is given')
        model.init_weights()
    else:  # a file that init_cfg began from plays no part any more
        weights = get_state_dict(read_checkpoint(checkpoint))
        alone = model.backbone.state_dict().keys() & weights.keys()
        logger.info(f'{checkpoint}: {"weights of the backbone alone" if alone else "checkpoint of the whole model"}')
        if alone:
            weights = {f'backbone.{key}': value for key, value in weights.items()}
        followers = [name for name in model.momentum_parts if any(key.startswith(f'{name}.') for key in weights)]
        if teacher:
            averaged = {key: value for key, value in weights.items() if key.partition('.')[0] in followers}
            weights = {**averaged, **teacher_weights(weights, checkpoint)}
            logger.info(f'evaluated is the moving average, {", ".join(followers)}')
        elif followers:
            logger.info(
                f'evaluated is the network that was trained; --teacher takes its moving average, {followers[0]}')
        try:
            load_weights(model, weights, logger=logger, complete=parts, source=checkpoint)
        except CheckpointError as error:
            raise CheckpointError(f'{error}. Is the config the one that it was trained with? Its work_dir holds a '
                                  'copy') from error
    if not (checkpoint or cfg.model.get('init_cfg') or cfg.model.backbone.get('init_cfg')):
        logger.warning('no --checkpoint: these are the features of RANDOM weights')
    return model.to(default_device())


def evaluated_parts(layers):
    """Parts of a model whose weights decide about layers of extract_features: the backbone, and neck and head."""
    return ('backbone', *(part for part in ('neck', 'head') if part in layers))


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
        img = torch.from_numpy(np.array(img, dtype=np.float32)).permute(2, 0, 1) / (norm.get('max_value') or 255)
        img = (img - torch.tensor(norm['mean'])[:, None, None]) / torch.tensor(norm['std'])[:, None, None]
    return model(img[None].to(next(model.parameters()).device), mode='test')
