# Copyright (c) mmssl contributors. All rights reserved.
"""A trained network as a program that runs without mmssl: torch.export, TorchScript or ONNX."""
import copy
import io
import warnings
from pathlib import Path

import torch
from torch import nn

from mmssl.evaluation.features import pool
from mmssl.utils.errors import ConfigError
from mmssl.utils.misc import atomic_write

FORMATS = ('.pt2', '.ts', '.onnx')


def slim(model, parts=('backbone', )):
    """An algorithm without what makes no features: projectors, momentum encoders, queues.

    Args:
        model (nn.Module): The algorithm, which stays as it is.
        parts (Sequence[str]): Those of its parts that are kept.

    Returns:
        nn.Module: One of the same class that shares these parts.
    """
    model = copy.copy(model)
    model._modules = {name: part for name, part in model.named_children() if name in (*parts, 'sobel_layer')}
    model._buffers = {}
    return model


class FeatureNetwork(nn.Module):
    """Images, N x C x H x W, to the layer 'pooled' of extract_features, N x D.

    Args:
        model (nn.Module): An algorithm, or a backbone alone. It is changed: evaluation mode, no gradients.
        maps (bool): Return the last map, N x D x h x w, as well.
        norm (dict, optional): `mean` and `std` of each channel on the scale 0 to 1, as in img_norm_cfg; images have
            values from 0 to 1 then. Without it they are normalised.
    """

    def __init__(self, model, maps=False, norm=None):
        super().__init__()
        model = slim(model) if hasattr(model, 'backbone') else model
        self.model = model
        self.maps = maps
        self.norm = norm is not None
        if self.norm:
            for key in ('mean', 'std'):
                self.register_buffer(key, torch.tensor(norm[key]).view(-1, 1, 1))
        self.eval()
        self.requires_grad_(False)

    def forward(self, images):
        if self.norm:
            images = (images - self.mean) / self.std
        extract = self.model.extract_feat if hasattr(self.model, 'extract_feat') else self.model
        last = extract(images)[-1]
        features = pool(last)
        if not self.maps:
            return features
        return features, last[0] if isinstance(last, (tuple, list)) else last


def image_channels(model):
    """Channels of the images that a model takes."""
    if getattr(model, 'sobel_layer', None) is not None:
        return 3
    return next(module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d))


@torch.no_grad()
def export_features(model, path, images, maps=False, tolerance=1e-5, norm=None):
    """Write a network for features, after its file has given the same outputs as the model.

    The batch size is free, the size of the images is that of `images`.

    Args:
        model (nn.Module): See FeatureNetwork; on the CPU.
        path (str | Path): File to write; .pt2 (torch.export), .ts (TorchScript) or .onnx.
        images (Tensor): N x C x H x W, N at least 2; normalised, or with `norm` from 0 to 1.
        maps (bool): See FeatureNetwork.
        tolerance (float): Largest difference that passes, over the largest output.
        norm (dict, optional): See FeatureNetwork.

    Returns:
        list[tuple[float, float]]: For the features, and the maps: largest difference and largest output.

    Raises:
        ConfigError: An unknown format, packages that are not installed, outputs that differ or are no numbers, a norm
            for other channels.
    """
    suffix = Path(path).suffix
    if suffix not in FORMATS:
        raise ConfigError(f'{path}: the end of the name says the format, one of {", ".join(FORMATS)}')
    if norm is not None and not len(norm['mean']) == len(norm['std']) == images.shape[1]:
        raise ConfigError(f'{norm} is a norm for {len(norm["mean"])} channels, images have {images.shape[1]}')
    network = FeatureNetwork(model, maps, norm)
    content, run = {'.pt2': _program, '.ts': _script, '.onnx': _onnx}[suffix](network, images)
    network.norm = False  # what the file gives is compared with the model for images that are normalised here
    found = [(0., 0.)] * (2 if maps else 1)
    for batch in (images, images[:1], torch.cat((images, images.flip(3)))):
        pairs = zip(_tuple(run(batch)), _tuple(network(_normalised(batch, norm))), strict=True)
        found = [(max(worst, _difference(a, b, path)), max(scale, b.abs().max().item()))
                 for (worst, scale), (a, b) in zip(found, pairs)]  # yapf: disable
    for difference, scale in found:
        if not difference <= tolerance * scale:
            raise ConfigError(f'the exported network differs from the model by {difference:.3g} of outputs up to '
                              f'{scale:.3g}: {path} is not written')
    with atomic_write(path, 'wb') as file:
        file.write(content)
    return found


def _normalised(images, norm):
    if norm is None:
        return images
    return torch.stack([(images[:, i] - norm['mean'][i]) / norm['std'][i] for i in range(images.shape[1])], 1)


def _difference(found, expected, path):
    """Largest difference; infinite where the shapes or places of NaN differ."""
    if not expected.isfinite().all():
        raise ConfigError(f'the model gives NaN or infinite outputs for a photograph: {path} is not written')
    if found.shape != expected.shape or not found.isfinite().all():
        return float('inf')
    return (found - expected).abs().max().item()


def _tuple(outputs):
    return outputs if isinstance(outputs, (tuple, list)) else (outputs, )


def _program(network, images):
    """File of torch.export, and a function that runs what it holds."""
    program = torch.export.export(network, (images, ), dynamic_shapes=({0: torch.export.Dim('batch')}, ))
    file = io.BytesIO()
    torch.export.save(program, file)
    return file.getvalue(), torch.export.load(io.BytesIO(file.getvalue())).module()


def _script(network, images):
    """File of TorchScript, and a function that runs what it holds."""
    file = io.BytesIO()
    with warnings.catch_warnings(
    ):  # what the tracer doubts is compared with the model; that TorchScript is old is known
        warnings.simplefilter('ignore', torch.jit.TracerWarning)
        warnings.filterwarnings('ignore', message='`torch.jit', category=FutureWarning)
        torch.jit.save(torch.jit.trace(network, (images, )), file)
        return file.getvalue(), torch.jit.load(io.BytesIO(file.getvalue()))


def _onnx(network, images):
    """File of ONNX, and a function that runs what it holds by onnxruntime."""
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(f'ONNX needs the package {error.name}: pip install -r requirements/interop.txt') from error
    program = torch.onnx.export(
        network, (images, ),
        input_names=['images'],
        output_names=['features', 'maps'][:1 + network.maps],
        dynamic_shapes=({
            0: torch.export.Dim('batch')
        }, ),
        dynamo=True,
        verbose=False)
    onnx.checker.check_model(program.model_proto, full_check=True)
    content = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
    return content, lambda batch: tuple(map(torch.from_numpy, session.run(None, dict(images=batch.numpy()))))
