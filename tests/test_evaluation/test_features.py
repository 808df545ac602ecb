"""Feature extraction: which features, in which order, and what it leaves untouched."""
import random
import threading

import numpy as np
import pytest
import torch
from mmcv.runner import BaseModule
from torch import nn

from mmssl.datasets.data_sources.decode import BrokenImageError
from mmssl.evaluation import Extractor, extract_features
from mmssl.evaluation.features import extract_alone, features_of
from mmssl.models.backbones.resnet import ResNet_CIFAR
from mmssl.utils.errors import ConfigError

NORM = dict(mean=[0.3, 0.4, 0.5], std=[0.2, 0.25, 0.3])
ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)


class Pictures(torch.utils.data.Dataset):
    """A real photograph cut into small uint8 images, as a data set with prefetch=True gives them."""

    def __init__(self, n=11, draw=False, broken=None):
        from sklearn.datasets import load_sample_images
        photo = load_sample_images().images[0]
        self.images = [np.ascontiguousarray(photo[9 * i:9 * i + 16, 13 * i:13 * i + 16]) for i in range(n)]
        self.draw = draw
        self.broken = broken

    def __len__(self):
        return len(self.images)

    def __getitem__(self, idx):
        if idx == self.broken:
            raise BrokenImageError('cat.jpg', 'torn')
        if self.draw:  # as a step written by a user does
            random.random(), np.random.rand(), torch.rand(1)
        return dict(img=self.images[idx], idx=idx, label=idx % 3)


class TwoViews(Pictures):

    def __getitem__(self, idx):
        return dict(img=[self.images[idx]] * 2, idx=idx)


class Neck(nn.Sequential):

    def forward(self, x):
        return [super().forward(x[-1])]


def make_model():
    torch.manual_seed(3)
    model = BaseModule()
    model.backbone = ResNet_CIFAR(10, stem_channels=4, base_channels=4)
    model.neck = Neck(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5), nn.BatchNorm1d(5))
    model.extract_feat = model.backbone.forward
    model.backbone.init_weights()
    with torch.no_grad():  # running statistics unlike those of any batch
        for module in model.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
    return model


def batch_of(dataset):
    """All images at once, normalised by torch's own arithmetic."""
    images = torch.stack([torch.from_numpy(img) for img in dataset.images]).permute(0, 3, 1, 2).double() / 255
    mean, std = (torch.tensor(NORM[k], dtype=torch.float64).view(3, 1, 1) for k in ('mean', 'std'))
    return ((images - mean) / std).float()


def test_every_layer_against_a_plain_forward():
    """In data-set order, by running statistics ("frozen" backbones whose batch norm moves are a known fault)."""
    model, dataset = make_model(), Pictures()
    layers = ('pooled', 'stage0', 'stage3_map', 'stage4', 'neck', 'pixels', 'patches', 'stage3_patches')
    found = extract_features(model.train(), dataset, layers=layers, batch_size=4, img_norm_cfg=NORM)
    images = batch_of(dataset)
    model.eval()
    model.backbone.out_indices = (0, 3, 4)
    with torch.no_grad():
        stem, third, last = model.backbone(images)
        expected = dict(
            pooled=last.mean((2, 3)),
            stage0=stem.mean((2, 3)),
            stage3_map=third,
            stage4=last.mean((2, 3)),
            neck=model.neck([last])[0],
            pixels=images.flatten(1),
            patches=last.permute(0, 2, 3, 1),
            stage3_patches=third.permute(0, 2, 3, 1))
    assert list(found.layers) == list(layers)
    for layer in layers:
        np.testing.assert_allclose(found[layer], expected[layer].numpy(), rtol=1e-4, atol=1e-5)
    assert found.index.tolist() == list(range(11)) and len(found) == 11
    assert found.labels.tolist() == [i % 3 for i in range(11)]


@pytest.mark.parametrize('layers, runs', [(('stage1_map', 'pixels'), False), (('stage1_map', 'pooled'), True)])
def test_layers_behind_the_last_stage_are_not_run(layers, runs):
    model, run = make_model(), []
    for name in ('layer1', 'layer2'):
        getattr(model.backbone, name).register_forward_hook(lambda *_, name=name: run.append(name))
    found = extract_features(model, Pictures(), layers=layers, batch_size=11, img_norm_cfg=NORM)
    assert run == ['layer1', 'layer2'][:1 + runs] and model.backbone.out_indices == (4, )
    model.backbone.out_indices = (1, )
    with torch.no_grad():
        expected, = model.eval().backbone(batch_of(Pictures()))
    np.testing.assert_allclose(found['stage1_map'], expected.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('workers', [0, 2])
def test_nothing_else_changes(workers):
    """Flags of every module, stages, weights and buffers, and the global generators are as before."""
    model = make_model()
    model.train()
    model.backbone.layer2.eval()  # a mixed state, which train() or eval() alone would not bring back
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    state = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    extract_features(model, Pictures(draw=True), layers=('stage1', ), batch_size=4, workers=workers, img_norm_cfg=NORM)
    assert [module.training for module in model.modules()] == modes
    assert model.backbone.out_indices == (4, )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert random.getstate() == state[0]
    assert np.array_equal(np.random.get_state()[1], state[1]) and torch.equal(torch.get_rng_state(), state[2])
    with pytest.raises(ValueError):  # also after an error
        extract_features(model, Pictures(), layers=('stage1', ))
    assert [module.training for module in model.modules()] == modes and model.backbone.out_indices == (4, )


def extract_on_rank(rank, world_size, sizes):
    found = [
        extract_features(make_model(), Pictures(n), layers=('pooled', 'stage1_map'), batch_size=2, img_norm_cfg=NORM)
        for n in sizes
    ]
    error = None
    if world_size > 1:
        with pytest.raises(Exception) as error:
            extract_features(make_model(), Pictures(4, broken=3), img_norm_cfg=NORM, broken='stop')
        part = extract_features(make_model(), Pictures(7, broken=3), batch_size=2, img_norm_cfg=NORM)
        assert part.index.tolist() == [0, 1, 2, 4, 5, 6] and part.broken == [(3, 'cat.jpg', 'torn')]
        # one process has nothing but broken images
        assert extract_features(make_model(), Pictures(2, broken=1), batch_size=1, img_norm_cfg=NORM).index == [0]
    return found, error and (error.type.__name__, str(error.value))


def test_two_processes_equal_one(run_distributed):
    """In order, nothing twice, nothing left out, even with fewer samples than processes (a known fault).

    And a broken image, which one process alone meets, ends both.
    """
    sizes = (1, 7, 8)
    expected, _ = extract_on_rank(0, 1, sizes)
    (found_0, error_0), (found_1, error_1) = run_distributed(extract_on_rank, sizes)
    for found in (found_0, found_1):
        for a, b in zip(found, expected):
            assert a.index.tolist() == b.index.tolist() and a.labels.tolist() == b.labels.tolist()
            for layer in a.layers:
                np.testing.assert_array_equal(a[layer], b[layer])
    assert error_0[0] == 'ConfigError' and 'process 1: BrokenImageError' in error_0[1] and 'cat.jpg' in error_0[1]
    assert error_1[0] == 'BrokenImageError' and 'cat.jpg' in error_1[1]


@pytest.mark.long
@pytest.mark.parametrize('workers', [0, 1])
def test_broken_images(workers, warnings_of_data):
    """They are left out by default: features, labels and indices stay those of each other. Or the first one stops."""
    options = dict(layers=('pooled', 'stage1'), batch_size=4, workers=workers, img_norm_cfg=NORM)
    whole = extract_features(make_model(), Pictures(), **options)
    assert not whole.broken and not warnings_of_data
    found = extract_features(make_model(), Pictures(broken=5), **options)
    kept = [i for i in range(11) if i != 5]
    assert found.index.tolist() == kept and found.broken == [(5, 'cat.jpg', 'torn')]
    assert warnings_of_data == ['1 of 11 images cannot be read and are left out: cat.jpg (torn)']
    np.testing.assert_array_equal(found.labels, whole.labels[kept])
    for layer in ('pooled', 'stage1'):
        np.testing.assert_allclose(found[layer], whole[layer][kept], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found.take(np.array([6, 0]))[layer], found[layer][[5, 0]])
    part = extract_alone(make_model(), Pictures(broken=5), range(5, 6), **options)
    assert len(part) == 0 and part.broken == found.broken
    with pytest.raises(BrokenImageError, match='cat.jpg'):
        extract_features(make_model(), Pictures(broken=5), broken='stop', **options)
    with pytest.raises(ConfigError, match='all images are broken: 1 of 1 .*cat.jpg'):
        extract_features(make_model(), Pictures(1, broken=0), **options)
    # what clusters a whole data set while it trains needs a row for each sample, as training does
    stand_in = extract_features(make_model(), Pictures(broken=5), broken='replace', **options)
    assert len(stand_in) == 11 and stand_in.index[5] in kept
    np.testing.assert_array_equal(stand_in['pooled'][5], stand_in['pooled'][stand_in.index[5]])
    assert len(Extractor(Pictures(broken=5), 4, workers, img_norm_cfg=NORM)(make_model())) == 11


def test_nan_names_the_sample():
    dataset, model = Pictures(), make_model()
    extract = model.extract_feat

    def spoilt(img):
        maps = extract(img)
        maps[0][len(img) - 1, 2] = float('nan')
        return maps

    model.extract_feat = spoilt
    with pytest.raises(ValueError, match='the pooled features of sample 3 hold NaN'):
        extract_features(model, dataset, batch_size=4, img_norm_cfg=NORM)
    with pytest.raises(ValueError, match='the pooled features of sample 2 hold NaN'):
        extract_features(model, torch.utils.data.Subset(dataset, [5, 1, 9]), batch_size=4, img_norm_cfg=NORM)


def test_models_without_all_parts():
    """A backbone alone, one of another library, and no model at all."""
    import torchvision
    dataset, model = Pictures(5), make_model()
    whole = extract_features(model, dataset, img_norm_cfg=NORM)['pooled']
    np.testing.assert_allclose(extract_features(model.backbone, dataset, img_norm_cfg=NORM)['pooled'], whole)
    foreign = torchvision.models.mobilenet_v3_small().features
    found = extract_features(foreign, dataset, img_norm_cfg=NORM, dtype='float16')['pooled']
    assert found.dtype == np.float16 and found.shape == (5, 576)
    with pytest.raises(ValueError, match='Sequential has no out_indices'):
        extract_features(foreign, dataset, layers=('stage1', ), img_norm_cfg=NORM)
    with pytest.raises(ValueError, match='ResNet_CIFAR has no neck'):
        extract_features(model.backbone, dataset, layers=('neck', ), img_norm_cfg=NORM)
    pixels = extract_features(None, dataset, layers=('pixels', ), img_norm_cfg=NORM)['pixels']
    np.testing.assert_allclose(pixels, batch_of(dataset).flatten(1).numpy(), atol=1e-6)


@pytest.mark.parametrize('arguments, message', [
    (dict(layers=('stage', )), "unknown layer 'stage'"),
    (dict(dtype='int8'), "dtype must be 'float32' or 'float16', got 'int8'"),
    (dict(model=None), 'without a model there are the layers'),
    (dict(img_norm_cfg=None), 'need img_norm_cfg'),
    (dict(dataset=torch.utils.data.Subset(Pictures(1), [])), 'the data set is empty'),
    (dict(dataset=TwoViews(1)), 'this data set gives 2 views'),
])
def test_errors(arguments, message):
    arguments = {**dict(model=make_model(), dataset=Pictures(1), img_norm_cfg=NORM), **arguments}
    with pytest.raises(ValueError, match=message):
        extract_features(arguments.pop('model'), arguments.pop('dataset'), **arguments)


@pytest.mark.parametrize('pool_type, formula', [
    ('gem', lambda x: x.clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3)),
    ('gem:inf', lambda x: x.amax((2, 3))),
    ('rmac:1', lambda x: nn.functional.normalize(nn.functional.normalize(x.amax((2, 3))))),
    (dict(stage1=dict(kernel_size=10, stride=3, padding=1)), lambda x: nn.AvgPool2d(10, 3, 1)(x).flatten(1)),
    (dict(stage1='average', stage2='gem'), lambda x: x.mean((2, 3))),
    ('10s3p1', lambda x: nn.AvgPool2d(10, 3, 1)(x).flatten(1)),
    ('4x2s1', lambda x: nn.AvgPool2d((4, 2), 1)(x).flatten(1)),
    ('grid:3', lambda x: nn.functional.adaptive_avg_pool2d(x, 3).flatten(1)),
    (dict(others='gem:inf', stage2='gem'), lambda x: x.amax((2, 3))),
])
def test_poolings(pool_type, formula):
    model, dataset = make_model(), Pictures()
    found = extract_features(model, dataset, layers=('stage1', 'stage1_map'), img_norm_cfg=NORM, pool_type=pool_type)
    expected = formula(torch.from_numpy(found['stage1_map']))
    np.testing.assert_allclose(found['stage1'], expected.numpy(), rtol=1e-5, atol=1e-6)


def test_unknown_poolings():
    for pool_type, words in (('max', "unknown pool_type 'max'"), (dict(stage2='gem'), 'no pooling for stage1, only'),
                             ('99s1', r'the map of stage1 is \d+ x \d+, smaller than the window \(99, 99\)')):
        with pytest.raises(ValueError, match=words):
            extract_features(make_model(), Pictures(), layers='stage1', img_norm_cfg=NORM, pool_type=pool_type)


class MapAndToken(nn.Module):
    """As backbones of transformers do: each stage a map and a class token."""
    out_indices = [0, 1]

    def forward(self, img):
        return [(scale * img, img.mean((2, 3))) for scale in (1, 2)]


def test_stages_with_a_class_token():
    layers = ('stage0', 'stage1_map', 'pooled')
    found = extract_features(MapAndToken(), Pictures(), layers=layers, img_norm_cfg=NORM, device='cpu')
    images = batch_of(Pictures())
    np.testing.assert_allclose(found['stage1_map'], 2 * images.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found['pooled'], 2 * found['stage0'], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('backbone, size, shape', [
    (dict(type='VisionTransformer', arch=ARCH, img_size=32, patch_size=8, num_registers=2), (32, 48), (4, 6, 16)),
    (dict(type='SwinTransformer', arch=dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8]),
          img_size=64), (64, 64), (2, 2, 64)),
    (dict(type='ResNet_CIFAR', depth=10, base_channels=4, stem_channels=4), (32, 24), (4, 3, 32)),
])  # yapf: disable
def test_patches_of_each_kind_of_network(backbone, size, shape):
    """Behind the class token and registers of a transformer; in the place that a patch has in the image."""
    from mmssl.models import build_backbone
    model = build_backbone(backbone).eval()
    img = torch.randn(2, 3, *size)
    found = features_of(model, img, 'patches')
    assert found.shape == (2, *shape) and found.dtype == np.float32
    with torch.no_grad():
        maps = model(img)[-1]
    maps = maps[0] if isinstance(maps, (tuple, list)) else maps
    for row in range(shape[0]):
        for column in range(shape[1]):
            assert np.array_equal(found[:, row, column], maps[:, :, row, column])
    with pytest.raises(ValueError, match='no map with a vector for each patch; take the layer pooled'):
        features_of(nn.Sequential(nn.Flatten(), nn.Linear(3 * size[0] * size[1], 4)), img, 'patches')


def test_scores_of_a_classifier():
    from mmssl.models import build_algorithm
    model = build_algorithm(
        dict(
            type='Classification',
            backbone=dict(type='ResNet_CIFAR', depth=10, base_channels=4, stem_channels=4),
            head=dict(type='ClsHead', with_avg_pool=True, in_channels=32, num_classes=7)))
    found = extract_features(model, Pictures(), layers='head', img_norm_cfg=NORM)
    with torch.no_grad():
        expected = model.eval()(batch_of(Pictures()), mode='test')
    np.testing.assert_allclose(found['head'], next(iter(expected.values())).numpy(), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match='no head that gives scores'):
        extract_features(make_model(), Pictures(), layers='head', img_norm_cfg=NORM)


def test_class_token():
    """Of a vision transformer, the token of the last layer behind its norm; a ResNet has none."""
    from mmssl.datasets import build_dataset
    from mmssl.models import build_backbone
    dataset = build_dataset(
        dict(
            type='SingleViewDataset',
            data_source=dict(type='Digits', num_images=6),
            pipeline=[dict(type='Resize', size=32)],
            prefetch=True))
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
    vit = build_backbone(dict(type='VisionTransformer', arch=arch, img_size=32, patch_size=8)).eval()
    norm = dict(mean=[0.3], std=[0.3])
    found = extract_features(vit, dataset, layers=('cls_token', 'pooled'), img_norm_cfg=norm)
    images = torch.stack([torch.from_numpy(dataset[i]['img']).permute(2, 0, 1) for i in range(6)])
    with torch.no_grad():
        tokens = vit.encode(vit.embed((images / 255 - 0.3) / 0.3)[0])
    np.testing.assert_allclose(found['cls_token'], tokens[:, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found['pooled'], tokens[:, 1:].mean(1), rtol=1e-4, atol=1e-5)
    resnet = build_backbone(dict(type='ResNet', depth=18, base_channels=8, stem_channels=8))
    with pytest.raises(ValueError, match='ResNet gives no class token'):
        extract_features(resnet, dataset, layers=('cls_token', ), img_norm_cfg=norm)


def test_threads_that_share_a_model():
    """One that asks for a stage does not change what another one gets."""
    model, pictures, inside, done = make_model(), Pictures(3), threading.Event(), threading.Event()
    alone = extract_alone(model, pictures, img_norm_cfg=NORM)['pooled']

    class Slow(Pictures):

        def __getitem__(self, idx):
            inside.set()
            done.wait(0.5)
            return super().__getitem__(idx)

    other = threading.Thread(
        target=extract_alone, args=(model, Slow(1)), kwargs=dict(layers='stage1', img_norm_cfg=NORM))
    other.start()
    assert inside.wait(30)
    together = extract_alone(model, pictures, img_norm_cfg=NORM)['pooled']
    done.set()
    other.join()
    np.testing.assert_array_equal(together, alone)
