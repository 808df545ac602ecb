# Copyright (c) mmssl contributors. All rights reserved.
"""A network in the place of another: what else in the config of a model has to have its width and its patches."""
from mmssl.utils.errors import ConfigError
from . import networks

_VIT = 'VisionTransformer'


def put_network(model, name, size, channels, patch):
    """Put a network into a model, and make the rest of it fit.

    Args:
        model (dict): Config of the model, which is changed.
        name (str): One of networks.NAMES, 'timm:NAME', 'torchvision:NAME'; '' keeps the network and fits it to size
            and channels.
        size (int): Side of the large views in pixels.
        channels (int): Of the images.
        patch (int): Side of a patch of transformers in pixels.

    Returns:
        networks.Shape: What it makes of an image.

    Raises:
        ConfigError: The method cannot have such a network.
    """
    old = model['backbone']
    family = networks.kind_of(name) if name else None
    if family is None:
        new = dict(old)
    elif family == 'resnet':
        new = networks.resnet_config(networks.normalised(name), size, channels)
    elif family in ('timm', 'torchvision'):
        new = networks.wrapped_config(name, channels, size)
    else:
        archs = networks.VITS if family == 'vit' else networks.SWINS
        new = dict(old) if 'arch' in old else dict(type=_VIT, drop_path_rate=0., output_cls_token=False)
        new['arch'] = archs[networks.normalised(name)]
        if family == 'swin':
            new['out_indices'] = [len(new['arch']['depths']) - 1 if isinstance(new['arch'], dict) else 3]
    if family in ('resnet', 'timm', 'torchvision') and 'norm_cfg' in old and old['norm_cfg']['type'] == 'SplitBN':
        new['norm_cfg'] = dict(old['norm_cfg'])  # which the method needs
    if 'in_channels' in new or channels != 3 or family is not None:
        new['in_channels'] = channels
    if model.get('with_sobel'):
        new['in_channels'] = 2
    if 'arch' in new:
        new.update(img_size=size)
        if 'Swin' not in new['type']:
            new.update(patch_size=patch)
    model['backbone'] = new
    return fit_to_network(model, size, channels, patch)


def fit_to_network(model, size, channels, patch):
    """Give what comes behind a backbone its width, and the patches of a transformer.

    Args:
        model, size, channels, patch: See put_network.

    Returns:
        networks.Shape: What the backbone makes of an image.
    """
    backbone = model['backbone']
    shape = networks.shape_of(_plain(backbone), size)
    _fit_necks(model, shape.width)
    if 'arch' in backbone:
        _fit_patches(model, backbone, shape.width, size, channels, patch)
    return shape


def _plain(backbone):
    """The plain network behind a backbone that only works in its method, such as one that masks."""
    if 'arch' in backbone:
        kind = 'SwinTransformer' if 'Swin' in backbone['type'] else _VIT
        kept = ('arch', 'img_size', 'patch_size', 'in_channels', 'out_indices', 'stage_cfgs')
        return dict({key: backbone[key] for key in kept if key in backbone}, type=kind)
    return {key: value for key, value in backbone.items() if key != 'norm_cfg'}


def _fit_necks(model, width):
    """Widths of what comes behind the backbone."""
    for name in ('neck', 'patch_neck'):
        neck = model.get(name)
        if neck is None:
            continue
        kind = neck['type']
        if kind in ('AvgPool2dNeck', 'ChainNeck', 'MapNeck') or kind.startswith(('MAE', 'CAE', 'SimMIM')):
            continue
        if 'in_channels' in neck or kind in ('LinearNeck', 'NonLinearNeck', 'MoCoV2Neck', 'ODCNeck', 'RelativeLocNeck',
                                             'DenseCLNeck', 'SwAVNeck'):
            neck['in_channels'] = width
        elif kind == 'MLPNeck' and len(
                neck['channels']) > 2 and model['type'] in ('SwAV', 'SwAVMomentum', 'DeepClusterV2'):
            neck['channels'] = [width, *neck['channels'][1:]]
    head = model.get('head') or {}
    if 'in_channels' in head and (model.get('neck') is None or model['neck']['type'] == 'AvgPool2dNeck'):
        head['in_channels'] = width


def _fit_patches(model, backbone, width, size, channels, patch):
    """What predicts patches."""
    neck, head, side = model.get('neck') or {}, model.get('head') or {}, size // patch
    kind = neck.get('type')
    if kind == 'MAEPretrainDecoder':
        neck.update(num_patches=side**2, patch_size=patch, in_chans=channels, embed_dim=width)
        if width < 384:
            neck.update(decoder_embed_dim=width, decoder_num_heads=4, decoder_depth=min(2, neck['decoder_depth']))
        head['patch_size'] = patch
    elif kind == 'CAENeck':
        arch = backbone['arch']
        heads = arch['num_heads'] if isinstance(arch, dict) else max(1, width // 64)
        neck.update(embed_dims=width, num_heads=heads, patch_size=patch)
        # those of digits have a random tokenizer, and words of it; the user's is that of DALL-E
        neck.pop('num_classes', None), head.pop('random_tokenizer', None)
    elif kind == 'IJEPAPredictor':
        neck['embed_dims'] = max(32, width // 2)
        neck['num_heads'] = 4 if neck['embed_dims'] < 192 else 6
    elif kind == 'SimMIMNeck':
        stages = len(backbone['arch']['depths']) if isinstance(backbone['arch'], dict) else 4
        stride = 4 * 2**(stages - 1)
        neck.update(in_channels=width, encoder_stride=stride, out_channels=channels)
        head.update(patch_size=4, encoder_in_channels=channels)
        window = max(1, size // stride)
        backbone['stage_cfgs'] = dict(block_cfgs=dict(window_size=window))
    if head.get('type') == 'MaskFeatPretrainHead':
        hog = model.get('hog_para', {})
        pool = max(1, patch // 2) if patch > 4 else patch
        model['hog_para'] = dict(hog, pool=pool, gaussian_window=hog.get('gaussian_window', 0) and patch)
        head.update(embed_dim=width, hog_dim=channels * hog.get('nbins', 9) * (patch // pool)**2)
    if model['type'] == 'CAE' and channels != 3:
        raise ConfigError(f'CAE has a tokenizer of photographs, of 3 channels; the images have {channels}: take MAE '
                          '(--method mae)')


def fit_projectors(model, width):
    """Keep projectors from being much wider than the network needs.

    Args:
        model (dict): Config of the model, which is changed.
        width (int): Channels of the backbone.
    """
    most = max(256, 4 * width)
    neck, head = model.get('neck') or {}, model.get('head') or {}
    predictor = head.get('predictor') or {}
    for part in (neck, predictor):
        if isinstance(part.get('hid_channels'), int) and part['hid_channels'] > most:
            part['hid_channels'] = most
    old = neck.get('out_channels')
    if neck.get('type') == 'NonLinearNeck' and isinstance(old, int) and old > most:
        neck['out_channels'] = most
        for part, names in ((model, ('feat_dim', )), (head, ('in_channels', )), (predictor, ('in_channels',
                                                                                             'out_channels'))):
            for name in names:
                if part.get(name) == old:
                    part[name] = most
