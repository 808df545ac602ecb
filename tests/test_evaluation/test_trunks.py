"""Every backbone goes through every evaluation: features, kNN, linear, SVM, training of linear classifiers, export.

Users of VISSL reported feature extraction and kNN that failed for single trunks (issues 483, 515, 547).
"""
import copy

import numpy as np
import pytest
import torch

from mmssl.evaluation import extract_features, few_label, knn, linear
from mmssl.models import build_algorithm
from mmssl.models.utils.complexity import count_multiply_adds

REGNET = dict(depth=5, w_0=8, w_a=12., w_m=2., group_width=4)
# backbones, one of their stages, and the side of their images
TRUNKS = {
    'ResNet w2': (dict(type='ResNet', depth=10, stem_channels=4, base_channels=4, width_multiplier=2), 1, 64),
    'RegNet': (dict(type='RegNet', arch=REGNET), 1, 64),
    **{
        f'AlexNet {variant}': (dict(type='AlexNet', variant=variant), 2, 72)
        for variant in ('bvlc', 'colorization', 'deepcluster', 'jigsaw', 'rotnet')
    },
    'ViT': (dict(type='VisionTransformer', output_cls_token=False, img_size=32, patch_size=8, arch=dict(
        embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)), 0, 32),
    'Swin': (dict(type='SwinTransformer', img_size=32, out_indices=(2, ), arch=dict(
        embed_dims=8, depths=[1, 1, 1], num_heads=[1, 2, 2])), 0, 32),
    'timm EfficientNet': (dict(type='TIMMBackbone', model_name='efficientnet_lite0'), 1, 64),
    'timm ConvNeXt': (dict(type='TIMMBackbone', model_name='convnext_atto'), 1, 64),
    'timm XCiT': (dict(type='TIMMBackbone', model_name='xcit_nano_12_p16_224'), 3, 32),
    'timm ViT': (dict(type='TIMMBackbone', model_name='vit_tiny_patch16_224', img_size=32, depth=2), 0, 32),
    'timm, features_only': (dict(type='TIMMBackbone', model_name='resnet10t', features_only=True), 1, 64),
    'torchvision MobileNet': (dict(type='TorchvisionBackbone', model_name='mobilenet_v3_small'), 1, 64),
    'torchvision, nodes': (dict(
        type='TorchvisionBackbone', model_name='resnet18', return_nodes=['layer1', 'layer2']), 0, 64),
}  # yapf: disable


class Shapes(torch.utils.data.Dataset):
    """Images with a bright half, left or right."""

    def __init__(self, size, count=12):
        rng = np.random.default_rng(0)
        self.images = rng.integers(0, 100, (count, size, size, 3), dtype=np.uint8)
        for i, image in enumerate(self.images):
            image[:, (i % 2) * size // 2:(i % 2 + 1) * size // 2] += 120

    def __len__(self):
        return len(self.images)

    def __getitem__(self, idx):
        return dict(img=self.images[idx], idx=idx, label=idx % 2)


@pytest.mark.long
@pytest.mark.parametrize('name', TRUNKS)
def test_evaluations(name):
    cfg, stage, size = TRUNKS[name]
    model = build_algorithm(
        dict(
            type='Classification',
            backbone=cfg,
            freeze_backbone=True,
            head=dict(type='ClsHead', in_channels=None, with_avg_pool=True, num_classes=2)))
    data = Shapes(size)
    before = copy.deepcopy(model.state_dict())
    layers = ('pooled', f'stage{stage}', f'stage{stage}_map', 'head')
    features = extract_features(
        model, data, layers=layers, batch_size=5, img_norm_cfg=dict(mean=[.5] * 3, std=[.25] * 3))
    after = model.state_dict()
    assert all(value.equal(after[key]) for key, value in before.items())
    pooled, maps = features['pooled'], features[f'stage{stage}_map']
    assert pooled.shape == (12, model.backbone.out_channels[-1]) and features['head'].shape == (12, 2)
    assert maps.ndim == 4
    np.testing.assert_allclose(features[f'stage{stage}'], maps.mean((2, 3)), rtol=1e-4, atol=1e-5)
    half = features.take(np.arange(8)), features.take(np.arange(8, 12))
    pairs = [array for part in half for array in (part['pooled'], part.labels)]
    assert knn.run(*pairs, k=3)['k3_T0.07_top1'] >= 0
    assert 0 <= linear.run(*pairs, lrs=(.1, ), epochs=2, val_fraction=0)['top1'] <= 1
    assert few_label.run(*pairs, labels_per_class=2, draws=2)

    # a linear classifier on top, trained for a step
    images = torch.from_numpy(data.images[:4]).permute(0, 3, 1, 2) / 255
    losses = model.train().forward_train(images, torch.tensor([0, 1, 0, 1]))
    losses['loss'].backward()
    assert model.head.fc_cls.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in model.backbone.parameters())
    scores = model.eval()(images, mode='test')
    assert list(scores) == [f'head{model.backbone.out_indices[-1]}']
    copied = copy.deepcopy(model.backbone)  # as momentum encoders are made
    torch.testing.assert_close(copied(images)[-1], model.backbone(images)[-1])
    assert count_multiply_adds(copied, size)[0] > 1e4


@pytest.mark.parametrize('name', ['AlexNet rotnet', 'RegNet', 'timm EfficientNet', 'torchvision MobileNet'])
def test_classifiers_on_several_stages(name):
    """The order of stages is the config's, twice the same one too."""
    cfg, _, size = TRUNKS[name]
    indices = (2, 0, 2)
    backbone = dict(cfg, out_indices=indices)
    model = build_algorithm(dict(type='Classification', backbone=backbone, freeze_backbone=True)).eval()
    images = torch.randn(2, 3, size, size)
    maps = model.extract_feat(images)
    head = dict(
        type='MultiClsHead',
        pool_type='adaptive',
        in_indices=indices,
        num_classes=3,
        map_channels=[m.shape[1] for m in maps],
        map_sizes=[m.shape[2] for m in maps])
    model = build_algorithm(dict(type='Classification', backbone=backbone, freeze_backbone=True, head=head))
    losses = model.forward_train(images, torch.tensor([0, 2]))
    assert sum(key.startswith('loss') for key in losses) == 3
    assert list(model.eval()(images, mode='test')) == ['head2', 'head0', 'head2_2']
