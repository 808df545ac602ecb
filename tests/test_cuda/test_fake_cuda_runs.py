"""Whole runs on the fake device: what is saved, resumed, validated and dumped there; see fake.py."""
import json

import pytest
import test_resume_algorithms as trainings
import torch
from fake import DeviceTensor, FakeCuda
from intended import unintended
from mmcv import Config
from mmcv.runner.hooks import Hook

from mmssl.apis import set_random_seed, train_model
from mmssl.apis.nonfinite import reproduce
from mmssl.core.training import build_loader
from mmssl.datasets import build_dataset
from mmssl.evaluation.stored_features import store_features
from mmssl.models import build_algorithm
from mmssl.utils.checkpoint import read_checkpoint

pytestmark = pytest.mark.long


def run(cfg, waits=()):
    """The runner after a training on the fake device, in which besides those of intended.py these functions wait."""
    set_random_seed(1)
    dataset = [build_dataset(cfg.data[mode]) for mode, _ in cfg.get('workflow', [('train', 1)])]
    model = build_algorithm(cfg.model)
    model.init_weights()
    with FakeCuda() as device:
        runner = train_model(model, dataset, cfg, meta={})
    found = {place.split(' in ')[1].split(',')[0] for place in unintended(device) if 'within' in place}
    assert found == set(waits)
    return runner


@pytest.mark.parametrize('name, changes', [('MoCo', dict(amp=dict(dtype='float16', master_weights=True))), ('ODC', {})])
def test_resume(name, changes, tmp_path):
    """A training on the device that goes on from its checkpoint is the one that was not interrupted."""
    cfg = trainings.config(name, tmp_path / 'whole')
    cfg.data.samples_per_gpu = 80  # three iterations an epoch
    cfg.update(changes)
    run(cfg)
    whole = read_checkpoint(tmp_path / 'whole/epoch_2.pth')
    cfg.update(resume_from=str(tmp_path / 'whole/iter_3.pth'), work_dir=str(tmp_path / 'resumed'))
    run(cfg)
    again = read_checkpoint(tmp_path / 'resumed/epoch_2.pth')
    for part in ('state_dict', 'optimizer', 'rng_states'):
        trainings.assert_same(again[part], whole[part], part)
    assert type(next(iter(whole['state_dict'].values()))) is torch.Tensor


def test_features_of_a_teacher_that_are_stored(tmp_path):
    """Each image finds its row on the device, without a wait after the first one."""
    teacher = build_algorithm(dict(type='Classification', backbone=trainings.TEACHER['backbone'])).eval()
    plain = dict(type='SingleViewDataset', data_source=trainings.SOURCE, pipeline=[dict(type='Resize', size=16)])
    dataset = build_dataset(dict(plain, prefetch=True))
    store_features(teacher, dataset, tmp_path / 'features', 'train', {}, layers=['pooled'], img_norm_cfg=trainings.NORM)
    cfg = trainings.config('SEED', tmp_path)
    cfg.model.teacher = dict(features=str(tmp_path / 'features'))
    cfg.checkpoint_config, cfg.custom_hooks = None, []
    assert run(cfg).iter == 12


def test_steps_on_images_on_the_device():
    """Images of the worker's steps and of the device's, and of all data sets the batches come without a wait."""
    steps = [
        dict(type='RandomResizedCrop', size=16, scale=(0.3, 1.)),
        dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2),
        dict(type='RandomGrayscale', p=0.2),
        dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0, p=1.),
        dict(type='Solarization', p=0.3),
    ]
    dataset = dict(
        type='MultiViewDataset', num_views=[2], pipelines=[steps], data_source=trainings.SOURCE, prefetch=True)
    data = dict(samples_per_gpu=80, workers_per_gpu=0, device_steps=True)
    cfg = Config(dict(data=data, img_norm_cfg=dict(mean=[0.], std=[1 / 255]), seed=0))
    expected = [view for batch in build_loader(build_dataset(dataset), cfg) for view in batch['img']]
    with FakeCuda() as device:
        loader = build_loader(build_dataset(dataset), cfg)
        device.waits = 0
        found = [view for batch in loader for view in batch['img']]
        assert device.waits == 0
    assert all(isinstance(view, DeviceTensor) for view in found)
    for a, b in zip(found, expected, strict=True):
        assert (a.value - b).abs().max() <= 2 and (a.value != b).float().mean() < 0.01  # grey levels


class Spoil(Hook):
    """Makes a pixel of the fourth batch infinite."""

    def before_train_iter(self, runner):
        if runner.iter == 3:
            runner.data_batch['img'][0][5] = float('inf')


def test_a_loss_that_is_no_number(tmp_path):
    """The dump of a training on the device shows the same there again."""
    cfg = trainings.config('SimCLR', tmp_path)
    cfg.custom_hooks = [dict(type=Spoil)]
    with pytest.raises(FloatingPointError, match='in iteration 4 '):
        run(cfg)
    with FakeCuda():
        found = reproduce(tmp_path / 'nonfinite_iter_4_rank0.pth', 'cuda')
    assert found['reproduced'] and len(found['images']) == 1 and not found['parameters']


def test_validation_and_hooks_that_measure(tmp_path):
    cfg = trainings.config('Classification', tmp_path)
    plain = dict(
        type='SingleViewDataset', data_source=trainings.SOURCE, pipeline=[dict(type='Resize', size=16)], prefetch=True)
    cfg.data.samples_per_gpu = 120
    cfg.data.val = plain
    cfg.workflow = [('train', 1), ('val', 1)]
    cfg.evaluation = dict(interval=1, topk=(1, 2))
    cfg.optimizer = dict(type='AdamW', lr=1e-3)
    cfg.activation_checkpointing = True
    cfg.log_config = dict(interval=2, hooks=[dict(type='TextLoggerHook'), dict(type='TensorboardLoggerHook')])
    cfg.custom_hooks = [
        dict(type='KNNEvalHook', train_dataset=plain, val_dataset=plain, k=5,
             img_norm_cfg=trainings.NORM),
        dict(type='RepresentationQualityHook', dataset=plain, img_norm_cfg=trainings.NORM),
        dict(type='PhaseTimerHook', interval=2),
        dict(type='HistogramHook', interval=3),
        dict(type='ViewsHook'),
        dict(type='ModelSummaryHook'),
        dict(type='GPUStatsHook'),
    ]  # yapf: disable
    # at their intervals they send what is drawn
    runner = run(cfg, waits=['histogram_of', 'to_pixels'])
    assert runner.iter == 4
    lines = [json.loads(line) for line in next(tmp_path.glob('*.log.json')).read_text().splitlines()]
    logged = set().union(*lines)
    assert {'knn_top1', 'quality_rankme', 'head1_top1', 'acc'} <= logged
    assert {line.get('mode') for line in lines} == {None, 'train', 'val'}
