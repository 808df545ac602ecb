# Copyright (c) mmssl contributors. All rights reserved.
"""Networks of timm and torchvision as backbones. Both libraries are imported when a network is built."""
import torch
from mmcv.cnn import initialize
from torch import nn

from mmssl.utils.errors import ConfigError, nearest
from ..builder import BACKBONES
from ..utils.channels import check_image_channels
from ..utils.stages import check_stages


def _tokens_to_map(tokens, size=None, num_prefix=None):
    """Tokens of a transformer, N x L x C, as a map N x C x H x W.

    Args:
        size (tuple[int], optional): H and W; by default the map is square.
        num_prefix (int, optional): Leading tokens, such as class tokens, that are no part of the map; by default as
            many as exceed a square.
    """
    side = int(tokens.shape[1]**0.5)
    tokens = tokens[:, tokens.shape[1] - side**2 if num_prefix is None else num_prefix:]
    return tokens.transpose(1, 2).unflatten(2, size or (side, side))


class _Wrapper(nn.Module):
    """A network that has initialised itself: `init_weights` changes nothing unless there is an init_cfg."""
    init_cfg = None

    def init_weights(self):
        if self.init_cfg:
            initialize(self, self.init_cfg)


@BACKBONES.register_module()
class TIMMBackbone(_Wrapper):
    """A network of timm.

    Args:
        model_name (str): Name in timm, such as 'resnet18'.
        features_only (bool): Return the maps of several stages instead of the last one. `out_indices` chooses them and
            their order; an integer takes so many from the end.
        pretrained (bool): Load timm's weights (from its cache or the network).
        checkpoint_path (str): Weights to load.
        in_channels (int): Channels of the image.
        init_cfg (dict, optional): Initialisation after timm's own.
        kwargs: Passed on to timm.create_model.

    Raises:
        ConfigError: timm has no such network, or the network no such stages.
    """

    def __init__(self,
                 model_name,
                 features_only=False,
                 pretrained=False,
                 checkpoint_path='',
                 in_channels=3,
                 init_cfg=None,
                 **kwargs):
        import timm
        super().__init__()
        self.init_cfg = init_cfg
        self.in_channels = in_channels
        # names with a tag or a hub address, 'resnet18.a1_in1k' or 'hf-hub:...', are timm's to judge
        if not timm.is_model(model_name) and not set(model_name) & set('.:'):
            raise ConfigError(f'timm {timm.__version__} has no model {model_name!r}; '
                              f'{nearest(model_name, timm.list_models())}')
        try:
            self.timm_model = timm.create_model(
                model_name,
                pretrained=pretrained,
                features_only=features_only,
                in_chans=in_channels,
                checkpoint_path=checkpoint_path,
                **kwargs)
        except IndexError as error:
            raise ConfigError(f"{model_name} has no stages {kwargs.get('out_indices')} (out_indices)") from error
        self.places = None
        if not features_only:
            self.timm_model.reset_classifier(0, '')
        elif isinstance(kwargs.get('out_indices'), (list, tuple)):
            # timm gives each stage once, in ascending order
            count = len(self.timm_model.feature_info.info)
            check_stages(kwargs['out_indices'], -count, count - 1)
            stages = [i % count for i in kwargs['out_indices']]
            self.places = [sorted(set(stages)).index(i) for i in stages]

    def forward(self, x):
        """Tuple of maps N x C x H x W."""
        check_image_channels(x.shape[1], self.in_channels)
        model = self.timm_model
        channels_last = getattr(model, 'output_fmt', 'NCHW') == 'NHWC'
        maps = model(x)
        if torch.is_tensor(maps) and maps.dim() == 3:
            size = model.patch_embed.dynamic_feat_size(x.shape[-2:]) if hasattr(model, 'patch_embed') else None
            return (_tokens_to_map(maps, size, getattr(model, 'num_prefix_tokens', 0)), )
        if torch.is_tensor(maps):
            maps = [maps]
        maps = [m.permute(0, 3, 1, 2) if channels_last else m for m in maps]
        return tuple(maps if self.places is None else [maps[place] for place in self.places])


@BACKBONES.register_module()
class TorchvisionBackbone(_Wrapper):
    """A classification network of torchvision, cut before its pooling.

    Args:
        model_name (str): Name in torchvision, such as 'resnet18'.
        weights (str, optional): torchvision's name of trained weights, such as 'DEFAULT' (cache or network).
        in_channels (int): Channels of the image; the first convolution is made anew where it is not 3.
        return_nodes (Sequence[str], optional): Names of the nodes to return, in this order (see
            torchvision.models.feature_extraction.get_graph_node_names); by default the last map of the network.
        init_cfg (dict, optional): Initialisation after torchvision's own.
        kwargs: Passed on to torchvision.models.get_model.
    """

    def __init__(self, model_name, weights=None, in_channels=3, return_nodes=None, init_cfg=None, **kwargs):
        from torchvision.models import get_model
        from torchvision.models.feature_extraction import create_feature_extractor
        super().__init__()
        self.init_cfg = init_cfg
        self.in_channels = in_channels
        model = get_model(model_name, weights=weights, **kwargs)
        if in_channels != 3:
            self._replace_first_conv(model, in_channels)
        self.return_nodes = list(return_nodes or [self._last_map(model, in_channels)])
        self.model = create_feature_extractor(model, self.return_nodes)

    @staticmethod
    def _replace_first_conv(model, in_channels):
        name, conv = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
        new = nn.Conv2d(
            in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, bias=conv.bias is not None)
        parent, _, child = name.rpartition('.')
        setattr(model.get_submodule(parent), child, new)

    @staticmethod
    @torch.no_grad()
    def _last_map(model, in_channels):
        """Name of the last node before the classifier that still has spatial positions."""
        from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names
        training = model.training
        names = [
            name for name in get_graph_node_names(model)[1][1:] if not name.startswith(('classifier', 'head', 'fc'))
        ]
        nodes = create_feature_extractor(model, eval_return_nodes=names, train_return_nodes=names[:1]).eval()
        outs = nodes(torch.zeros(1, in_channels, 224, 224))
        model.train(training)
        return [
            name for name, out in outs.items() if torch.is_tensor(out) and (
                out.dim() == 4 and out.shape[2:].numel() > 1 or out.dim() == 3 and out.shape[1] > 1)
        ][-1]

    def forward(self, x):
        """Tuple of maps N x C x H x W."""
        check_image_channels(x.shape[1], self.in_channels)
        outs = self.model(x)  # in the order of the network
        maps = [outs[node] for node in self.return_nodes]
        return tuple(_tokens_to_map(m) if m.dim() == 3 else m for m in maps)
