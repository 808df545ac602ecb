"""Switches of a config for many devices: synchronised batch norms, and how gradients travel."""
import copy
import re
import sys
from pathlib import Path

import pytest
import torch
from mmcv import Config
from torch import nn

from mmssl.core.optimizer.master_weights import hand_gradients_over
from mmssl.core.parallel import make_trainable, prepare_model, wrap_model
from mmssl.models import SplitBatchNorm, SyncBatchNorm, build_backbone
from mmssl.utils.errors import ConfigError
from mmssl.utils.master_weights import update_weights

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'test_models'))
import tiny  # noqa: E402, isort: skip

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
    for name, cfg, size in (('timm', TIMM, 2), ('ours', OURS, 2), ('ours', OURS, 0)):
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
    for name, cfg in (('timm', TIMM), ('ours', OURS), ('config', OURS)):
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


class Unused(nn.Module):
    """A network of more than the first megabyte that is sent, with a parameter that has no part in the loss."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.layers = nn.Sequential(nn.Linear(12, 500), nn.Tanh(), nn.Linear(500, 700))
        self.spare = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return self.layers(x)


def reduced_gradients(rank, switches, times=1):
    """The mean over some backward passes of the gradients that two processes give each other."""
    model = wrap_model(Unused(), Config(switches), CPU)
    x = torch.randn(2, 8, 12, generator=torch.Generator().manual_seed(7))[rank]
    total = 0.
    for _ in range(times):
        model.zero_grad()
        model(x).square().mean().backward()
        total = total + torch.cat([weight.grad.flatten() for weight in model.module.layers.parameters()])
    return total / times


def sharded(rank):
    """How far a sharded training with LARC and blocks that are computed again is from one without both: the largest
    difference of a weight after two iterations."""
    from mmssl.core import DistributedDataParallel, build_optimizer
    from mmssl.core.sharding import shard_model
    from mmssl.utils.sharded import whole
    cfg = dict(type='LARC', base=dict(type='SGD', momentum=0.9), lr=0.05, weight_decay=1e-3, trust_coefficient=0.01)
    model = tiny.build('MoCo').double()
    reference = DistributedDataParallel(copy.deepcopy(model))
    prepare_model(model, Config(dict(activation_checkpointing=True)), CPU)
    for one in (shard_model(model, min_params=0), reference):
        optimizer = build_optimizer(one, cfg)
        for i in range(2):
            data = tiny.batch('MoCo', 8, seed=i, start=4 * rank, stop=4 * rank + 4)
            data['img'] = [view.double() for view in data['img']]
            optimizer.zero_grad()
            torch.manual_seed(i)
            one.train_step(data, optimizer)['loss'].backward()
            optimizer.step()
    found, expected = whole(model.state_dict()), reference.module.state_dict()
    return max((found[key].double() - value.double()).abs().max().item() for key, value in expected.items())


def halved(rank):
    """Copies in float32 of a model that each process has initialised for itself, after one step."""
    torch.manual_seed(rank)
    amp = dict(dtype='bfloat16', master_weights=True)
    model, optimizer = make_trainable(
        nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), Config(dict(amp=amp, optimizer=dict(type='SGD', lr=0.1))), CPU,
        True)
    with torch.autocast('cpu', torch.bfloat16):
        model(torch.randn(5, 3)).square().mean().backward()
    hand_gradients_over(model)
    optimizer.step()
    update_weights(model)
    return dict(model.module.state_dict())


def two(rank, world_size):
    results = dict(sharded=torch.tensor(sharded(rank)), **halved(rank))
    results.update(compressed(rank))
    return results


def compressed(rank):
    unused = dict(find_unused_parameters=True)
    power = dict(unused, gradient_compression=dict(type='powerSGD', start_powerSGD_iter=2, min_compression_rate=1))
    results = dict(plain=reduced_gradients(rank, unused), static=reduced_gradients(rank, dict(static_graph=True), 3))
    for kind in ('fp16', 'bf16', 'powerSGD'):
        results[kind] = reduced_gradients(rank, dict(unused, gradient_compression=kind))
    results['three'], results['many'] = (reduced_gradients(rank, power, times) for times in (3, 60))
    return results


@pytest.mark.long
def test_gradients_between_processes(run_distributed):
    """Compressed gradients against those as they are; what PowerSGD leaves out of one step comes in later ones."""
    ranks = run_distributed(two)
    plain = ranks[0]['plain']
    for key, value in ranks[0].items():
        assert value.equal(ranks[1][key]), key
    assert ranks[0]['sharded'] < 1e-12 and ranks[0]['1.weight'].dtype == torch.float32
    torch.testing.assert_close(ranks[0]['static'], plain)
    assert ranks[0]['powerSGD'].equal(plain)  # in its first iterations
    error = {
        key: ((value - plain).norm() / plain.norm()).item()
        for key, value in ranks[0].items() if value.shape == plain.shape
    }
    assert 1e-6 < error['fp16'] < 1e-3 and 1e-4 < error['bf16'] < 1e-2, error
    assert error['many'] < 0.5 * error['three'] and error['three'] > 0.02, error


@pytest.mark.parametrize('switches, message', [
    (dict(gradient_compression='fp8'), "one of fp16, bf16, powerSGD, or a dict with one as its type, got 'fp8'"),
    (dict(gradient_compression=dict(type='bf16', rank=2)), "gradient_compression 'bf16' takes no 'rank'; it has no"),
    (dict(gradient_compression=dict(type='powerSGD', warm_strat=True)), "no 'warm_strat'; did you mean 'warm_start'"),
    (dict(gradient_compression=dict(type='powerSGD', start_powerSGD_iter=1)), 'gradient_compression: Expect `start_'),
    (dict(gradient_compression=dict(type='powerSGD', matrix_approximation_rank=0)), 'rank is an integer of at least 1'),
    (dict(static_graph=True, find_unused_parameters=True), 'find_unused_parameters=True looks for them in each'),
    (dict(static_graph=True, optimizer_config=dict(update_interval=2)), 'optimizer_config.update_interval is 2'),
])
def test_refused_between_processes(switches, message, tmp_path):
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/meet', rank=0, world_size=1)
    try:
        with pytest.raises(ConfigError, match=re.escape(message)):
            wrap_model(nn.Linear(2, 2), Config(switches), CPU)
    finally:
        torch.distributed.destroy_process_group()


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
