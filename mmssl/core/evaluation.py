# Copyright (c) mmssl contributors. All rights reserved.
"""Outputs of a model over a data set, in its order, in one process or several."""
import torch

from mmssl.utils.checkpoint import unwrap
from mmssl.utils.dist import gather_variable
from .distributed import broadcast_batch_norm


@torch.no_grad()
def collect_outputs(model, data_loader):
    """Run the model in mode 'test' over a loader.

    Args:
        model (nn.Module): Wrapped or not; its training mode is restored afterwards.
        data_loader: Gives dicts with 'img' and 'idx'. In several processes each gets its share of the samples;
            repeated ones are used once.

    Returns:
        dict[str, Tensor]: Outputs by name, on the CPU, row i for sample i of the data set, the same on each rank.
    """
    module = unwrap(model)
    training = module.training
    module.eval()
    broadcast_batch_norm(module)
    if hasattr(data_loader, 'set_epoch'):
        data_loader.set_epoch(0)  # the same random choices (where patches lie) in each evaluation, after a resume too
    indices, outputs = [], []
    for batch in data_loader:
        indices.append(batch['idx'])
        outputs.append(module(**batch, mode='test'))
    module.train(training)
    order = torch.cat(gather_variable(torch.cat(indices)))
    # the first place of each index; the sampler fills the last batches up with samples that were there already
    order, first = torch.unique(order, return_inverse=True)
    place = torch.full((len(order), ), len(first), device=first.device)
    place.scatter_reduce_(0, first, torch.arange(len(first), device=first.device), 'amin')
    found = {}
    for name in outputs[0]:
        # where the collectives of this training are: an algorithm may have moved its outputs to the CPU
        mine = torch.cat([output[name] for output in outputs]).float().to(order.device)
        found[name] = torch.cat(gather_variable(mine))[place].cpu()
    return found


def single_gpu_test(model, data_loader):
    """See collect_outputs; MMSelfSup's name."""
    return collect_outputs(model, data_loader)


def multi_gpu_test(model, data_loader, tmpdir=None, gpu_collect=False):
    """See collect_outputs; MMSelfSup's name. Collecting needs no folder and no choice."""
    return collect_outputs(model, data_loader)
