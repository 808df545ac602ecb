# Copyright (c) mmssl contributors. All rights reserved.
"""The one loop that extracts features: any stage, in data-set order, in one process or several."""
import contextlib
import re
import threading
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn.modules.utils import _pair

from mmssl.datasets.dataset_wrappers import sample_name
from mmssl.datasets.loader import EpochLoader, PrefetchLoader, leaves_stored, left_out
from mmssl.models.utils.multi_pooling import MultiPooling
from mmssl.models.utils.pooling import gem, get_rmac_descriptors
from mmssl.utils import dist
from mmssl.utils.checkpoint import unwrap
from mmssl.utils.errors import ConfigError, check_integer
from mmssl.utils.evaluation_options import POOLING
from mmssl.utils.logger import get_root_logger
from mmssl.utils.pooling_windows import WINDOW, parse_window
from mmssl.utils.rng import get_rng_state, set_rng_state

_BLOCK = 64 * 2**20  # bytes of features that travel between processes at once


@dataclass
class Features:
    """Features of a data set, in its order.

    Attributes:
        layers (dict[str, ndarray]): For each layer asked for N x D, or for one that is not pooled N x h x w x D
            (patches) or N x C x H x W (maps).
        labels (ndarray): N int64, -1 where unlabelled.
        index (ndarray): N int64, the `idx` of each sample in the data set.
        classes (Sequence[str] | None): Names of the classes that `labels` counts.
        broken (list[tuple[int, str, str]]): Index, file and reason of each image that could not be read. With the
            policy 'skip' these have no row.
    """
    layers: dict
    labels: np.ndarray
    index: np.ndarray
    classes: object = None
    broken: list = field(default_factory=list)

    def __getitem__(self, layer):
        return self.layers[layer]

    def __len__(self):
        return len(self.index)

    def take(self, index):
        """Features: Those of the samples `index` (ndarray of `idx`), in that order; all must be there."""
        order = np.argsort(self.index)
        rows = order[np.searchsorted(self.index, index, sorter=order)]
        layers = {name: values[rows] for name, values in self.layers.items()}
        return Features(layers, self.labels[rows], self.index[rows], self.classes, self.broken)


@torch.no_grad()
def extract_features(model,
                     dataset,
                     *,
                     layers=('pooled', ),
                     batch_size=256,
                     workers=0,
                     device=None,
                     dtype='float32',
                     img_norm_cfg=None,
                     pool_type='average',
                     progress=False,
                     broken='skip'):
    """Features of all samples of a data set.

    Each process takes some of the batches, and every process gets all features: each sample once, in order, the same
    to the bit whatever the number of processes. The model is as before afterwards (training flags, stages given out),
    and so are the global random generators.

    Args:
        model (nn.Module | None): An algorithm, or a backbone alone; wrapped by DDP or not. None will do for 'pixels'.
        dataset (Dataset): Its items are dicts with `img` (one image) and `idx`, and optionally `label`.
        layers (Sequence[str]): 'pooled' (last map, averaged over its positions), 'cls_token' (of a vision transformer,
            of the last layer), 'stage0'...'stage4' (the map of that index in the backbone's `out_indices`, pooled),
            'stage3_map' (the same, not pooled), 'patches' (last map, a vector for each patch or position: N x h x w x
            D), 'stage3_patches' (the same of a stage), 'neck' (first output of the neck: what other toolboxes call the
            output of the head), 'head' (scores of a classifier) or 'pixels' (the image as the model gets it,
            flattened).
        batch_size (int): Samples in a batch.
        workers (int): Loader processes.
        device (torch.device | str, optional): Where images go; by default where the model is. The model is not moved.
        dtype (str): 'float32' or 'float16', how features are stored.
        img_norm_cfg (dict, optional): `mean` and `std` of uint8 images, on the scale of 0 to 1; needed for those only.
        pool_type (str | dict | callable): How 'stageN' is pooled: 'average' over all positions, 'adaptive' or
            'specified' to about 9,000 numbers (see MultiPooling; 'specified' is for images of 224 px), 'rmac' or
            'rmac:L' (regional maxima on 3 or L scales), 'gem' or 'gem:P' (generalised mean with exponent 3 or P),
            'grid:N' (average in N x N cells) or the window of an average pooling, such as '6s1' (see parse_window) or a
            dict of kernel_size, stride and padding; after these maps are flattened. A dict of layers holds one of these
            for each, and under 'others' that of all other layers. A function of maps, N x C x H x W to N x D, does as
            well.
        progress (bool): Show a progress bar.
        broken (str): What is done about images that cannot be read: 'skip' leaves them out, with a warning that counts
            and names them, 'stop' ends at the first one, 'replace' lets other samples of the data set stand in, as
            training does.

    Returns:
        Features: On every process.

    Raises:
        ValueError: An unknown layer, an empty data set, or features with NaN or infinity; the sample is named.
        ConfigError: No image can be read.
        BrokenImageError: One cannot be read, with broken='stop'.
    """
    model, layers, device = _checked_arguments(model, dataset, layers, dtype, device)
    rank, world_size = dist.get_dist_info()
    # whole batches: they are the same ones whatever the number of processes, and so is each bit of the features
    check_integer(batch_size, 'batch_size', 1)
    check_integer(workers, 'workers', 0)
    batches = -(-len(dataset) // batch_size)
    bounds = [min(len(dataset), batches * r // world_size * batch_size) for r in range(world_size + 1)]
    mine, met, error = {}, [], None
    try:
        with random_state_kept(), _evaluating(model, layers, pool_type) as forward:
            mine, met = _extract_part(forward, dataset, range(bounds[rank], bounds[rank + 1]), batch_size, workers,
                                      device, dtype, img_norm_cfg, progress and rank == 0, broken)
    except Exception as e:
        error = e
    # one process that fails must not leave the others waiting for its features
    errors = dist.all_gather_object(error and f'process {rank}: {type(error).__name__}: {error}')
    if error:
        raise error
    if any(errors):
        raise ConfigError('; '.join(filter(None, errors)))  # the process itself tells more

    shapes = dist.all_gather_object(({name: part.shape for name, part in mine.items()}, met))
    met = [entry for _, entries in shapes for entry in entries]
    shapes = [s for s, _ in shapes]
    bounds = [0, *np.cumsum([s['idx'][0] if s else 0 for s in shapes]).tolist()]
    _tell(met, len(dataset), bounds[-1], broken)
    # a process beyond the last sample has none
    shapes = {name: shape[1:] for name, shape in next(s for s in shapes if s).items()}
    gathered = {}
    for name in ('idx', 'label', *layers):
        kind = np.dtype('int64' if name in ('idx', 'label') else dtype)
        part = mine.get(name, np.empty((0, *shapes[name]), kind))
        gathered[name] = _gather(part, bounds, device)
    classes = getattr(dataset, 'CLASSES', None)
    return Features({layer: gathered[layer] for layer in layers}, gathered['label'], gathered['idx'], classes, met)


@torch.no_grad()
def features_of(model, img, layer):
    """Features of a batch of images that are there already.

    Args:
        model (nn.Module): An algorithm, or a backbone alone. It is as before afterwards.
        img (Tensor): Normalised images, B x C x H x W, on the model's device.
        layer (str): See extract_features.

    Returns:
        ndarray: float32, B x D, or B x h x w x D of patches.

    Raises:
        ValueError: A layer that the model lacks.
    """
    model, layers, _ = _checked_arguments(model, img, layer, 'float32', img.device)
    with _evaluating(model, layers, 'average') as forward:
        return forward(img)[layer].float().cpu().numpy()


def _tell(met, total, found, broken):
    """Name the images that were left out, or raise where none is left."""
    if broken == 'skip' and met:
        if not found:
            raise ConfigError(f'all images are broken: {left_out(met, total)}')
        if dist.get_rank() == 0:
            get_root_logger().warning(left_out(met, total))


@torch.no_grad()
def extract_alone(model,
                  dataset,
                  part=None,
                  *,
                  layers=('pooled', ),
                  batch_size=256,
                  workers=0,
                  device=None,
                  dtype='float32',
                  img_norm_cfg=None,
                  pool_type='average',
                  progress=False,
                  broken='skip'):
    """As extract_features, but by this process alone, of all samples or of a range `part` of them that is not empty.

    Where no image of it can be read, there are no layers. Nothing is logged.
    """
    model, layers, device = _checked_arguments(model, dataset, layers, dtype, device)
    with random_state_kept(), _evaluating(model, layers, pool_type) as forward:
        found, met = _extract_part(forward, dataset, part or range(len(dataset)), batch_size, workers, device, dtype,
                                   img_norm_cfg, progress, broken)
    none = np.empty(0, np.int64)
    return Features({layer: found[layer]
                     for layer in layers if found},
                    found.get('label', none),
                    found.get('idx', none),
                    broken=met)


def check_layers(layers, pool_type='average'):
    """See that features have such names, and that there is such a pooling of stages; see extract_features.

    Raises:
        ValueError: There is no such layer or pooling.
    """
    for layer in layers:
        if not re.fullmatch(r'pooled|cls_token|neck|head|pixels|patches|stage\d+(_map|_patches)?', layer):
            raise ValueError(f'unknown layer {layer!r}; there are pooled, cls_token, neck, head, pixels, patches, '
                             'stageN, stageN_map and stageN_patches')
        _pooling(pool_type, layer)


def _checked_arguments(model, dataset, layers, dtype, device):
    """The model without wrappers, the layers as a tuple, the device; or what is wrong."""
    if dtype not in ('float32', 'float16'):
        raise ValueError(f"dtype must be 'float32' or 'float16', got {dtype!r}")
    layers = (layers, ) if isinstance(layers, str) else tuple(layers)
    check_layers(layers)
    if not len(dataset):
        raise ValueError('the data set is empty')
    model = unwrap(model)
    if model is None and set(layers) != {'pixels'}:
        raise ValueError(f"without a model there are the layers ('pixels',) only, got {layers!r}")
    if device is None:
        device = next((p.device for p in model.parameters()), torch.device('cpu')) if model is not None else 'cpu'
    return model, layers, torch.device(device)


def _extract_part(forward, dataset, part, batch_size, workers, device, dtype, img_norm_cfg, progress, broken):
    """'idx', 'label' and the layers of the samples `part` as arrays, {} for an empty part; and the broken images."""
    if not part:
        return {}, []
    # keyed randomness even here: steps that draw give the same features every time
    loader = EpochLoader(
        dataset,
        part,
        batch_size,
        broken_images=dict(policy=broken, max_share=1),
        num_workers=workers,
        pin_memory=device.type == 'cuda')
    batches = PrefetchLoader(
        _checked(loader, img_norm_cfg), device=device, stored=leaves_stored(dataset), **(img_norm_cfg or {}))
    arrays, done = {}, 0
    for batch in _with_progress(batches, len(part)) if progress else batches:
        img = batch['img']
        found = {'idx': batch['idx'], 'label': batch.get('label', torch.full((len(img), ), -1)), **forward(img)}
        for name, values in found.items():
            if name not in arrays:
                kind = dtype if values.is_floating_point() else 'int64'
                arrays[name] = np.empty((len(part), *values.shape[1:]), kind)
            values = values.float() if values.is_floating_point() else values  # numpy has no bfloat16
            arrays[name][done:done + len(img)] = values.cpu().numpy()
            bad = np.flatnonzero(~np.isfinite(arrays[name][done:done + len(img)].reshape(len(img), -1)).all(1))
            if len(bad):
                absent = {idx for idx, _, _ in loader.met} if broken == 'skip' else ()
                places = [idx for idx in part if idx not in absent]
                raise ConfigError(f'the {name} features of {_name(dataset, places[done + bad[0]])} hold NaN or '
                                  'infinity' + (' (in float16)' if dtype == 'float16' else ''))
        done += len(img)
    return {name: values[:done] for name, values in arrays.items()}, list(loader.met)


def _checked(loader, img_norm_cfg):
    """The batches of `loader`, if images are one a sample, and uint8 only where they can be normalised."""
    for batch in loader:
        img = batch['img']
        if not torch.is_tensor(img):
            raise ValueError(f'features are those of one image a sample; this data set gives {len(img)} views: '
                             'evaluate on a SingleViewDataset')
        if img.dtype in (torch.uint8, torch.uint16) and img_norm_cfg is None:
            kind = str(img.dtype).removeprefix('torch.')
            raise ValueError(f'images leave the data set as {kind} (prefetch=True) and need img_norm_cfg='
                             'dict(mean=[...], std=[...]), on the scale of 0 to 1')
        label = batch.get('label', batch['idx'])
        if not torch.is_tensor(label):
            raise ConfigError(f'an evaluation takes one label an image, this data set gives {len(label)}: evaluate on '
                              'a SingleViewDataset')
        if label.ndim != 1:
            raise ConfigError('an evaluation takes one label an image, this data set gives a vector of '
                              f'{label.shape[1]}: set multi_label=False in its data source')
        yield batch


def _with_progress(loader, samples):
    from tqdm import tqdm
    with tqdm(total=samples, desc='features', unit='img') as bar:
        for batch in loader:
            yield batch
            bar.update(len(batch['idx']))


def _name(dataset, idx):
    """'sample 7 (path/of/the/file.jpg)', the file where the data source knows it."""
    name = sample_name(dataset, idx)
    return name if name == f'sample {idx}' else f'sample {idx} ({name})'


def _gather(part, bounds, device):
    """Join the parts of all processes, block by block, so that no copy of the whole is needed on a device."""
    if len(bounds) == 2:
        return part
    whole = np.empty((bounds[-1], *part.shape[1:]), part.dtype)
    rows = max(1, _BLOCK // max(1, part.itemsize * int(np.prod(part.shape[1:]))))
    longest = max(stop - start for start, stop in zip(bounds, bounds[1:]))
    for first in range(0, longest, rows):
        blocks = dist.gather_variable(torch.from_numpy(part[first:first + rows]).to(device))
        for start, block in zip(bounds, blocks):
            whole[start + first:start + first + len(block)] = block.cpu().numpy()
    return whole


@contextlib.contextmanager
def random_state_kept():
    """Put the global random generators back: steps of users draw from them, and so may loaders."""
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)


_ONE_AT_A_TIME = threading.RLock()  # else threads that share a model would ask it for each other's stages


@contextlib.contextmanager
def _evaluating(model, layers, pool_type):
    """As _changed, when no other thread of this process looks at features, such as one of a web server."""
    with _ONE_AT_A_TIME, _changed(model, layers, pool_type) as forward:
        yield forward


@contextlib.contextmanager
def _changed(model, layers, pool_type):
    """Give a function image -> {layer: features} of a model in eval mode; leave the model as it was."""
    if model is None:
        yield lambda img: {'pixels': img.flatten(1)}
        return
    modes = [(module, module.training) for module in model.modules()]
    extract = getattr(model, 'extract_feat', model)
    backbone = getattr(model, 'backbone', model)
    stages = {int(re.match(r'\d+', layer[5:])[0]) for layer in layers if layer.startswith('stage')}
    given = getattr(backbone, 'out_indices', None)
    if stages and not isinstance(given, (tuple, list)):
        raise ValueError(f'{type(backbone).__name__} has no out_indices: it gives no stages, only pooled and neck')
    count = next((len(getattr(backbone, name)) + (name == 'res_layers')
                  for name in ('res_layers', 'stages', 'layers') if hasattr(backbone, name)),
                 getattr(backbone, 'num_stages', None))  # a ResNet's stem is stage 0
    if stages and count is not None and max(stages) >= count:
        raise ValueError(f'{type(backbone).__name__} has no stage{max(stages)}, only stage0 to stage{count - 1}')
    neck = getattr(model, 'neck', None)
    if 'neck' in layers and neck is None:
        raise ValueError(f'{type(model).__name__} has no neck')
    if 'neck' in layers and getattr(neck, 'rebuilds', False):
        raise ValueError(
            f'the neck of {type(model).__name__}, {type(neck).__name__}, rebuilds what is hidden and gives no '
            'features; take pooled or cls_token')
    head = getattr(model, 'head', None)
    if 'head' in layers and not (head is not None and neck is None):
        raise ValueError(f'{type(model).__name__} has no head that gives scores of its features')
    poolings = {layer: _pooling(pool_type, layer) for layer in layers if re.fullmatch(r'stage\d+', layer)}

    def forward(img):
        maps = extract(img)
        maps = list(maps) if isinstance(maps, (tuple, list)) else [maps]
        if stages and len(maps) != len(indices):
            raise ValueError(f'{type(backbone).__name__} gives {len(maps)} maps where {len(indices)} are asked for by '
                             f'out_indices={tuple(indices)}: its stages are fixed')
        by_stage = dict(zip(indices, maps)) if stages else {}
        own = [by_stage[i] for i in given if i in by_stage] if stages else maps
        found = {}
        for layer in layers:
            if layer == 'pixels':
                found[layer] = img.flatten(1)
            elif layer == 'neck':
                output = neck(own)
                found[layer] = output[0] if isinstance(output, (tuple, list)) else output
            elif layer == 'head':
                output = head(own)
                found[layer] = output[0] if isinstance(output, (tuple, list)) else output
            elif layer == 'cls_token':
                found[layer] = _class_token(own[-1], backbone)
            elif layer == 'pooled':
                found[layer] = pool(own[-1])
            elif layer == 'patches':
                found[layer] = _patches(own[-1], backbone)
            elif layer.endswith('_patches'):
                found[layer] = _patches(by_stage[int(layer[5:-8])], backbone)
            elif layer.endswith('_map'):
                found[layer] = _map(by_stage[int(layer[5:-4])])
            else:
                found[layer] = poolings[layer](_map(by_stage[int(layer[5:])]))
        return found

    try:
        model.eval()
        if stages:
            # our own networks run no further than they are asked to; others may give what they please
            early = type(backbone).__module__.startswith('mmssl.') and all(
                layer == 'pixels' or layer.startswith('stage') for layer in layers)
            indices = sorted(stages if early else {*given, *stages})
            backbone.out_indices = type(given)(indices)
        yield forward
    finally:
        if stages:
            backbone.out_indices = given
        for module, mode in modes:
            module.training = mode


def _pooling(pool_type, layer):
    """The function that pools the map of a stage, N x C x H x W to N x D.

    Raises:
        ValueError: There is no such pooling, or a dict has none for this layer.
    """
    if isinstance(pool_type, dict) and 'kernel_size' not in pool_type:
        if layer not in pool_type and 'others' not in pool_type:
            raise ValueError(f'pool_type has no pooling for {layer}, only for {", ".join(pool_type)}')
        pool_type = pool_type.get(layer, pool_type.get('others'))
    if callable(pool_type):
        return pool_type
    if isinstance(pool_type, str) and WINDOW.fullmatch(pool_type):
        pool_type = parse_window(pool_type)
    if isinstance(pool_type, dict):
        window = torch.nn.AvgPool2d(**pool_type)
        return lambda maps: window(_large_enough(maps, window, layer)).flatten(1)
    if not isinstance(pool_type, str) or not POOLING.fullmatch(pool_type):
        raise ValueError(
            f'unknown pool_type {pool_type!r}; there are average, adaptive, specified, rmac, rmac:L, gem, gem:P, '
            'grid:N and windows such as 6 or 10x10s4')
    kind, _, number = pool_type.partition(':')
    if kind == 'average':
        return pool
    if kind == 'gem':
        return lambda maps: gem(maps, float(number or 3))
    if kind == 'rmac':
        return lambda maps: get_rmac_descriptors(maps, int(number or 3))
    if kind == 'grid':
        return lambda maps: torch.nn.functional.adaptive_avg_pool2d(maps, int(number)).flatten(1)
    window, = MultiPooling(pool_type, (int(layer[5:]), )).pools  # itself it takes the channels of a ResNet-50 alone
    return lambda maps: window(maps).flatten(1)


def _large_enough(maps, window, layer):
    """Maps, if they are as large as the window.

    Raises:
        ValueError: They are smaller.
    """
    sizes = zip(maps.shape[2:], _pair(window.kernel_size), _pair(window.padding))
    if any(size + 2 * padding < kernel for size, kernel, padding in sizes):
        raise ValueError(f'the map of {layer} is {maps.shape[2]} x {maps.shape[3]}, smaller than the window '
                         f'{window.kernel_size} of its pooling')
    return maps


def _class_token(output, backbone):
    """The class token, N x D, beside the last map of a vision transformer.

    Raises:
        ValueError: There is none.
    """
    if not isinstance(output, (tuple, list)):
        raise ValueError(f'{type(backbone).__name__} gives no class token (output_cls_token); take the layer pooled')
    return output[1]


def _map(output):
    """The map of a stage, without the class token that some backbones give besides."""
    return output[0] if isinstance(output, (tuple, list)) else output


def _patches(output, backbone):
    """A map as a vector for each of its positions, N x h x w x D.

    Raises:
        ValueError: The backbone gives no map.
    """
    maps = _map(output)
    if maps.ndim != 4:
        raise ValueError(f'{type(backbone).__name__} gives features of shape {tuple(maps.shape)}, no map with a vector '
                         'for each patch; take the layer pooled')
    return maps.permute(0, 2, 3, 1)


def pool(features):
    """Average over positions: N x C x H x W or N x L x C to N x C. Of several outputs, as a ViT's, the first."""
    features = _map(features)
    if features.ndim == 4:
        return features.mean((2, 3))
    return features.mean(1) if features.ndim == 3 else features
