# Copyright (c) mmssl contributors. All rights reserved.
"""State of an optimizer from a checkpoint, under the settings of now."""
from mmssl.utils.checkpoint import CheckpointError
from mmssl.utils.sharded import shard_like

# settings that say how an optimizer computes, not what
_HOW = ('foreach', 'fused', 'capturable', 'differentiable', 'maximize', 'decoupled_weight_decay', 'names', 'params')


def optimizer_settings(optimizer):
    """Kind and settings of an optimizer as it was built, before any schedule changes them.

    Args:
        optimizer (torch.optim.Optimizer): The optimizer.

    Returns:
        dict: `type` (str) and `groups` (list[dict]), of plain values.
    """
    left_out = ('params', 'names')
    groups = [{key: value for key, value in group.items() if key not in left_out} for group in optimizer.param_groups]
    own = optimizer.optim if _is_divided(optimizer) else optimizer
    return dict(type=type(own).__name__, groups=groups)


def _is_divided(optimizer):
    """Whether it is torch's ZeroRedundancyOptimizer, which has another one inside."""
    return hasattr(optimizer, 'consolidate_state_dict')


def optimizer_state(optimizer, keep=True):
    """The state of an optimizer in torch's form, by the numbers of parameters. A collective call where it is divided.

    Args:
        optimizer (torch.optim.Optimizer): The optimizer.
        keep (bool): Whether this process wants it; it is for rank 0 that processes send their parts.

    Returns:
        dict | None: `state` and `param_groups`; None where a divided state is not wanted.
    """
    if _is_divided(optimizer):
        optimizer.consolidate_state_dict(0)
        return optimizer.state_dict() if keep else None
    return optimizer.state_dict()


def forget(optimizer, parameters):
    """Drop what an optimizer has gathered about some parameters, such as their velocities."""
    own = optimizer.optim if _is_divided(optimizer) else optimizer
    for parameter in parameters:
        own.state.pop(parameter, None)


def _divided_as_parameters(optimizer, state):
    """A state of whole tensors, with those of the shapes of sharded parameters sharded likewise."""
    parameters = [p for group in optimizer.param_groups for p in group['params']]
    numbers = [number for group in state['param_groups'] for number in group['params']]
    entries = {}
    for number, parameter in zip(numbers, parameters):
        if number in state['state']:
            entries[number] = {
                name: shard_like(value, parameter) if getattr(value, 'shape', None) == parameter.shape else value
                for name, value in state['state'][number].items()
            }
    return dict(state, state=entries)


def load_optimizer(optimizer, state, then, now, path):
    """Restore an optimizer; settings that were changed since count as they are now, also for schedules.

    Args:
        optimizer (torch.optim.Optimizer): Changed in place.
        state (dict): Its state in the checkpoint.
        then (dict, optional): optimizer_settings of the training that wrote it; without them the state tells.
        now (dict): optimizer_settings of this training.
        path (str): The checkpoint, for messages.

    Returns:
        list[str]: Changed settings, as 'name: old -> new'.

    Raises:
        CheckpointError: The state is that of another optimizer, or of other groups of parameters.
    """
    saved, own = state['param_groups'], optimizer.param_groups
    if then is None:  # schedules note the base of what they change
        then = dict(
            type=now['type'],
            groups=[{
                key: group.get(f'initial_{key}', value)
                for key, value in group.items()
            } for group in saved])
        keys, own_keys = ({key
                           for key in group if key not in _HOW and not key.startswith('initial_')}
                          for group in (saved[0], own[0]))
        if keys != own_keys:
            then['type'] = f'an optimizer with the settings {", ".join(sorted(keys))}'
    if then['type'] != now['type']:
        raise CheckpointError(
            f'{path} holds the state of {then["type"]}, and optimizer.type is {now["type"]}: go on with '
            'the optimizer of the checkpoint, or begin a new run with its weights (--load-from)')
    names, own_names = ([group.get('names') for group in groups] for groups in (saved, own))
    sizes, own_sizes = ([len(group['params']) for group in groups] for groups in (saved, own))
    if sizes != own_sizes or (None not in names + own_names and names != own_names):
        raise CheckpointError(
            f'the parameters are grouped otherwise than in {path} ({own_sizes} a group, not {sizes}): '
            'a resume can change settings of the optimizer as long as the same parameters share theirs')
    optimizer.load_state_dict(state if _is_divided(optimizer) else _divided_as_parameters(optimizer, state))
    if _is_divided(optimizer):
        optimizer.state.clear()  # a second copy of what the one inside has
    changes = {}
    for group, old, new in zip(optimizer.param_groups, then['groups'], now['groups']):
        for key, value in new.items():
            if group.pop(f'{key}_share', None) is not None:  # how ScheduleHook noted the base of what it changes
                group[f'initial_{key}'] = value
            if key in old and old[key] == value:
                continue
            group[key] = value
            if key not in _HOW:
                changes[f'{key}: {old.get(key)} -> {value}'] = None
            # what a schedule computes from
            if f'initial_{key}' in group:
                group[f'initial_{key}'] = value
            elif key == 'betas' and 'initial_momentum' in group:
                group['initial_momentum'] = value[0]
        # a group without it would take the rate at which the checkpoint was written for its first one
        group.setdefault('initial_lr', new['lr'])
    return list(changes)
