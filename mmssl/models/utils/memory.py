# Copyright (c) mmssl contributors. All rights reserved.
"""Does a memory bank fit the algorithm and the network that fills it?"""
from mmssl.utils.errors import ConfigError
from .channels import feature_channels


def check_memory(model, method, kind, necks=('neck', )):
    """See that a model has a memory bank that works as the algorithm needs, of the width of the features.

    Args:
        model (nn.Module): With `memory_bank` and these necks.
        method (str): What the algorithm calls of the memory.
        kind (str): The memory that has it.
        necks (Sequence[str]): Whose output is compared with the memory.

    Raises:
        ConfigError: Another kind of memory, or another width.
    """
    memory = model.memory_bank
    if not hasattr(memory, method):
        raise ConfigError(f'{type(model).__name__} needs a memory such as {kind}: model.memory_bank is a '
                          f'{type(memory).__name__}')
    for name in necks:
        given, kept = feature_channels(getattr(model, name)), memory.feature_bank.shape[-1]
        if given not in (None, kept):
            raise ConfigError(f'model.{name} gives {given} dimensions, model.memory_bank.feat_dim is {kept}: set '
                              'both to the same')
