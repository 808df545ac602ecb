# Copyright (c) mmssl contributors. All rights reserved.
"""Networks by name: ours, timm's and torchvision's."""
import re
from dataclasses import dataclass

from mmssl.utils.errors import ConfigError, nearest

# depths of mmssl.models.backbones.ResNet
RESNETS = (10, 18, 34, 50, 101, 152, 200)
SMALL_SIZE = 40  # pixels up to which a network looks at each of them: a 3x3 stem, and no max pool
# name -> arch of the vision transformers
VITS = dict(
    vit_mini=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=256),
    vit_tiny='deit-tiny',
    vit_small='deit-small',
    vit_base='base',
    vit_large='large',
    vit_huge='huge')
SWINS = dict(
    swin_mini=dict(embed_dims=48, depths=[2, 2], num_heads=[2, 4]),
    swin_tiny='tiny',
    swin_small='small',
    swin_base='base')
_DYNAMIC = ('vision_transformer', 'deit')  # modules of timm whose networks can take images of several sizes
NAMES = (*(f'resnet{depth}' for depth in RESNETS), *(f'resnet{depth}-narrow' for depth in RESNETS[:3]), *VITS, *SWINS)


def kind_of(name):
    """What family a name is of.

    Args:
        name (str): One of NAMES, 'timm:NAME' or 'torchvision:NAME'.

    Returns:
        str: 'resnet', 'vit', 'swin', 'timm' or 'torchvision'.

    Raises:
        ConfigError: It is none of these.
    """
    for prefix in ('timm', 'torchvision'):
        if name.startswith(f'{prefix}:'):
            return prefix
    name = normalised(name)
    if name not in NAMES:
        raise ConfigError(
            f'there is no network {name!r}, and `mmssl models` lists all (timm:NAME and torchvision:NAME take '
            f'theirs); {nearest(name, NAMES, "ours are")}')
    return 'vit' if name in VITS else 'swin' if name in SWINS else 'resnet'


def normalised(name):
    """A name as it stands in NAMES: in lower case, 'vit-small' as 'vit_small'."""
    return name if ':' in name else re.sub(r'^(vit|swin)-', r'\1_', name.lower())


def resnet_config(name, size, channels, norm='BN'):
    """The config of a ResNet by its name.

    Args:
        name (str): 'resnet18', or 'resnet10-narrow': half as wide, and each stage halves the map.
        size (int): Side of the images in pixels; up to SMALL_SIZE the stem keeps the size.
        channels (int): Of the images.
        norm (str): Type of its norms.

    Returns:
        dict: The config.
    """
    depth = int(re.search(r'\d+', name)[0])
    cfg = dict(
        type='ResNet_CIFAR' if size <= SMALL_SIZE else 'ResNet',
        depth=depth,
        in_channels=channels,
        out_indices=[4],
        norm_cfg=dict(type=norm))
    if name.endswith('-narrow'):
        cfg.update(stem_channels=32, base_channels=32)
        if size <= SMALL_SIZE:
            cfg.update(strides=(2, 2, 2, 2))
    return cfg


def wrapped_config(name, channels, size):
    """The config of a network of timm or torchvision.

    Args:
        name (str): 'timm:NAME' or 'torchvision:NAME'.
        channels (int): Of the images.
        size (int): Side of the images in pixels, for transformers.

    Returns:
        dict: The config.

    Raises:
        ConfigError: There is no such network, timm is not installed, or the size is no multiple of the patches.
    """
    package, _, name = name.partition(':')
    if package == 'torchvision':
        from torchvision.models import list_models
        if name not in list_models():
            raise ConfigError(f'torchvision has no network {name!r}; {nearest(name, list_models())}')
        cfg = dict(type='TorchvisionBackbone', model_name=name, in_channels=channels)
        if name.startswith('vit_'):
            patch = int(name.rpartition('_')[2])
            if size % patch:
                raise ConfigError(
                    f'torchvision:{name} divides images into patches of {patch} pixels, and the views have '
                    f'{size}: --set image_size={patch * max(1, round(size / patch))}')
            cfg['image_size'] = size
        return cfg
    try:
        import timm
    except ImportError:
        raise ConfigError(f'timm:{name} needs the package timm: pip install timm') from None
    if not timm.is_model(name):
        raise ConfigError(f'timm has no network {name!r}; {nearest(name, timm.list_models())}')
    cfg = dict(type='TIMMBackbone', model_name=name, in_channels=channels)
    fixed = timm.get_pretrained_cfg(name)
    if fixed is not None and getattr(fixed, 'fixed_input_size', False):
        cfg['img_size'] = size
        if timm.model_entrypoint(name).__module__.rpartition('.')[2] in _DYNAMIC:
            cfg.update(dynamic_img_size=True, dynamic_img_pad=True)  # small crops, or patches of an image
    return cfg


@dataclass(frozen=True)
class Shape:
    """What a backbone makes of an image.

    Attributes:
        width (int): Channels of its last map.
        side (int): Of that map, in positions; 1 where it is a vector.
        numbers (int): Values of all layers together, which a training keeps for the gradients.
    """
    width: int
    side: int
    numbers: int


def shape_of(cfg, size):
    """Pass an image through a backbone.

    Args:
        cfg (dict): Its config.
        size (int): Side of the image in pixels.

    Returns:
        Shape: What came out.
    """
    import torch

    from mmssl.models import build_backbone
    cfg = {key: value for key, value in cfg.items() if key != 'init_cfg'}
    if cfg['type'] in ('TIMMBackbone', 'TorchvisionBackbone'):
        cfg.update(dict(pretrained=False) if cfg['type'] == 'TIMMBackbone' else dict(weights=None))
    numbers = []

    def count(module, inputs, output):
        if isinstance(output, torch.Tensor):
            numbers.append(output.numel())

    state = torch.get_rng_state()
    try:
        network = build_backbone(cfg).eval()
        for module in network.modules():
            if not any(True for _ in module.children()):
                module.register_forward_hook(count)
        with torch.no_grad():
            maps = network(torch.zeros(1, cfg.get('in_channels', 3), size, size))
    finally:
        torch.set_rng_state(state)
    last = maps[-1] if isinstance(maps, (tuple, list)) else maps
    last = last[0] if isinstance(last, (tuple, list)) else last
    return Shape(last.shape[1], last.shape[-1] if last.ndim == 4 else 1, sum(numbers))
