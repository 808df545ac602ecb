# Copyright (c) mmssl contributors. All rights reserved.
"""The backbone alone, out of a checkpoint."""
from mmssl.utils.checkpoint import check_other_file, get_state_dict, read_checkpoint, save_checkpoint
from mmssl.utils.errors import ConfigError

# Where the backbone stands: here, and in MMSelfSup's and OpenSelfSup's MoCo, BYOL and SimSiam
PREFIXES = ('backbone.', 'encoder_q.0.', 'online_net.0.', 'encoder.0.')


def extract_backbone(checkpoint, output, prefix=None):
    """Take the backbone out of a checkpoint, for use in other toolboxes and in the benchmarks.

    The written file holds dict(state_dict=...) with the keys that torchvision and mmcls give the network.

    Args:
        checkpoint (str | Path): Checkpoint of a training.
        output (str | Path): File to write.
        prefix (str, optional): What the keys of the backbone begin with; else the first of PREFIXES that is there.

    Returns:
        str: Words about what was written.

    Raises:
        ConfigError: No key begins so, or the output is the checkpoint.
    """
    check_other_file(checkpoint, output)
    weights = get_state_dict(read_checkpoint(checkpoint))
    prefixes = PREFIXES if prefix is None else (prefix.removesuffix('.') + '.', )
    for found in prefixes:
        backbone = {key.removeprefix(found): value for key, value in weights.items() if key.startswith(found)}
        if backbone:
            break
    else:
        parts = sorted({key.split('.')[0] for key in weights})
        raise ConfigError(f'no key of {checkpoint} begins with {" or ".join(map(repr, prefixes))}; the parts in '
                          f'it are {", ".join(parts)}. Name one with --prefix')
    save_checkpoint(dict(state_dict=backbone), output)
    return f'{len(backbone)} of {len(weights)} tensors begin with {found!r}: written to {output}'
