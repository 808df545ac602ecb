# Copyright (c) mmssl contributors. All rights reserved.
"""Each kind of benchmark recipe trains two iterations on photographs."""
from pathlib import Path

import pytest
import torch

from mmssl.apis import set_random_seed, train_model
from mmssl.datasets import build_dataset
from mmssl.models import build_algorithm
from mmssl.utils.config import load_config

ROOT = Path(__file__).resolve().parents[1] / 'configs/benchmarks/classification'
KINDS = {
    'imagenet/resnet50_linear-8xb32-steplr-100e_in1k': True,
    'imagenet/resnet50-sobel_linear-8xb32-steplr-100e_in1k': True,
    'imagenet/resnet50_linear-8xb512-coslr-90e_in1k': True,
    'places205/resnet50-sobel_mhead_8xb32-steplr-28e_places205': True,
    'imagenet/resnet50_bn-linear-8xb32-steplr-28e_in1k': True,
    'imagenet/imagenet_1percent/resnet50_head100_4xb64-steplr1e-2-20e_in1k-1pct': False,
    'imagenet/imagenet_10percent/resnet50-sobel_4xb64-steplr1e-2-20e_in1k-10pct': False,
    'imagenet/resnet50_8xb32-steplr-90e_in1k': False,
    'imagenet/vit-small-p16_linear-8xb128-coslr-90e_in1k': True,
    'imagenet/vit-base-p16_linear-8xb2048-coslr-90e_in1k': True,
    'imagenet/vit-base-p16_ft-8xb128-coslr-100e_in1k': False,
    'imagenet/vit-base-p16_ft-8xb128-coslr-100e-rpe_in1k': False,
    'imagenet/vit-base-p16_ft-8xb256-coslr-100e_in1k': False,
    'imagenet/swin-base_ft-8xb256-coslr-100e_in1k': False,
    'imagenet/swin-base_ft-32xb64-coslr-100e_in1k': False,
    'imagenet/swin-base_ft-8xb256-coslr-100e_in1k-224': False,
}


def shrink_transformer(cfg):
    """A network of four blocks on 32 pixels; a Swin transformer has two stages, of four windows and of one."""
    pixels, arch = 32, dict(embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=32)
    if 'Swin' in cfg.model.backbone.type:
        window = cfg.model.backbone.stage_cfgs.block_cfgs.window_size
        pixels, arch = 8 * window, dict(embed_dims=8, depths=[2, 2], num_heads=[1, 1])
        cfg.model.backbone.out_indices = (1, )
    if 'frozen_stages' in cfg.model.backbone:
        cfg.model.backbone.frozen_stages = 4
    cfg.model.backbone.update(arch=arch, img_size=pixels)
    head = cfg.model.head
    head['in_channels' if 'in_channels' in head else 'embed_dim'] = 16
    for augment in cfg.model.get('train_cfg', {}).get('augments', []):
        augment.num_classes = 2
    for split in ('train', 'val'):
        for step in cfg.data[split].pipeline:
            key = 'input_size' if step.type == 'RandomAug' else 'size'
            if key in step:
                step[key] = pixels
    if 'fp16' in cfg:
        cfg.fp16 = None
        cfg.amp = dict(dtype='bfloat16')


@pytest.mark.long
@pytest.mark.parametrize('name', KINDS)
def test_two_iterations(name, photo_folder, tmp_path):
    options = {
        'data.samples_per_gpu': 12,
        'data.workers_per_gpu': 0,
        'runner.max_epochs': 1,
        'seed': 0,
        'checkpoint_config.interval': 2,
        'evaluation.interval': 1,
        'evaluation.topk': (1, 2),
        'model.head.num_classes': 2
    }
    for split in ('train', 'val'):
        options[f'data.{split}.data_source.data_prefix'] = str(photo_folder)
        options[f'data.{split}.data_source.ann_file'] = None
    cfg = load_config(ROOT / f'{name}.py', options)
    if 'vit' in name or 'swin' in name:
        shrink_transformer(cfg)
    elif 'mhead' not in name:  # the pools of the other are made for 224 px and ResNet-50
        cfg.model.backbone.update(depth=18, stem_channels=8, base_channels=8)
        cfg.model.head.in_channels = 64
        for split in ('train', 'val'):
            for step in cfg.data[split].pipeline:
                if 'size' in step:
                    step.size //= 7
    cfg.work_dir = str(tmp_path)
    set_random_seed(0)
    model = build_algorithm(cfg.model)
    model.init_weights()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    runner = train_model(model, build_dataset(cfg.data.train), cfg)
    assert runner.iter == 2
    after = model.state_dict()
    assert all(torch.isfinite(v).all() for v in after.values() if v.is_floating_point())
    moved = {k for k in after if not torch.equal(after[k], before[k])}
    frozen = KINDS[name]
    assert any(k.startswith('backbone.') for k in moved) != frozen
    assert any(k.startswith('head.') for k in moved)
    if 'mhead' in name:
        assert {k for k in moved if 'norms' in k} == {k for k in after if 'norms' in k}
    if frozen:
        backbone = list(model.backbone.parameters())
        assert all(not p.requires_grad and p.grad is None for p in backbone)
        held = {id(p) for g in runner.optimizer.param_groups for p in g['params']}
        assert not held & {id(p) for p in backbone}
        size = 224 if 'mhead' in name else 32
        model.train()
        feats = model.extract_feat(torch.rand(2, 3, size, size))
        assert not any(f.requires_grad for f in (feats[0] if isinstance(feats[0], tuple) else feats))
