# Copyright (c) mmssl contributors. All rights reserved.
"""A model and images for a picture of what the one makes of the others; see utils/picture_options.py."""
from pathlib import Path

import torch

from mmssl.datasets import PrefetchLoader, SingleViewDataset, build_dataset
from mmssl.datasets.collators import collate
from mmssl.datasets.data_sources.folder import find_images
from mmssl.datasets.data_sources.given import Files
from mmssl.datasets.dataset_wrappers import locate
from mmssl.datasets.loader import KeyedDataset, leaves_stored
from mmssl.datasets.pipelines.base import Step
from mmssl.datasets.pipelines.compose import build_step
from mmssl.datasets.pipelines.crop import CenterCrop
from mmssl.datasets.pipelines.mask import MaskStep
from mmssl.datasets.pipelines.resample import resize
from mmssl.evaluation.features import features_of
from mmssl.evaluation.views import caption_of, choose, normalisation, readable
from mmssl.interop.export import image_channels
from mmssl.models import SimMIM
from mmssl.utils.config import check_sections, config_section, find_section, load_config
from mmssl.utils.errors import ConfigError
from .inference import pretrained_model
from .train import set_random_seed


class _Cover(Step):
    """Scale an image so that it just covers a size, and cut the middle out; one that has the size stays as it is."""

    def __init__(self, size):
        self.crop = CenterCrop(size)

    def apply(self, img):
        scale = max(wanted / found for wanted, found in zip(self.crop.size, img.shape))
        sides = (max(wanted, round(scale * found)) for wanted, found in zip(self.crop.size, img.shape))
        return self.crop(resize(img, *sides, 'bicubic'))


def open_model(args, parts):
    """The config and the model that the options name.

    Args:
        args (argparse.Namespace): Of parse_picture_args.
        parts (Sequence[str]): Parts of the model of which the checkpoint must hold all weights.

    Returns:
        tuple[mmcv.Config, nn.Module]: The model in evaluation mode, on the device of the options.

    Raises:
        ConfigError: There is no such device, or the checkpoint lacks weights.
    """
    cfg = load_config(args.config, args.cfg_options)
    check_sections(cfg, ['model'])
    if args.device and torch.device(args.device).type == 'cuda' and not torch.cuda.is_available():
        raise ConfigError(f'--device {args.device}: there is no GPU here; leave the option out, or use cpu')
    model = pretrained_model(cfg, args.checkpoint, parts, teacher=args.teacher)
    return cfg, model.to(args.device).eval()


def open_images(args, cfg, model):
    """The images that the options name, as the model gets them.

    Files are scaled and cut to `size`, or to the size that the model is for (224 pixels where it is for none). SimMIM
    gets the masks of its config's mask generator. Samples of the config's data come out of their own pipeline.

    Args:
        args (argparse.Namespace): Of parse_picture_args.
        cfg (mmcv.Config): The config.
        model (nn.Module): The algorithm.

    Returns:
        tuple[list[str], Tensor | list, dict | None]: A caption for each image; what the data set gives as `img`, on the
        model's device; and `mean` and `std` of the normalised images.

    Raises:
        FileNotFoundError: There is no such file or folder, or no image in the folder.
        BrokenImageError: An image cannot be read, with args.broken='stop'.
        ConfigError: None can be read; samples or settings that are not there.
    """
    if args.images:
        check_sections(cfg, ['img_norm_cfg'])
        dataset = _dataset_of_files(list(_find_files(args.images, args.samples)), args.size, cfg, model)
        picked = range(len(dataset))
    else:
        section = find_section(cfg, args.data)
        with config_section(cfg, args.data):
            dataset = build_dataset(section)
        picked = choose(len(dataset), args.samples, args.idx)
    set_random_seed(args.seed)
    samples, broken = KeyedDataset(dataset, args.seed, args.broken).__getitems__([(0, idx) for idx in picked])
    picked = readable(picked, broken)
    norm = normalisation(locate(dataset, picked[0])[0]) or cfg.get('img_norm_cfg')
    loader = PrefetchLoader((), device=next(model.parameters()).device, stored=leaves_stored(dataset), **(norm or {}))
    captions = [caption_of(dataset, idx) for idx in picked]
    if args.images:  # the name alone
        captions = [caption.partition('\n')[0] for caption in captions]
    return captions, loader.prepare(collate(samples))['img'], norm


def patch_maps(model, img, layer):
    """Features of the patches of images, B x h x w x D; see features_of.

    Raises:
        ConfigError: A layer that the model lacks, or that has no patches.
    """
    if not layer.endswith('patches'):
        raise ConfigError(f'--layer {layer} has no patches; there are patches and stageN_patches, such as '
                          'stage3_patches')
    try:
        return features_of(model, img, layer)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f'--layer {layer}: {error}') from error


def _find_files(paths, most):
    """The files among paths, and at most so many from each folder, spread evenly over it."""
    for path in map(Path, paths):
        if path.is_dir():
            found = [path / name for name in find_images(str(path))]
            if not found:
                raise FileNotFoundError(f'no images in {path} or the folders in it')
            yield from (str(found[i]) for i in choose(len(found), most))
        elif path.is_file():
            yield str(path)
        else:
            raise FileNotFoundError(f'no such image or folder: {path}')


def _dataset_of_files(files, size, cfg, model):
    backbone, steps = model.backbone, []
    if isinstance(model, SimMIM):
        steps = [build_step(step) for step in find_section(cfg, 'data.train.pipeline')[-1:]]
        if not steps or not isinstance(steps[0], MaskStep):
            raise ConfigError('data.train.pipeline must end with the mask generator of the training')
        if size:
            raise ConfigError(f'--size {size}: the masks of the config are for the images of the training')
        size = [side * backbone.patch_embed.patch_size for side in steps[0].draw_mask().shape]
    if not size:
        grid = getattr(backbone, 'patch_resolution', None)  # a network of convolutions is for no size
        size = [224] if grid is None else [side * backbone.patch_embed.patch_size for side in grid]
    source = Files(None, ann_file=files, color_type='grayscale' if image_channels(model) == 1 else 'color')
    return SingleViewDataset(source, [_Cover(size if len(size) == 2 else size[0]), *steps], prefetch=True)
