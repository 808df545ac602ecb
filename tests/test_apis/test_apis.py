"""Precision switches, seeds, loaders from configs, inference on one image."""
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv import Config
from PIL import Image

from mmssl.apis import inference_model, init_model, init_random_seed, set_random_seed, train_model
from mmssl.core.training import precision
from mmssl.datasets import build_dataset
from mmssl.utils.checkpoint import save_checkpoint
from mmssl.utils.config import load_config
from mmssl.utils.errors import ConfigError

CONFIG = Path(__file__).resolve().parents[1] / 'configs/digits_moco.py'
CLASSIFICATION = dict(
    model=dict(
        type='Classification',
        backbone=dict(type='ResNet', depth=18, stem_channels=4, base_channels=4),
        head=dict(type='ClsHead', in_channels=32, num_classes=3, with_avg_pool=True)),
    img_norm_cfg=dict(mean=[0.4, 0.5, 0.6], std=[0.1, 0.2, 0.3]),
    prefetch=True,
    data=dict(test=dict(pipeline=[dict(type='Resize', size=(32, 32))])))


@pytest.mark.parametrize('switches, expected', [
    (dict(), (None, None)),
    (dict(amp=dict(dtype='bfloat16')), (torch.bfloat16, None)),
    (dict(amp=dict(dtype='float16')), (torch.float16, 'dynamic')),
    (dict(amp=dict(dtype='float16', loss_scale=64.)), (torch.float16, 64.)),
    (dict(fp16=dict(loss_scale=512.)), (torch.float16, 512.)),
    (dict(fp16=dict(loss_scale='dynamic')), (torch.float16, 'dynamic')),
])
def test_precision(switches, expected):
    assert precision(Config(switches)) == expected


@pytest.mark.parametrize('switches, message', [
    (dict(amp=dict(dtype='bf16')), "amp.dtype is 'bfloat16' or 'float16', got 'bf16'"),
    (dict(amp=dict(dtype='float16'), fp16=dict()), 'both amp and fp16'),
])
def test_wrong_precision(switches, message):
    with pytest.raises(ConfigError, match=message):
        precision(Config(switches))


def test_unknown_key_of_data():
    cfg = load_config(CONFIG)
    cfg.data.sample_per_gpu = 3
    with pytest.raises(ConfigError, match="'sample_per_gpu'; did you mean 'samples_per_gpu'"):
        train_model(torch.nn.Linear(1, 1), build_dataset(cfg.data.train), cfg)


def test_seeds():
    for seed in (-1, 2**63, 1.5, '7', True):
        for function in (init_random_seed, set_random_seed):
            with pytest.raises(ConfigError, match='seed must be an integer from 0 to'):
                function(seed)
    assert init_random_seed(5) == 5
    draws = []
    for _ in range(2):
        set_random_seed(2**32 + 3)
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert draws[0] == draws[1]


def test_inference_on_one_image(tmp_path, photographs):
    cfg = Config(CLASSIFICATION)
    model = init_model(cfg, device='cpu')
    save_checkpoint(dict(state_dict=model.state_dict()), tmp_path / 'a.pth')
    again = init_model(cfg, str(tmp_path / 'a.pth'), device='cpu')
    Image.fromarray(photographs[0]).save(tmp_path / 'a.png')
    found = [
        inference_model(again, image)['head4']
        for image in (photographs[0], Image.fromarray(photographs[0]), tmp_path / 'a.png')
    ]
    small = np.asarray(Image.fromarray(photographs[0]).resize((32, 32), Image.BILINEAR)) / 255.
    x = torch.tensor((small - [0.4, 0.5, 0.6]) / [0.1, 0.2, 0.3], dtype=torch.float32).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = model(x, mode='test')['head4']
    for scores in found:
        assert torch.equal(scores, found[0])
        torch.testing.assert_close(scores, expected, atol=0.05, rtol=0.05)
