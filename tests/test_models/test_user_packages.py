"""Algorithms under mmcv's own runner, and parts written after the tutorials of MMSelfSup 0.x with the name replaced."""
import copy
import importlib
import logging
import sys

import mmcv
import pytest
import tiny
import torch
from mmcv.runner import OptimizerHook
from mmcv.runner.epoch_based_runner import EpochBasedRunner
from torch.nn import functional as F

from mmssl.models import build_algorithm

PACKAGE = {
    '__init__.py':
    'from . import algorithms, backbones, heads, necks  # noqa: F401\n',
    'backbones.py':
    '''
import torch.nn as nn

from mmssl.models.builder import BACKBONES


@BACKBONES.register_module()
class NewBackbone(nn.Module):

    def __init__(self, *args, width=8, **kwargs):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, stride=4)
        self.frozen = kwargs.pop('frozen', False)

    def init_weights(self, pretrained=None):
        nn.init.constant_(self.conv.bias, 0.5)

    def train(self, mode=True):
        super().train(mode and not self.frozen)

    def forward(self, x):
        return (self.conv(x), )
''',
    'necks.py':
    '''
import torch.nn as nn
from mmcv.runner import BaseModule

from mmssl.models.builder import NECKS


@NECKS.register_module()
class NewNeck(BaseModule):

    def __init__(self, in_channels, out_channels, with_avg_pool=True,
                 init_cfg=dict(type='Constant', layer='Linear', val=0.1, bias=0.2)):
        super(NewNeck, self).__init__(init_cfg)
        self.with_avg_pool = with_avg_pool
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(in_channels, out_channels)

    def forward(self, x):
        assert len(x) == 1
        x = x[0]
        if self.with_avg_pool:
            x = self.avgpool(x)
        return [self.fc(x.view(x.size(0), -1))]
''',
    'heads.py':
    '''
import torch
import torch.nn as nn
from mmcv.runner import BaseModule

from mmssl.models.builder import HEADS, LOSSES, build_loss


@LOSSES.register_module()
class NewLoss(nn.Module):

    def __init__(self, weight=1.0):
        super().__init__()
        self.weight = weight

    def forward(self, a, b):
        return self.weight * (a - b).pow(2).mean()


@HEADS.register_module()
class NewHead(BaseModule):

    def __init__(self, loss=dict(type='NewLoss')):
        super(NewHead, self).__init__()
        self.loss = build_loss(loss)

    def forward(self, a, b):
        losses = dict()
        losses['loss'] = self.loss(a, b)
        return losses
''',
    'algorithms.py':
    '''
import torch
import torch.nn as nn
from mmcv.runner import auto_fp16

from mmssl.models.algorithms.base import BaseModel
from mmssl.models.builder import ALGORITHMS, build_backbone, build_head, build_neck
from mmssl.models.utils import GatherLayer
from mmssl.utils import batch_shuffle_ddp, batch_unshuffle_ddp, concat_all_gather


@ALGORITHMS.register_module()
class NewAlgorithm(BaseModel):

    def __init__(self, backbone, neck=None, head=None, queue_len=16, with_sobel=False, init_cfg=None, **kwargs):
        super(NewAlgorithm, self).__init__(init_cfg)
        assert neck is not None
        self.with_sobel = with_sobel
        self.encoder_q = nn.Sequential(build_backbone(backbone), build_neck(neck))
        self.encoder_k = nn.Sequential(build_backbone(backbone), build_neck(neck))
        self.backbone = self.encoder_q[0]
        self.neck = self.encoder_q[1]
        assert head is not None
        self.head = build_head(head)
        self.queue_len = queue_len
        self.register_buffer('queue', torch.zeros(4, queue_len))

    def init_weights(self):
        super().init_weights()
        for param_q, param_k in zip(self.encoder_q.parameters(), self.encoder_k.parameters()):
            param_k.data.copy_(param_q.data)
            param_k.requires_grad = False

    @torch.no_grad()
    def _dequeue_and_enqueue(self, keys):
        keys = concat_all_gather(keys)
        self.queue[:, :keys.shape[0]] = keys.transpose(0, 1)

    def extract_feat(self, img):
        x = self.backbone(img)
        return x

    def forward_train(self, img, **kwargs):
        assert isinstance(img, list)
        q = self.encoder_q(img[0])[0]
        with torch.no_grad():
            shuffled, idx_unshuffle = batch_shuffle_ddp(img[1])
            k = batch_unshuffle_ddp(self.encoder_k(shuffled)[0], idx_unshuffle)
        self._dequeue_and_enqueue(k)
        return self.head(torch.cat(GatherLayer.apply(q), dim=0), k)
''',
}
CONFIG = dict(
    type='NewAlgorithm',
    backbone=dict(type='NewBackbone', width=6),
    neck=dict(type='NewNeck', in_channels=6, out_channels=4),
    head=dict(type='NewHead', loss=dict(type='NewLoss', weight=2.)))


class Batches(list):
    """A loader whose every epoch is these batches."""


def run_by_mmcv(model, data, work_dir, monkeypatch):
    """One training iteration and one validation by mmcv's runner and optimizer hook; returns what was logged."""
    monkeypatch.setattr('mmcv.runner.epoch_based_runner.time.sleep', lambda seconds: None)
    parameters = [p for p in model.parameters() if p.requires_grad]
    runner = EpochBasedRunner(
        model,
        optimizer=torch.optim.SGD(parameters, lr=0.1),
        work_dir=str(work_dir),
        logger=logging.getLogger('test'),
        max_epochs=1)
    runner.register_hook(OptimizerHook())
    logged = []
    monkeypatch.setattr(runner, 'run_iter', lambda batch, train_mode, **kwargs: (
        EpochBasedRunner.run_iter(runner, batch, train_mode, **kwargs), runner.log_buffer.average(1),
        logged.append(dict(runner.log_buffer.output))))  # yapf: disable
    runner.run([Batches([data]), Batches([data])], [('train', 1), ('val', 1)])
    return logged


@pytest.mark.parametrize('name', tiny.CONFIGS)
def test_under_the_runner_of_mmcv(name, tmp_path, monkeypatch):
    """The same step as without a runner; the losses reach mmcv's log, and a validation changes nothing."""
    model, data = tiny.build(name), tiny.batch(name)
    expected = copy.deepcopy(model)
    if 'pick_positives' in vars(model):  # belongs to the model that it was copied from
        expected.pick_positives = model.pick_positives
    torch.manual_seed(3)
    out = expected.train_step(copy.deepcopy(data))
    out['loss'].backward()
    torch.manual_seed(3)
    logged = run_by_mmcv(model, data, tmp_path, monkeypatch)
    assert len(logged) == 2 and logged[0].keys() == out['log_vars'].keys()
    assert logged[0]['loss'] == pytest.approx(out['loss'].item(), rel=1e-5)
    for (key, p), q in zip(model.named_parameters(), expected.parameters(), strict=True):
        if q.grad is not None:
            torch.testing.assert_close(p.detach(), (q - 0.1 * q.grad).detach(), msg=lambda text: f'{key}: {text}')


def test_parts_written_after_the_tutorials(tmp_path, monkeypatch):
    folder = tmp_path / "Ann's project"
    (folder / 'new_ssl').mkdir(parents=True)
    for file, text in PACKAGE.items():
        (folder / 'new_ssl' / file).write_text(text)
    monkeypatch.syspath_prepend(folder)
    importlib.import_module('new_ssl')
    try:
        model = build_algorithm(mmcv.Config(dict(model=CONFIG)).model)
        model.init_weights()
        assert model.backbone.conv.bias.eq(0.5).all() and model.neck.fc.weight.allclose(torch.tensor(0.1))
        views = [torch.randn(4, 3, 16, 16) for _ in range(2)]
        pooled = [model.backbone.conv(view).mean((2, 3)) for view in views]
        expected = 2 * F.mse_loss(*(0.1 * x.sum(1, keepdim=True).expand(-1, 4) for x in pooled))
        logged = run_by_mmcv(model, dict(img=views, idx=torch.arange(4)), tmp_path, monkeypatch)
        assert logged[0]['loss'] == pytest.approx(expected.item(), rel=1e-4)
        assert logged[1]['loss'] != logged[0]['loss'] and model.queue[:, :4].ne(0).all()
        assert model(views[0], mode='extract')[0].shape == (4, 6, 4, 4)
    finally:
        for name in [name for name in sys.modules if name.startswith('new_ssl')]:
            del sys.modules[name]
