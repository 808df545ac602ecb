"""What the training machine does in two processes. One test, since starting the processes takes longest."""
import copy
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

from mmssl.core import DistributedDataParallel, collect_outputs
from mmssl.core.log_buffer import LogBuffer
from mmssl.utils.config import load_config

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'


def resume(rank, folder):
    from test_runner import resumed, same, train
    cfg = load_config(CONFIGS / 'digits_byol.py')
    cfg.data.samples_per_gpu, cfg.runner.max_epochs = 32, 1
    torch.rand(3 * rank)  # the ranks have different random numbers, and each gets its own back
    whole = train(cfg, f'{folder}/a', True)
    torch.distributed.barrier()
    return same(whole.model.state_dict(), resumed(cfg, f'{folder}/b', 18, True).model.state_dict())


def accumulate(rank, folder):
    from test_runner import Linear, numbers, plain_runner
    torch.manual_seed(5)
    model = DistributedDataParallel(Linear())
    reference = copy.deepcopy(model.module)
    data = list(numbers(8))
    runner = plain_runner(folder, dict(type='EpochBasedRunner', max_epochs=1), model)
    runner.register_training_hooks(None, dict(update_interval=2))
    runner.run([DataLoader(torch.cat(data[rank::2]), 4)], [('train', 1)])
    optimizer = torch.optim.SGD(reference.parameters(), 0.1)
    for group in (data[:4], data[4:]):
        optimizer.zero_grad()
        reference.train_step(torch.cat(group), None)['loss'].backward()
        optimizer.step()
    return max((a - b).abs().max().item() for a, b in zip(model.module.parameters(), reference.parameters()))


def average(rank):
    buffer = LogBuffer()
    buffer.samples = 6
    for i in range(4):
        buffer.update(dict(loss=torch.tensor(float(10 * rank + i)), time=1. + rank, data_time=0.25), 1 + rank)
    buffer.average(2)
    return dict(buffer.output)


def collect(rank, world_size):
    from test_hooks import Numbered, Scores
    sampler = DistributedSampler(Numbered(), world_size, rank, shuffle=True)
    return collect_outputs(DistributedDataParallel(Scores()), DataLoader(Numbered(), 2, sampler=sampler))['head0']


def buffers(rank):
    model = torch.nn.BatchNorm1d(2)
    model.running_mean.fill_(rank)
    wrapped = DistributedDataParallel(model)
    at_start = model.running_mean.tolist()
    wrapped(torch.full((2, 2), float(rank)))
    return at_start, model.running_mean.tolist()


def work(rank, world_size, folder):
    import sys
    sys.path.insert(0, str(Path(__file__).parent))
    return dict(
        resume=resume(rank, folder),
        accumulate=accumulate(rank, folder),
        average=average(rank),
        collect=collect(rank, world_size),
        buffers=buffers(rank))


def test_two_processes(run_distributed, tmp_path):
    """PITFALLS: resume trains on other data; feature order scrambled or duplicated (mss #634)."""
    results = run_distributed(work, str(tmp_path))
    # an interrupted training, resumed, has bit for bit the weights of the other, on both ranks
    assert [r['resume'] for r in results] == [True, True]
    # two processes and two iterations make one step of the mean gradient of all four batches
    assert max(r['accumulate'] for r in results) < 1e-6
    # logged tensors: mean over interval and ranks, weighted by samples; numbers are each process's own
    mean = pytest.approx((2 + 3 + 2 * 12 + 2 * 13) / 6)
    assert [r['average'] for r in results] == [
        dict(loss=mean, time=1., data_time=0.25, img_per_sec=6., data_share=0.25),
        dict(loss=mean, time=2., data_time=0.25, img_per_sec=3., data_share=0.125)
    ]
    # 11 samples on two ranks: in order, without the repeated one
    expected = torch.stack([torch.arange(11.), 10 * torch.arange(11.)], 1)
    assert all(torch.equal(r['collect'], expected) for r in results)
    # buffers of rank 0 at the start, later each rank's own
    assert [r['buffers'] for r in results] == [([0, 0], [0, 0]), ([0, 0], [pytest.approx(0.1)] * 2)]
