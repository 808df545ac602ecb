"""Three SGD steps of each algorithm of tiny.py, and whether two runs of them are the same up to rounding."""
import tiny
import torch

from mmssl.core.distributed import DistributedDataParallel
from mmssl.datasets.loader import map_tensors

# In float32 the rounding of the first step is amplified from step to step, so that only the first is compared there.
TOLERANCES = {torch.float64: 1e-8, torch.float32: 2e-4}
SIZES = (8, 8, 6)  # the last batch is a partial one; 22 keys wrap around the queue of 20


def train(name, dtype, rank=0, world_size=1, device='cpu', wrap=False):
    """Three SGD steps; losses, the gradients of each, and the state at the end.

    Ranks start from different random states, as with --diff_seed: DDP hands out rank 0's weights. With `wrap` one
    process has the wrapper too.
    """
    model = tiny.build(name, seed=rank).to(device, dtype)
    if name == 'CAE':  # its tokenizer computes in float16 on a GPU, as published, so that tokens would be others
        for module in model.head.tokenizer.modules():
            module.use_float16 = False
    wrapped = DistributedDataParallel(model) if world_size > 1 or wrap else model
    losses, grads, accuracies = [], [], []
    for i, size in enumerate(SIZES):
        share = size // world_size
        data = tiny.batch(name, size, seed=i, start=rank * share, stop=(rank + 1) * share)
        data['img'] = map_tensors(data['img'], lambda v: v.to(dtype))
        if 'label' in data and not getattr(model, 'needs_labels', False):  # 2 of 4 here, 3 of 4 there
            data['label'][torch.isin(data['idx'], torch.tensor([1, 2, 5]))] = -1
        data = map_tensors(data, lambda v: v.to(device))
        model.zero_grad()
        out = wrapped.train_step(data, None)
        out['loss'].backward()
        losses.append(out['loss'].detach())
        accuracies.append(out['log_vars'].get('acc', torch.tensor(0.)))
        grads.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
        with torch.no_grad():
            for p in model.parameters():
                if p.grad is not None:
                    p -= 0.05 * p.grad
        if hasattr(model, 'momentum_update'):
            model.momentum_update()
    found = dict(
        losses=torch.stack(losses), accuracies=torch.stack(accuracies), grads=grads, state=dict(model.state_dict()))
    return map_tensors(found, lambda v: v.cpu())


def assert_near(got, want, what, tolerance=2e-4):
    """Equal up to rounding: the error is small against the norm of the tensor."""
    error = (got.double() - want.double()).norm()
    assert error <= tolerance * want.double().norm() + 1e-12, f'{what}: {error} of {want.double().norm()}'


def assert_same_training(runs, expected, dtype):
    """Losses and accuracies (their means over ranks), gradients of all parameters, and the whole state at the end.

    Args:
        runs (list[dict]): Of `train`, one a rank.
        expected (dict): Of `train` in one process on the CPU.
        dtype (torch.dtype): Of both.
    """
    tolerance, steps = TOLERANCES[dtype], len(SIZES) if dtype == torch.float64 else 1
    assert_near(sum(run['losses'][:steps] for run in runs) / len(runs), expected['losses'][:steps], 'loss', tolerance)
    assert_near(sum(run['accuracies'][:steps] for run in runs) / len(runs), expected['accuracies'][:steps], 'accuracy')
    for run in runs:
        for step in range(steps):
            assert run['grads'][step].keys() == expected['grads'][step].keys()
            # a tensor whose gradient is next to nothing is measured against all of them
            scale = torch.stack([g.norm() for g in expected['grads'][step].values()]).norm()
            for key, grad in expected['grads'][step].items():
                error = (run['grads'][step][key] - grad).norm()
                assert error <= tolerance * (grad.norm() + 0.1 * scale), f'step {step}, {key}: {error}, {grad.norm()}'
        if dtype == torch.float64:
            for key, value in expected['state'].items():
                assert_near(run['state'][key], value, key, tolerance)
