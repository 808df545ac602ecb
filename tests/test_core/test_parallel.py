"""Switches of a config for many devices: synchronised batch norms, in one process and in four."""
import copy
import re

import pytest
import torch
from mmcv import Config
from torch import nn

from mmssl.core.parallel import prepare_model
from mmssl.models import SplitBatchNorm, SyncBatchNorm, build_backbone
from mmssl.utils.errors import ConfigError

CPU = torch.device('cpu')
TIMM = dict(type='TIMMBackbone', model_name='resnet10t')  # its norms have the activation in them
TORCHVISION = dict(type='TorchvisionBackbone', model_name='resnet18', out_indices=[1])
OURS = dict(type='ResNet', depth=10, base_channels=4, stem_channels=4)
SIZES = 2, 3, 4, 1  # images of each process


class Network(nn.Module):
    """A backbone with a batch norm of vectors behind it."""

    def __init__(self, cfg):
        super().__init__()
        self.backbone = build_backbone(cfg)
        self.neck = nn.Sequential(nn.Flatten(), nn.LazyLinear(5), nn.BatchNorm1d(5))

    def forward(self, x):
        return self.neck(self.backbone(x)[-1].mean((2, 3)))


def network(cfg):
    torch.manual_seed(0)
    model = Network(cfg).double().eval()
    model(torch.randn(2, 3, 32, 32, dtype=torch.double))  # which tells the linear layer its width
    return model.train()


def step(model, images, target):
    model.zero_grad()
    ((model(images) - target)**2).sum().backward()
    return dict(
        grads={
            name: weight.grad.clone()
            for name, weight in model.named_parameters() if weight.grad is not None
        },
        buffers=copy.deepcopy(dict(model.named_buffers())))


def data():
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(sum(SIZES), 3, 32, 32, dtype=torch.double, generator=generator)
    return images, torch.randn(sum(SIZES), 5, dtype=torch.double, generator=generator)


def prepared(cfg, **switches):
    return prepare_model(network(cfg), Config(switches), CPU)


def four(rank, world_size):
    """Each network with groups of 2 and of all, and what is refused."""
    images, target = (tensor.split(SIZES)[rank] for tensor in data())
    results = {}
    for name, cfg in (('timm', TIMM), ('torchvision', TORCHVISION), ('ours', OURS)):
        for size in (2, 0):
            results[name, size] = step(prepared(cfg, sync_bn=dict(group_size=size)), images, target)
    norm_cfg = dict(type='SyncBN', group_size=2)
    results['config', 2] = step(
        prepared(dict(OURS, norm_cfg=norm_cfg), sync_bn=dict(group_size=2), activation_checkpointing=True), images,
        target)
    from mmssl.utils.dist import neighbours_group
    results['groups'] = [
        torch.distributed.get_process_group_ranks(neighbours_group(2)),
        *(neighbours_group(size) for size in (0, -1, 4, 8))
    ]
    model = copy.deepcopy(prepared(OURS, sync_bn=dict(group_size=2)))  # as a momentum encoder is made
    results['copied'] = step(model, images, target)
    for switches, cfg in ((dict(sync_bn=dict(group_size=3)), OURS), ({},
                                                                     dict(OURS, norm_cfg=dict(norm_cfg,
                                                                                              group_size=3)))):
        try:
            prepared(cfg, **switches)
        except ConfigError as error:
            results.setdefault('refused', []).append(str(error))
    return results


@pytest.mark.long
def test_batch_norms_of_groups(run_distributed):
    """Groups of two of four processes are plain batch norm on the joined batches of these two: gradients (their sums
    over the group) and running statistics, with unlike numbers of images, in float64."""
    ranks = run_distributed(four, world_size=4)
    images, target = data()
    for name, cfg in (('timm', TIMM), ('torchvision', TORCHVISION), ('ours', OURS), ('config', OURS)):
        for size in (2, 4):
            if (name, size % 4) not in ranks[0]:
                continue
            for first in range(0, 4, size):
                part = slice(sum(SIZES[:first]), sum(SIZES[:first + size]))
                expected = step(network(cfg), images[part], target[part])
                found = [rank[name, size % 4] for rank in ranks[first:first + size]]
                sums = {key: sum(one['grads'][key] for one in found) for key in expected['grads']}
                torch.testing.assert_close(sums, expected['grads'], rtol=1e-8, atol=1e-10)
                for one in found:
                    torch.testing.assert_close(one['buffers'], expected['buffers'], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(ranks[1]['copied'], ranks[1]['ours', 2])
    assert [rank['groups'] for rank in ranks] == [[pair] + [None] * 4 for pair in ([0, 1], [0, 1], [2, 3], [2, 3])]
    assert all(rank['refused'] == ['4 processes cannot be cut into groups of 3 (group_size)'] * 2 for rank in ranks)


def test_sync_bn_in_one_process():
    """It is plain batch norm, whatever the group; the teacher's norms are of the same kind."""
    images, target = data()
    for cfg in (TIMM, TORCHVISION, OURS):
        plain, model = network(cfg), prepared(cfg, sync_bn=dict(group_size=8))
        kinds = {type(m) for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
        assert kinds and all(issubclass(kind, SyncBatchNorm) for kind in kinds)
        assert sorted(model.state_dict()) == sorted(plain.state_dict())
        torch.testing.assert_close(step(model, images, target), step(plain, images, target), rtol=1e-9, atol=1e-11)


def test_shared_norms_stay_shared():
    norm = nn.BatchNorm1d(2, track_running_stats=False)
    model = prepare_model(nn.ModuleDict(dict(a=norm, b=nn.Sequential(norm))), Config(dict(sync_bn=True)), CPU)
    assert model['a'] is model['b'][0] and model['a'].running_mean is None


class OwnNorm(nn.BatchNorm1d):

    def forward(self, x):
        return super().forward(x).relu()


@pytest.mark.parametrize('model, switches, message', [
    (nn.Linear(2, 2), dict(sync_bn=True), 'sync_bn: there is no batch norm in this Linear'),
    (nn.Sequential(SplitBatchNorm(2)), dict(sync_bn=True), '0 is a SplitBN, which divides those of one'),
    (nn.Sequential(OwnNorm(2)), dict(sync_bn=True), 'test_parallel.OwnNorm with a forward pass of its own'),
    (nn.BatchNorm1d(2), dict(sync_bn=dict(size=2)), "sync_bn has no option 'size'; did you mean 'group_size'"),
    (nn.BatchNorm1d(2), dict(sync_bn=dict(group_size=-2)), '-1 for those of one machine, got -2'),
])
def test_refused(model, switches, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        prepare_model(model, Config(switches), CPU)
