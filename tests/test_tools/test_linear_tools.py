"""Linear and semi-supervised evaluation, as a user calls them."""
import json
import os
import sys
from pathlib import Path

import pytest
import torch

from mmssl.models import build_algorithm
from mmssl.utils.checkpoint import save_checkpoint
from mmssl.utils.config import load_config

ROOT = Path(__file__).resolve().parents[2]
FOLDER = 'tools/benchmarks/classification'
BACKBONE = "dict(type='ResNet_CIFAR', depth=10, in_channels=1, stem_channels=4, base_channels=4, out_indices=[4], " \
    "norm_cfg=dict(type='SyncBN'))"
MODEL = f"model = dict(type='Classification', backbone={BACKBONE})\n"
TRAINING = f"""
_base_ = '{ROOT}/configs/selfsup/_base_/default_runtime.py'
img_norm_cfg = dict(mean=[0.3], std=[0.35])
prefetch = True
model = dict(type='Classification', backbone={BACKBONE},
             head=dict(type='ClsHead', with_avg_pool=True, in_channels=32, num_classes=10))
source = dict(type='Digits', color_type='grayscale')
digits = dict(type='SingleViewDataset', data_source=source, pipeline=[], prefetch=True)
data = dict(samples_per_gpu=32, workers_per_gpu=0, train=digits,
            val=dict(digits, data_source=dict(source, test_mode=True)))
optimizer = dict(type='SGD', lr=0.1, momentum=0.9)
optimizer_config = dict()
lr_config = dict(policy='fixed')
runner = dict(type='EpochBasedRunner', max_epochs=1)
evaluation = dict(interval=1, topk=(1, 5))
checkpoint_config = dict(interval=1)
log_config = dict(interval=5)
"""
LINEAR = "_base_ = 'training.py'\nmodel = dict(backbone=dict(frozen_stages=4))\noptimizer = dict(lr=30.)\n"
SEMI = """
_base_ = 'training.py'
train = dict(type='SingleViewDataset', data_source=dict(type='Digits', color_type='grayscale'), pipeline=[],
             prefetch=True)
data = dict(train=dict(_delete_=True, type='ClassBalancedSubset', dataset=train, fraction=0.1))
"""

ARCH = 'dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)'
MAE = f"""
model = dict(type='MAE', backbone=dict(type='MAEViT', arch={ARCH}, img_size=8, patch_size=4, in_channels=1),
             neck=dict(type='MAEPretrainDecoder', num_patches=4, patch_size=4, in_chans=1, embed_dim=16,
                       decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2),
             head=dict(type='MAEPretrainHead', patch_size=4))
"""
FINETUNE = f"""
_base_ = 'training.py'
model = dict(_delete_=True, type='Classification',
             backbone=dict(type='MIMVisionTransformer', arch={ARCH}, img_size=16, patch_size=4, in_channels=1,
                           drop_path_rate=0.1, final_norm=False),
             head=dict(type='MAEFinetuneHead', embed_dim=16, num_classes=10),
             train_cfg=dict(augments=[dict(type='BatchMixup', alpha=0.8, prob=0.5)]))
data = dict(train=dict(pipeline=[dict(type='Resize', size=16)]), val=dict(pipeline=[dict(type='Resize', size=16)]))
optimizer = dict(_delete_=True, type='AdamW', lr=1e-2, weight_decay=0.05, paramwise_options=dict(ln=dict(lr_mult=0.)),
                 constructor='TransformerFinetuneConstructor', model_type='vit', layer_decay=0.5)
custom_hooks = [dict(type='EMAHook', momentum=0.1, priority='HIGH')]
"""


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('linear')
    (folder / 'configs').mkdir()
    for name, text in dict(
            model=MODEL, training=TRAINING, linear=LINEAR, semi=SEMI, mae=MAE, finetune=FINETUNE).items():
        (folder / f'configs/{name}.py').write_text(text)
    torch.manual_seed(7)
    model = build_algorithm(load_config(folder / 'configs/model.py').model)
    model.init_weights()
    save_checkpoint(dict(state_dict=model.state_dict()), folder / 'whole.pth')
    save_checkpoint(dict(state_dict=model.backbone.state_dict()), folder / 'backbone.pth')
    return folder, model.backbone.state_dict()


@pytest.fixture
def environment(free_port):
    return dict(GPUS='2', PORT=str(free_port()), PYTHON=sys.executable, OMP_NUM_THREADS='1')


def test_sweep(files, run_tool, call_tool, tmp_path):
    """Two views are trained on, and what is written is what the function returns."""
    folder, _ = files
    done = run_tool(f'{FOLDER}/linear_sweep.py', folder / 'configs/model.py', '--checkpoint', folder / 'whole.pth',
                    '--dataset-config', 'configs/benchmarks/classification/digits.py', '--layers', 'pooled', 'stage2',
                    '--views', 2, '--lrs', 0.01, 0.1, '--epochs', 4, '--out', tmp_path / 'out.json')
    found = json.loads((tmp_path / 'out.json').read_text())
    assert set(found) == {'pooled', 'stage2'} and found['pooled']['views'] == 2
    assert found['pooled']['num_train'] == 1437 and found['stage2']['top1'] > 0.2
    assert f'{100 * found["stage2"]["top1"]:.2f}' in done.stdout + done.stderr
    done = call_tool(
        f'{FOLDER}/linear_sweep.py',
        folder / 'configs/model.py',
        '--checkpoint',
        folder / 'whole.pth',
        '--dataset-config',
        'configs/benchmarks/classification/digits.py',
        '--lrs',
        -1,
        check=False)
    assert done.returncode and 'must be positive' in done.stderr and 'Traceback' not in done.stderr


def test_views_differ():
    from mmssl.datasets import build_dataset
    from mmssl.evaluation import extract_features
    cfg = load_config('configs/benchmarks/classification/digits.py')
    views = dict(cfg.data.train, pipeline=cfg.augmented_pipeline)
    views['data_source'] = dict(views['data_source'], num_images=20)
    dataset = build_dataset(dict(type='RepeatDataset', dataset=views, times=2))
    found = extract_features(None, dataset, layers='pixels', img_norm_cfg=cfg.img_norm_cfg)
    first, second = found['pixels'].reshape(2, 20, -1)
    assert (abs(first - second).max(1) > 0.1).mean() > 0.7 and (found.labels[:20] == found.labels[20:]).all()


def test_frozen_means_frozen(files, run_tool, environment):
    """Two processes with a whole checkpoint: neither weights nor statistics of the backbone move, the head does."""
    folder, before = files
    done = run_tool(
        f'{FOLDER}/dist_train_linear.sh',
        folder / 'configs/linear.py',
        folder / 'whole.pth',
        '--seed',
        0,
        env=environment)
    text = done.stdout + done.stderr
    assert 'losses of 60 to 130' in text and f'{len(before)} matched' in text
    assert 'python tools/embed.py' in text.replace(f'{ROOT}/', '')  # what to do next, without the way of the script
    trained = torch.load(folder / 'work_dirs/linear/whole/epoch_1.pth', weights_only=True)
    after = {k.removeprefix('backbone.'): v for k, v in trained['state_dict'].items() if k.startswith('backbone.')}
    assert after.keys() == before.keys() and all(torch.equal(after[k], before[k]) for k in before)
    assert trained['state_dict']['head.fc_cls.weight'].abs().max() > 0.5
    assert len(trained['optimizer']['state']) == 2  # weight and bias of the head


def test_finetuning_of_a_transformer(files, call_tool, tmp_path):
    """From a MAE of 8 pixels to a classifier at 16, by two processes, in bfloat16."""
    folder, _ = files
    torch.manual_seed(7)
    mae = build_algorithm(load_config(folder / 'configs/mae.py').model)
    mae.init_weights()
    torch.nn.init.normal_(mae.backbone.layers[0].ln1.weight)  # this norm stays, as its rate is 0
    save_checkpoint(dict(state_dict=mae.state_dict()), folder / 'mae.pth')
    done = call_tool(
        'tools/train.py',
        folder / 'configs/finetune.py',
        '--work-dir',
        tmp_path,
        '--seed',
        0,
        '--cfg-options',
        'amp.dtype=bfloat16',
        'model.backbone.init_cfg.type=Pretrained',
        f'model.backbone.init_cfg.checkpoint={folder}/mae.pth',
        processes=2)
    text = done.stdout + done.stderr
    count = len(mae.backbone.state_dict()) - 2
    assert f"under 'backbone.': {count} matched, 2 missing, 2 unexpected, 0 mismatched" in text
    assert 'missing, initial values are kept: fc_norm.weight (16), fc_norm.bias (16)' in text
    assert 'unexpected: ln1.weight (16), ln1.bias (16)' in text
    trained = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)
    after, before = trained['state_dict'], mae.backbone.state_dict()
    assert after['backbone.layers.0.ln1.weight'].equal(before['layers.0.ln1.weight'])
    assert after['backbone.pos_embed'].shape == (1, 17, 16)
    assert not after['backbone.layers.1.attn.qkv.weight'].equal(before['layers.1.attn.qkv.weight'])
    rates = {group['initial_lr'] for group in trained['optimizer']['param_groups']}
    assert rates == {1e-2, 5e-3, 2.5e-3, 1.25e-3, 0.}
    assert 'head1_top1' in next(tmp_path.glob('*.log.json')).read_text()


def test_semi_supervised_over_a_grid(files, run_tool, tmp_path, environment):
    """Extracted backbone weights, a tenth of the labels; everything is trained."""
    folder, before = files
    run_tool(
        f'{FOLDER}/semi_sweep.py',
        folder / 'configs/semi.py',
        folder / 'backbone.pth',
        '--lrs',
        0.01,
        '--head-mults',
        1,
        10,
        '--gpus',
        2,
        '--work-dir',
        tmp_path / 'sweep',
        '--out',
        tmp_path / 'out.json',
        '--cfg-options',
        'data.samples_per_gpu=16',
        env=environment)
    found = json.loads((tmp_path / 'out.json').read_text())
    assert [(row['lr'], row['head_mult']) for row in found['sweep']] == [(0.01, 1), (0.01, 10)]
    assert all(0 <= row['top1'] <= row['top5'] <= 100 for row in found['sweep'])
    trained = torch.load(tmp_path / 'sweep/lr0.01_head10/epoch_1.pth', weights_only=True)['state_dict']
    assert not torch.equal(trained['backbone.conv1.weight'], before['conv1.weight'])


def test_arguments(run_tool, tmp_path):
    for script in ('dist_train_linear', 'dist_train_semi', 'slurm_train_linear', 'slurm_train_semi'):
        done = run_tool(f'{FOLDER}/{script}.sh', check=False)
        assert done.returncode == 2 and 'CONFIG PRETRAIN' in done.stdout
    done = run_tool(f'{FOLDER}/dist_train_linear.sh', 'a.py', tmp_path / 'absent.pth', check=False)
    assert done.returncode == 1 and f'there is no checkpoint {tmp_path}/absent.pth' in done.stderr


def test_names_of_trainings_on_top(run_tool, tmp_path):
    """Two runs whose newest checkpoints are both called latest.pth do not share a folder."""
    for run in ('byol', "moco's run"):
        (tmp_path / run).mkdir()
        (tmp_path / run / 'epoch_3.pth').touch()
        (tmp_path / run / 'latest.pth').symlink_to('epoch_3.pth')
        for name in ('latest.pth', 'epoch_3.pth'):
            done = run_tool('tools/benchmarks/run_name.sh', tmp_path / run / name)
            assert done.stdout == f'{run}-epoch_3\n'
    (tmp_path / 'byol_resnet50.v2.pth').touch()
    assert run_tool('tools/benchmarks/run_name.sh', tmp_path / 'byol_resnet50.v2.pth').stdout == 'byol_resnet50.v2\n'


def test_slurm_scripts_call_srun(files, run_tool, tmp_path):
    folder, _ = files
    (tmp_path / 'srun').write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / 'srun').chmod(0o755)
    env = dict(PATH=f'{tmp_path}:{os.environ["PATH"]}', PYTHON='python')
    weights = folder / 'whole.pth'
    done = run_tool(f'{FOLDER}/slurm_train_semi.sh', 'main', 'job', 'configs/a/b.py', weights, '--seed', 1, env=env)
    assert done.stdout.startswith('-p main --job-name=job --gres=gpu:4 --ntasks-per-node=4 --ntasks=4 ')
    assert ('configs/a/b.py --work-dir=work_dirs/a/b/whole --deterministic --seed 1 --cfg-options '
            f'model.backbone.init_cfg.type=Pretrained model.backbone.init_cfg.checkpoint={weights}') in done.stdout
