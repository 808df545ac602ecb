"""Exported networks, run by torch and by onnxruntime alone, against the model."""
import warnings

import pytest
import torch

from mmssl.interop.export import export_features, image_channels
from mmssl.interop.reference_models import photographs
from mmssl.models import build_algorithm, build_backbone
from mmssl.utils.checkpoint import save_checkpoint
from mmssl.utils.errors import ConfigError

VIT = dict(
    type='VisionTransformer',
    arch=dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64),
    img_size=32,
    patch_size=8)
RESNET = dict(type='ResNet', depth=10, stem_channels=8, base_channels=8)


def run_file(path, images):
    """Outputs of a file, by the library of its format alone."""
    if path.suffix == '.pt2':
        return torch.export.load(path).module()(images)
    if path.suffix == '.ts':
        return torch.jit.load(path)(images)
    session = pytest.importorskip('onnxruntime').InferenceSession(path, providers=['CPUExecutionProvider'])
    return tuple(map(torch.from_numpy, session.run(None, dict(images=images.numpy()))))


def need(suffix):
    if suffix == '.onnx':
        for package in ('onnx', 'onnxruntime', 'onnxscript'):
            pytest.importorskip(package)


@pytest.mark.long
@pytest.mark.parametrize('suffix', ['.pt2', '.ts', '.onnx'])
@pytest.mark.parametrize('backbone', [RESNET, VIT], ids=['resnet', 'vit'])
def test_outputs_of_files(backbone, suffix, tmp_path):
    need(suffix)
    model = build_backbone(dict(backbone))
    model.init_weights()
    images = photographs(32)
    with warnings.catch_warnings(record=True) as said:
        found = export_features(model, tmp_path / f'a{suffix}', images, maps=True)
    assert suffix != '.ts' or not said  # the tracer's doubts are settled by the comparison
    batch = torch.cat((images, images.flip(3), images[:1]))
    with torch.no_grad():
        maps = model(batch)[-1]
        maps = maps[0] if isinstance(maps, tuple) else maps
        features, exported = run_file(tmp_path / f'a{suffix}', batch)
    assert features.shape == (5, maps.shape[1]) and exported.shape == maps.shape
    assert (exported - maps).abs().max() <= 1e-5 * maps.abs().max()
    assert (features - maps.mean((2, 3))).abs().max() <= 1e-5 * features.abs().max()
    assert [scale for _, scale in found
            ] == pytest.approx([features.abs().max().item(), maps.abs().max().item()], rel=1e-4)


@pytest.mark.long
@pytest.mark.parametrize('suffix', ['.pt2', '.ts', '.onnx'])
def test_normalisation_in_the_program(suffix, tmp_path):
    """Images of 0 to 1, not square, against a model on images that are normalised by hand."""
    need(suffix)
    model = build_backbone(dict(RESNET))
    images, norm = photographs((32, 48), normalised=False), dict(mean=[0.1, 0.5, 0.3], std=[0.2, 0.1, 0.4])
    assert images.shape == (2, 3, 32, 48) and 0 <= images.min() < 0.1 and 0.9 < images.max() <= 1
    export_features(model, tmp_path / f'a{suffix}', images, norm=norm)
    with torch.no_grad():
        expected = model(
            (images - torch.tensor(norm['mean'])[:, None, None]) / torch.tensor(norm['std'])[:, None, None])
        found = run_file(tmp_path / f'a{suffix}', images)
    found, expected = found[0] if isinstance(found, tuple) else found, expected[-1].mean((2, 3))
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    with pytest.raises(ConfigError, match='is a norm for 1 channels, images have 3'):
        export_features(model, tmp_path / 'b.ts', images, norm=dict(mean=[0.5], std=[0.5]))


def test_outputs_that_are_no_numbers(tmp_path):
    model = build_backbone(dict(RESNET))
    torch.nn.init.constant_(model.bn1.bias, float('nan'))
    with pytest.raises(
            ConfigError, match='the model gives NaN or infinite outputs for a photograph: .* is not written'):
        export_features(model, tmp_path / 'a.ts', photographs(32))
    assert not list(tmp_path.iterdir())


def test_what_is_refused(tmp_path):
    model = build_backbone(dict(RESNET))
    with pytest.raises(ConfigError, match=r'one of .pt2, .ts, .onnx'):
        export_features(model, tmp_path / 'a.pth', photographs(32))
    with pytest.raises(ConfigError, match='differs from the model by .* is not written'):
        export_features(model, tmp_path / 'a.ts', photographs(32), tolerance=-1)
    assert not list(tmp_path.iterdir())
    deepcluster = build_algorithm(
        dict(type='DeepCluster', backbone=dict(RESNET, in_channels=2), neck=dict(type='AvgPool2dNeck'),
             head=dict(type='ClsHead', in_channels=64, num_classes=4)))  # yapf: disable
    assert image_channels(deepcluster) == 3 and image_channels(build_backbone(dict(RESNET, in_channels=1))) == 1


def test_only_the_backbone_is_exported(tmp_path):
    """A file without projector, momentum encoder and queue; and the algorithm keeps its own."""
    model = build_algorithm(
        dict(
            type='MoCo',
            queue_len=512,
            feat_dim=16,
            backbone=dict(RESNET),
            neck=dict(type='LinearNeck', in_channels=64, out_channels=16),
            head=dict(type='ContrastiveHead')))
    names = list(model.state_dict())
    export_features(model, tmp_path / 'a.ts', photographs(32))
    assert list(model.state_dict()) == names
    found = torch.jit.load(tmp_path / 'a.ts').state_dict()
    assert set(found) <= {f'model.backbone.{name}' for name in model.backbone.state_dict()}
    with torch.no_grad():
        expected = model.extract_feat(photographs(32))[-1].mean((2, 3))
    assert (torch.jit.load(tmp_path / 'a.ts')(photographs(32)) - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_tool(tmp_path, run_tool):
    (tmp_path / 'config.py').write_text(f"model = dict(type='Classification', backbone={RESNET})\n"
                                        'img_norm_cfg = dict(mean=[0.5, 0.5, 0.5], std=[0.2, 0.2, 0.2])')
    model = build_backbone(dict(RESNET))
    save_checkpoint(dict(state_dict=model.state_dict()), tmp_path / 'backbone.pth')
    done = run_tool('tools/model_converters/export.py', tmp_path / 'config.py', tmp_path / 'backbone.pth',
                    tmp_path / 'a.ts', '--size', 32, 48, '--normalize')
    assert 'images N x 3 x 32 x 48, values from 0 to 1, which it normalises by' in done.stdout
    assert 'features: largest difference' in done.stdout
    model.eval()
    images = photographs((32, 48), normalised=False)
    with torch.no_grad():
        expected = model((images - 0.5) / 0.2)[-1].mean((2, 3))
        assert (torch.jit.load(tmp_path / 'a.ts')(images) - expected).abs().max() <= 1e-5 * expected.abs().max()
