"""Checkpoints of pre-trained transformers, whole or as extracted weights, in the networks of the benchmarks."""
import runpy
import sys
from pathlib import Path

import pytest
import tiny
import torch

from mmssl.models import build_backbone
from mmssl.utils.checkpoint import save_checkpoint

ROOT = Path(__file__).resolve().parents[2]
VIT = dict(tiny.VIT, type='MIMVisionTransformer', final_norm=False)
MEAN = {'fc_norm.weight', 'fc_norm.bias'}  # the norm behind the mean of the patches
NORM = {'ln1.weight', 'ln1.bias'}  # the last norm of the pre-training, whose place it takes
TABLES = {f'layers.{i}.attn.relative_position_{kind}' for i in range(2) for kind in ('bias_table', 'index')}
SWIN = dict(
    type='mmcls.SwinTransformer',
    arch=dict(embed_dims=8, depths=[2, 2], num_heads=[2, 4]),
    img_size=32,
    out_indices=(1, ),
    stage_cfgs=dict(block_cfgs=dict(window_size=4)))
# pre-training: backbone of the benchmark, keys that are missing, and keys that have no place
CASES = dict(
    MAE=(VIT, MEAN, NORM),
    MaskFeat=(VIT, MEAN, NORM | {'mask_token'}),
    CAE=(dict(VIT, use_window=True, init_values=0.1, qkv_bias=False), MEAN | TABLES, NORM),
    SimMIM=(SWIN, set(), {'mask_token'}),
    MoCoV3=(dict(tiny.VIT, type='VisionTransformer', frozen_stages=2), set(), set()))


@pytest.fixture
def extract(monkeypatch):
    """tools/model_converters/extract_backbone_weights.py."""

    def run(*args):
        monkeypatch.setattr(sys, 'argv', ['extract_backbone_weights.py', *map(str, args)])
        runpy.run_path(ROOT / 'tools/model_converters/extract_backbone_weights.py', run_name='__main__')

    return run


@pytest.mark.parametrize('whole', [True, False])
@pytest.mark.parametrize('name', CASES)
def test_weights_reach_the_benchmark(name, whole, extract, tmp_path, caplog):
    cfg, missing, unexpected = CASES[name]
    source, file = tiny.build(name), tmp_path / 'checkpoint.pth'
    save_checkpoint(dict(state_dict=source.state_dict()), file)
    if not whole:
        extract(file, tmp_path / 'backbone.pth')
        file = tmp_path / 'backbone.pth'
    backbone = build_backbone(dict(cfg, init_cfg=dict(type='Pretrained', checkpoint=str(file))))
    backbone.init_weights()
    own, theirs = backbone.state_dict(), source.backbone.state_dict()
    assert own.keys() - theirs.keys() == missing and theirs.keys() - own.keys() == unexpected
    assert all(own[key].equal(theirs[key]) for key in own.keys() & theirs.keys())
    logged = caplog.text
    assert f'{len(own) - len(missing)} matched, {len(missing)} missing, {len(unexpected)} unexpected, 0 mis' in logged
    for kind in (missing, unexpected):
        assert not kind or any(f' {key} (' in logged for key in kind)


@pytest.mark.parametrize('name, size', [('MAE', 48), ('CAE', 24)])
def test_positions_of_another_image_size(name, size, tmp_path):
    """Position embeddings are interpolated; those of a class token stay."""
    source, file = tiny.build(name), tmp_path / 'checkpoint.pth'
    save_checkpoint(dict(state_dict=source.state_dict()), file)
    cfg = dict(VIT, img_size=size, init_cfg=dict(type='Pretrained', checkpoint=str(file)))
    backbone = build_backbone(cfg)
    backbone.init_weights()
    found, given = backbone.pos_embed, source.backbone.pos_embed
    grid = given[:, 1:].view(1, 4, 4, 16).permute(0, 3, 1, 2)
    side = size // 8
    expected = torch.nn.functional.interpolate(grid, (side, side), mode='bicubic', align_corners=False)
    torch.testing.assert_close(found[:, 1:], expected.flatten(2).transpose(1, 2))
    assert found[:, :1].equal(given[:, :1])
