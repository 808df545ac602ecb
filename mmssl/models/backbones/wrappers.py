# Copyright (c) mmssl contributors. All rights reserved.
"""Networks of timm and torchvision as backbones. Both libraries are imported when a network is built."""
import copy
import re

import torch
from mmcv.cnn import initialize
from torch import nn

from mmssl.utils.errors import ConfigError, nearest
from ..builder import BACKBONES
from ..utils.channels import check_image_channels
from ..utils.norm import SplitBatchNorm, SyncBatchNorm, convert_batch_norms
from ..utils.stages import check_stages, stage_numbers

# what torch.fx must not look into: what they do depends on the device and on the processes
_LEAVES = SyncBatchNorm, SplitBatchNorm


def _tracing(leaves=_LEAVES):
    return dict(leaf_modules=list(leaves))


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


class TIMMNetwork(_Wrapper):
    """What all networks of timm have in common; a subclass makes the network and calls `wrap`."""
    norm_stages = False

    def wrap(self, model, in_channels, out_indices, norm_stages=False):
        """Take a network.

        Args:
            model (nn.Module): The network, without a classifier.
            in_channels (int): Channels of the image.
            out_indices (Sequence[int | str] | None): See TIMMBackbone.
            norm_stages (bool): See TIMMBackbone.
        """
        self.in_channels = in_channels
        self.timm_model = model
        self.norm_stages = norm_stages
        self.stage_names = [entry['module'] for entry in getattr(model, 'feature_info', ())]
        # one more than the last stage is what the whole network gives
        self.num_stages = len(self.stage_names) + 1
        self.out_indices = (self.num_stages - 1, )
        if out_indices is not None:
            if not hasattr(model, 'forward_intermediates'):
                raise ConfigError(f'{type(model).__name__} of timm gives stages with features_only=True alone')
            self.out_indices = stage_numbers(out_indices, self.stage_names, beyond=1)

    @property
    def out_channels(self):
        """list[int]: Channels of the maps that are returned."""
        info, model = self.timm_model.feature_info, self.timm_model
        # MobileNetV3 and its kin have one more convolution behind the features
        whole = getattr(model, 'head_hidden_size', None) or getattr(model, 'num_features', None)
        return [info[i]['num_chs'] if i < len(self.stage_names) else whole for i in self.out_indices]

    def forward(self, x):
        """Tuple of maps N x C x H x W."""
        check_image_channels(x.shape[1], self.in_channels)
        last = self.num_stages - 1
        stages = sorted(set(self.out_indices) - {last})
        if not stages:
            return (self._as_map(self.timm_model(x), x), ) * len(self.out_indices)
        out = self.timm_model.forward_intermediates(
            x,
            indices=stages,
            norm=self.norm_stages,
            stop_early=last not in self.out_indices,
            intermediates_only=last not in self.out_indices)
        maps = dict(zip(stages, out))
        if last in self.out_indices:
            maps = dict(zip(stages, out[1]))
            maps[last] = self._as_map(self.timm_model.forward_head(out[0]), x)
        return tuple(maps[i] for i in self.out_indices)

    def _as_map(self, out, x):
        """What the whole network gives, as N x C x H x W."""
        model = self.timm_model
        if out.dim() == 3:
            embed = getattr(model, 'patch_embed', None)
            size = embed.dynamic_feat_size(x.shape[-2:]) if hasattr(embed, 'dynamic_feat_size') else None
            return _tokens_to_map(out, size, getattr(model, 'num_prefix_tokens', 0))
        return out.permute(0, 3, 1, 2) if getattr(model, 'output_fmt', 'NCHW') == 'NHWC' else out


@BACKBONES.register_module()
class TIMMBackbone(TIMMNetwork):
    """A network of timm.

    Args:
        model_name (str): Name in timm, such as 'resnet18'.
        features_only (bool): Have timm rebuild the network for several stages, with the names of weights that it gives
            them then. `out_indices` chooses them and their order; an integer takes so many from the end. Without it the
            names are those of the plain network, whatever stages are asked for.
        pretrained (bool): Load timm's weights (from its cache or the network); not on the meta device.
        checkpoint_path (str): Weights to load.
        in_channels (int): Channels of the image.
        init_cfg (dict, optional): Initialisation after timm's own.
        out_indices (int | Sequence[int | str], optional): Stages whose maps are returned, in this order, as numbers
            from 0 or by timm's names (`feature_info`), such as 'layer2' of a ResNet or 'blocks.5' of a ViT; negative
            ones count from the last stage. One more than the last stage is what the whole network gives, with its last
            norm or convolution, which is the default. Stages behind the last of them are not run.
        norm_stages (bool): Put stages of a transformer through its last norm.
        norm_cfg (dict, optional): Kind of batch norm instead of timm's own: dict(type='SyncBN'), or SplitBN.
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
                 out_indices=None,
                 norm_stages=False,
                 norm_cfg=None,
                 **kwargs):
        import timm
        super().__init__()
        self.init_cfg = init_cfg
        # names with a tag or a hub address, 'resnet18.a1_in1k' or 'hf-hub:...', are timm's to judge
        if not timm.is_model(model_name) and not set(model_name) & set('.:'):
            raise ConfigError(f'timm {timm.__version__} has no model {model_name!r}; '
                              f'{nearest(model_name, timm.list_models())}')
        if features_only and out_indices is not None:
            kwargs['out_indices'] = out_indices
        if torch.empty(0).is_meta:  # shapes alone are asked for, as by plot_schedule.py: there is nothing to load
            pretrained, checkpoint_path = False, ''
        try:
            model = timm.create_model(
                model_name,
                pretrained=pretrained,
                features_only=features_only,
                in_chans=in_channels,
                checkpoint_path=checkpoint_path,
                **kwargs)
        except (IndexError, AssertionError, TypeError) as error:
            if not features_only or out_indices is None:
                raise
            raise ConfigError(f'{model_name} has no stages {out_indices} (out_indices; with features_only=True they '
                              'are numbers)') from error
        if norm_cfg is not None:
            model = convert_batch_norms(model, norm_cfg)
        if not features_only:
            model.reset_classifier(0, '')
        self.wrap(model, in_channels, None if features_only else out_indices, norm_stages)
        self.features_only = features_only
        if features_only:
            info, count = model.feature_info, len(model.feature_info.info)
            indices = info.out_indices if out_indices is None or isinstance(out_indices, int) else out_indices
            check_stages(indices, -count, count - 1)
            self.out_indices = tuple(i % count for i in indices)
            # timm gives each stage once, in ascending order
            self._given = sorted(set(self.out_indices))

    def forward(self, x):
        """Tuple of maps N x C x H x W."""
        if not self.features_only:
            return super().forward(x)
        check_image_channels(x.shape[1], self.in_channels)
        model = self.timm_model
        channels_last = getattr(model, 'output_fmt', 'NCHW') == 'NHWC'
        maps = dict(zip(self._given, (m.permute(0, 3, 1, 2) if channels_last else m for m in model(x))))
        absent = [i for i in self.out_indices if i not in maps]
        if absent:
            raise ConfigError(f'with features_only=True timm has left out all stages but {self._given}, stage '
                              f'{absent[0]} is asked for: set features_only=False, or name it in out_indices')
        return tuple(maps[i] for i in self.out_indices)


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
        out_indices (Sequence[int], optional): Stages whose maps are returned, in this order, instead of nodes. A stage
            ends with the last map of one size (of a ResNet: 0 is the stem, 1 to 4 are the layers); those of a vision
            transformer are its layers. Negative ones count from the last stage; one more than the last is the last map
            of all, the default. Weights of stages behind the last of them are not kept.
        norm_cfg (dict, optional): Kind of batch norm instead of torchvision's own: dict(type='SyncBN'), or SplitBN.
        kwargs: Passed on to torchvision.models.get_model.

    Raises:
        ConfigError: The network has no such nodes or stages.
    """

    def __init__(self,
                 model_name,
                 weights=None,
                 in_channels=3,
                 return_nodes=None,
                 init_cfg=None,
                 out_indices=None,
                 norm_cfg=None,
                 **kwargs):
        from torchvision.models import get_model, list_models
        super().__init__()
        self.init_cfg = init_cfg
        self.in_channels = in_channels
        if model_name not in list_models():
            raise ConfigError(f'torchvision has no model {model_name!r}; {nearest(model_name, list_models())}')
        if return_nodes and out_indices is not None:
            raise ConfigError(f'give return_nodes or out_indices, not both; got {return_nodes!r} and {out_indices!r}')
        model = get_model(model_name, weights=weights, **kwargs)
        if in_channels != 3:
            self._replace_first_conv(model, in_channels)
        if norm_cfg is not None:
            model = convert_batch_norms(model, norm_cfg)
        if return_nodes:
            self._check_nodes(model, return_nodes)
            self._nodes, self._channels_last = list(return_nodes), ()
            self.out_indices = tuple(range(len(self._nodes)))
        else:
            self._find_stages(model, in_channels)
            last = len(self._nodes) - 1
            self.out_indices = (last, ) if out_indices is None else stage_numbers(
                out_indices, self._nodes[:-1], beyond=1)
        self.num_stages = len(self._nodes)
        self._whole = [model]  # no part of this module: for stages that evaluation asks for besides
        self._others = {}
        self._leaves = _LEAVES
        self._own = self._key()
        self.model = self._extract(model, self.return_nodes)
        for name in ('classifier', 'fc', 'heads'):  # VGG's alone has 124 million weights
            if hasattr(model, name):
                setattr(model, name, nn.Identity())

    @property
    def return_nodes(self):
        """list[str]: Names of the nodes that are returned."""
        return [self._nodes[i] for i in self.out_indices]

    @staticmethod
    def _replace_first_conv(model, in_channels):
        name, conv = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
        new = nn.Conv2d(
            in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, bias=conv.bias is not None)
        parent, _, child = name.rpartition('.')
        setattr(model.get_submodule(parent), child, new)

    @staticmethod
    def _check_nodes(model, nodes):
        from torchvision.models.feature_extraction import get_graph_node_names
        known = TorchvisionBackbone._node_names(get_graph_node_names(model, _tracing())[1])
        for node in nodes:
            if node not in known:
                raise ConfigError(f'{type(model).__name__} of torchvision has no node {node!r} (return_nodes); '
                                  f'{nearest(node, known)}')

    @staticmethod
    def _node_names(leaves):
        """Names of nodes, and of the modules that they are in."""
        return {'.'.join(name.split('.')[:i + 1]): None for name in leaves for i in range(name.count('.') + 1)}

    @staticmethod
    def _blank(model, in_channels):
        """An image of the size that the network is for."""
        size = getattr(model, 'image_size', 224)
        weight = next(model.parameters())
        return torch.zeros(1, in_channels, size, size, device=weight.device, dtype=weight.dtype)

    @property
    @torch.no_grad()
    def out_channels(self):
        """list[int]: Channels of the maps that are returned, found by a forward pass."""
        modes = [(module, module.training) for module in self.modules()]
        maps = self.eval()(self._blank(self._whole[0], self.in_channels))
        for module, mode in modes:
            module.training = mode
        return [m.shape[1] for m in maps]

    @torch.no_grad()
    def _find_stages(self, model, in_channels):
        """The nodes that end stages, and the last one before the classifier that still has spatial positions."""
        from torchvision.models import SwinTransformer
        from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names
        training = model.training
        names = [
            name for name in get_graph_node_names(model, _tracing())[1][1:]
            if not name.startswith(('classifier', 'head', 'fc'))
        ]
        nodes = create_feature_extractor(
            model, eval_return_nodes=names, train_return_nodes=names[:1], tracer_kwargs=_tracing()).eval()
        image = self._blank(model, in_channels)
        outs = nodes(image)
        last = [
            name for name, out in outs.items() if torch.is_tensor(out) and (
                out.dim() == 4 and out.shape[2:].numel() > 1 or out.dim() == 3 and out.shape[1] > 1)
        ][-1]
        # the parts of the network, in the order in which they run, and the sizes of their maps
        swin, sizes = isinstance(model, SwinTransformer), {}

        def note(name, out):
            if torch.is_tensor(out) and out.dim() == 4:
                size = tuple(out.shape[1:3] if swin else out.shape[2:])  # the blocks of Swin are N x H x W x C
                if size != (1, 1):
                    sizes[size] = name

        handles = [
            part.register_forward_hook(lambda _, __, out, name=name: note(name, out))
            for name, part in self._parts(model)
        ]
        model.eval()(image)
        model.train(training)
        for handle in handles:
            handle.remove()
        layers = [
            name for name, _ in model.named_modules() if re.fullmatch(r'encoder\.layers\.encoder_layer_\d+', name)
        ]
        known = self._node_names(names)
        # a module that is used in several places has the name of the first of them: the part around it will do
        sizes = {size: name if name in known else name.rpartition('.')[0] for size, name in sizes.items()}
        self._nodes = [*(layers or sizes.values()), last]
        self._channels_last = set(sizes.values()) if swin else ()

    @staticmethod
    def _parts(model):
        """Names and modules of the parts of a network, those of a sequence one by one, but for the classifier."""
        for name, part in model.named_children():
            if name in ('avgpool', 'classifier', 'head', 'fc', 'permute'):
                continue
            if isinstance(part, (nn.Sequential, nn.ModuleList)):
                for child, inner in part.named_children():
                    yield f'{name}.{child}', inner
            else:
                yield name, part

    @property
    def network(self):
        """nn.Module: torchvision's network, whose layers the wrapper calls one by one."""
        return self._whole[0]

    def call_whole(self, kinds):
        """Call modules of some classes as such, by their `forward`, instead of the layers in them.

        Args:
            kinds (Iterable[type]): The classes.

        Raises:
            ConfigError: A node that is returned lies within such a module.
        """
        from torchvision.models.feature_extraction import get_graph_node_names
        names, nodes = get_graph_node_names(self.network, _tracing())[1], list(self._nodes)
        whole = [name for name, module in self.network.named_modules() if type(module) in kinds]
        for i, node in enumerate(nodes):
            block = next((block for block in whole if node.startswith(f'{block}.')), None)
            if block is not None and node != [name for name in names if name.startswith(f'{block}.')][-1]:
                if i not in self.out_indices:
                    continue
                raise ConfigError(f'{node} (return_nodes) lies within {block}, which is called as a whole')
            nodes[i] = block or node
        self._nodes, self._others = nodes, {}
        self._leaves = *_LEAVES, *kinds
        self.model = self._extract(self.network, self.return_nodes, self._leaves).train(self.training)

    @staticmethod
    def _extract(model, nodes, leaves=_LEAVES):
        from torchvision.models.feature_extraction import create_feature_extractor

        # it changes the mode of the modules, which the network shares with other extractors
        modes = [(module, module.training) for module in model.modules()]
        extractor = create_feature_extractor(model, list(nodes), tracer_kwargs=_tracing(leaves))
        for module, mode in modes:
            module.training = mode
        # assertions, as vision transformers have them, keep alive what stands behind the last node that is returned
        for graph in (extractor.train_graph, extractor.eval_graph):
            order = list(graph.nodes)
            last = max(order.index(node) for node in order[-1].all_input_nodes)
            for node in order[last + 1:]:
                if node.target is torch._assert:
                    graph.erase_node(node)
            graph.eliminate_dead_code()
        extractor.recompile()
        extractor.delete_all_unused_submodules()
        return extractor

    def __deepcopy__(self, memo):
        copied = memo[id(self)] = type(self).__new__(type(self))
        copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
        for module, new in zip(self.modules(), copied.modules(), strict=True):
            new.training = module.training  # torchvision's graphs come out of a copy in training mode
        return copied

    def _key(self):
        return tuple(sorted(set(self.out_indices)))

    def _extractor(self):
        """The part of the network that gives the nodes; its modules are those of `model`."""
        key = self._key()
        extractor = self.model if key == self._own else self._others.get(key)
        if extractor is None:
            extractor = self._extract(self.network, self.return_nodes, self._leaves)
            own = {id(weight) for weight in self.model.parameters()}
            if any(id(weight) not in own for weight in extractor.parameters()):
                raise ConfigError(f'stages {list(self.out_indices)} are asked for, and the network was cut behind '
                                  f'{self._nodes[max(self._own)]}: name them in out_indices or return_nodes')
            self._others[key] = extractor
        # it has a graph for training and one for evaluation, and follows `train` alone, not the flag that it sets
        graph = extractor.train_graph if self.training else extractor.eval_graph
        if extractor.graph is not graph:
            extractor.graph = graph
        return extractor

    def forward(self, x):
        """Tuple of maps N x C x H x W."""
        check_image_channels(x.shape[1], self.in_channels)
        outs = self._extractor()(x)  # in the order of the network
        maps = [
            outs[node].permute(0, 3, 1, 2) if node in self._channels_last else outs[node] for node in self.return_nodes
        ]
        return tuple(_tokens_to_map(m) if m.dim() == 3 else m for m in maps)
