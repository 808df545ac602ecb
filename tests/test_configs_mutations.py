"""Random faults in configs: each ends in one clear line or in a training that runs, never in a traceback."""
import copy
import importlib.util
import logging
import random
import signal
import sys
import traceback
from pathlib import Path

import pytest

from mmssl.utils.config_text import config_text
from mmssl.utils.misc import run_tool as one_line

ROOT = Path(__file__).resolve().parents[1]
NORM = dict(mean=[0.3, 0.3, 0.3], std=[0.3, 0.3, 0.3])
BACKBONE = dict(type='ResNet', depth=18, stem_channels=4, base_channels=4, out_indices=[4], norm_cfg=dict(type='BN'))
COMMON = dict(
    prefetch=True,
    img_norm_cfg=NORM,
    lr_config=dict(policy='CosineAnnealing', min_lr=0., by_epoch=False, warmup='linear', warmup_iters=1),
    runner=dict(type='EpochBasedRunner', max_epochs=1),
    checkpoint_config=dict(interval=1, max_keep_ckpts=2),
    log_config=dict(interval=1, hooks=[dict(type='TextLoggerHook')]),
    workflow=[('train', 1)],
    persistent_workers=True,
    cudnn_benchmark=False,
    seed=1)


def contrastive(folder):
    pipeline = [dict(type='RandomResizedCrop', size=16, scale=(0.4, 1.)), dict(type='RandomHorizontalFlip', p=0.5)]
    return dict(
        copy.deepcopy(COMMON),
        model=dict(
            type='MoCo',
            queue_len=24,
            feat_dim=8,
            momentum=0.99,
            backbone=copy.deepcopy(BACKBONE),
            neck=dict(type='MoCoV2Neck', in_channels=32, hid_channels=8, out_channels=8, with_avg_pool=True),
            head=dict(type='ContrastiveHead', temperature=0.2)),
        data=dict(
            samples_per_gpu=12,
            workers_per_gpu=0,
            drop_last=True,
            train=dict(
                type='MultiViewDataset',
                data_source=dict(type='Folder', data_prefix=str(folder)),
                num_views=[2],
                pipelines=[pipeline],
                prefetch=True)),
        optimizer=dict(
            type='SGD',
            lr=0.03,
            weight_decay=1e-4,
            momentum=0.9,
            paramwise_options={'bias': dict(weight_decay=0., lr_mult=2.)}),
        optimizer_config=dict(update_interval=1, grad_clip=dict(max_norm=10.)),
        custom_hooks=[dict(type='EMAHook', momentum=0.1)])


def supervised(folder):
    pipeline = [dict(type='Resize', size=20), dict(type='CenterCrop', size=16)]
    sets = {
        name:
        dict(
            type='SingleViewDataset',
            data_source=dict(type='ImageNet', data_prefix=str(folder)),
            pipeline=copy.deepcopy(pipeline),
            prefetch=True)
        for name in ('train', 'val')
    }
    return dict(
        copy.deepcopy(COMMON),
        model=dict(
            type='Classification',
            backbone=copy.deepcopy(dict(BACKBONE, frozen_stages=1)),
            head=dict(type='ClsHead', with_avg_pool=True, in_channels=32, num_classes=2)),
        data=dict(samples_per_gpu=12, workers_per_gpu=0, drop_last=False, **sets),
        optimizer=dict(type='AdamW', lr=0.03, betas=(0.9, 0.99)),
        evaluation=dict(interval=1, topk=(1, )),
        lr_config=dict(policy='step', step=[1]))


def places(node, path=()):
    """Paths of all entries of a config."""
    for key, part in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield (*path, key)
        yield from places(part, (*path, key))


def mutate(cfg, seed):
    """A config with one fault; what was done, as words."""
    draw = random.Random(seed)
    cfg = copy.deepcopy(cfg)
    path = draw.choice(list(places(cfg)))
    parent = cfg
    for key in path[:-1]:
        parent = parent[key]
    key, value = path[-1], parent[path[-1]]
    kinds = ['replace'] * 6 + ['delete', 'rename' if isinstance(key, str) else 'twice']
    kind = draw.choice(kinds)
    if kind == 'delete':
        del parent[key]
    elif kind == 'twice':
        parent.append(copy.deepcopy(value))
    elif kind == 'rename':
        i = draw.randrange(len(key))
        new = draw.choice([key[:i] + key[i + 1:], key + 's', key[:i] + 'x' + key[i:]])
        parent[new] = parent.pop(key)
        kind = f'rename to {new}'
    else:
        values = [
            str(value), 'False', 'nonsense', '7', None, -1, 0, 1, 1.5, 3, 1000,
            float('nan'), True, False, [value], [], {},
            dict(a=1), [1, 'a'], (value, value)
        ]
        values += [value[::-1]] if isinstance(value, (list, tuple)) else []
        values += [value + 1, value - 0.5, -value, value * 100] if isinstance(value, (int, float)) else []
        parent[key] = draw.choice(values)
        kind = f'{value!r} -> {parent[key]!r}'
    return cfg, f'{".".join(map(str, path))}: {kind}'


def too_long(*_):
    raise TimeoutError


def outcome(train, path, folder, monkeypatch, capsys):
    """What a user gets of a config: 'runs', 'line' or the traceback."""
    monkeypatch.setattr(sys, 'argv', ['train.py', str(path), '--work-dir', str(folder / path.stem)])
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(30)  # a mutated length may be long, which is what was asked for
    try:
        one_line(train.main)
        return 'runs'
    except TimeoutError:
        return 'runs'
    except SystemExit as error:
        words = capsys.readouterr().err
        message = words[words.rfind('error: '):]
        clear = error.code == 1 and message.startswith('error: ') and 'Traceback' not in words and len(message) < 3000
        return 'line' if clear else f'SystemExit {error.code}: {message}'
    except Exception:
        return traceback.format_exc()
    finally:
        signal.alarm(0)
        for name in ('mmssl', 'mmcv'):
            for handler in logging.getLogger(name).handlers:
                handler.close()


@pytest.mark.parametrize('count', [40, pytest.param(300, marks=pytest.mark.slow)])
def test_mutated_configs(count, photo_folder, tmp_path, monkeypatch, capsys):
    """A number as a text, a missing key, a float for an integer: 70 of 300 such configs ended in a traceback."""
    monkeypatch.delenv('MMSSL_DEBUG', raising=False)
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location('train', ROOT / 'tools/train.py')
    train = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(train)
    found = dict(runs=0, line=0)
    for seed in range(count):
        cfg, words = mutate((contrastive, supervised)[seed % 2](photo_folder), seed)
        path = tmp_path / f'mutant_{seed}.py'
        path.write_text(config_text(cfg))
        result = outcome(train, path, tmp_path, monkeypatch, capsys)
        capsys.readouterr()
        assert result in found, f'mutation {seed}, {words}:\n{result}'
        found[result] += 1
    # most of these are faults, and some are not
    assert found['line'] > found['runs'] > 0, found
