# Copyright (c) mmssl contributors. All rights reserved.
"""Outputs of a model over a data set, in its order, in one process or several."""
import torch

from mmssl.datasets.loader import left_out
from mmssl.utils.checkpoint import unwrap
from mmssl.utils.dist import all_gather_object, gather_variable, get_rank
from mmssl.utils.errors import ConfigError
from mmssl.utils.logger import get_root_logger
from .distributed import broadcast_batch_norm


class Outputs(dict):
    """Outputs by name, and the samples that they are of.

    Attributes:
        index (ndarray): int64, the `idx` of each row: all samples in their order, but for those that cannot be read.
    """
    index = None


@torch.no_grad()
def collect_outputs(model, data_loader):
    """Run the model in mode 'test' over a loader.

    Args:
        model (nn.Module): Wrapped or not; its training mode is restored afterwards.
        data_loader: Gives dicts with 'img' and 'idx'. In several processes each gets its share of the samples;
            repeated ones are used once.

    Returns:
        Outputs: Tensors by name, on the CPU, the same on each rank: row i for sample i of the data set, or, where
            images cannot be read and are left out, for sample `index[i]`.
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
    broken = {entry[0]: entry for met in all_gather_object(list(getattr(data_loader, 'met', ()))) for entry in met}
    if broken and get_rank() == 0:
        get_root_logger().warning(left_out(sorted(broken.values()), len(data_loader.dataset)))
    if not all(all_gather_object(bool(outputs))):
        raise ConfigError('no image of the test can be read, or none of the share of one process')
    order = torch.cat(gather_variable(torch.cat(indices)))
    # the first place of each index; the sampler fills the last batches up with samples that were there already
    order, first = torch.unique(order, return_inverse=True)
    place = torch.full((len(order), ), len(first), device=first.device)
    place.scatter_reduce_(0, first, torch.arange(len(first), device=first.device), 'amin')
    found = Outputs()
    found.index = order.cpu().numpy()
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
