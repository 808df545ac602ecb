# Copyright (c) mmssl contributors. All rights reserved.
"""Options of single parameters, gathered into few groups."""
import re
import warnings

from mmssl.utils.errors import ConfigError, nearest

# options that mean something to this toolbox and are no argument of the optimizer
EXTRA_OPTIONS = ('lars_exclude', 'fix_lr', 'schedule')

# mmcv's options by kind of layer; any other key of paramwise_options is a regular expression
BY_KIND = ('custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'dwconv_decay_mult',
           'dcn_offset_lr_mult', 'bypass_duplicate')

# ours, by shape and by depth
BY_LAYER = ('flat_decay_mult', 'layer_decay_rate', 'patch_embed_mult')


def gather_groups(named_options):
    """Put parameters with the same options into one group, so that the optimizer takes them together.

    Args:
        named_options (iterable): Of name, parameter and dict of options.

    Returns:
        list[dict]: Groups with `params`, `names` and their options, in the order of their first parameters.
    """
    groups = {}
    for name, parameter, options in named_options:
        key = tuple(sorted((k, tuple(v) if isinstance(v, list) else v) for k, v in options.items()))
        group = groups.setdefault(key, dict(params=[], names=[], **options))
        group['params'].append(parameter)
        group['names'].append(name)
    return list(groups.values())


def regex_options(model, base, paramwise_options, known):
    """Options of each trainable parameter by regular expressions over names.

    All expressions found in a name (re.search) count, later ones over earlier ones.

    Args:
        model (nn.Module): The model.
        base (dict): Arguments of the optimizer, which options such as lr_mult multiply.
        paramwise_options (dict[str, dict]): Options by expression.
        known (Sequence[str]): Arguments that a group of the optimizer can have.

    Yields:
        tuple[str, Parameter, dict]: Name, parameter, options.

    Raises:
        ConfigError: An option that the optimizer does not know, or a factor of an argument that has no value.
    """
    known = {*known, *EXTRA_OPTIONS, *(f'{name}_mult' for name in known)}
    used = set()
    for pattern, options in paramwise_options.items():
        if not isinstance(options, dict):
            raise ConfigError(f'paramwise_options[{pattern!r}] is a dict of options, got {options!r}; of the options '
                              f'by kind of layer {nearest(pattern, BY_KIND + BY_LAYER)}')
        try:
            re.compile(pattern)
        except re.error as error:
            raise ConfigError(f'paramwise_options[{pattern!r}] is no regular expression: {error}') from error
        for option, value in options.items():
            if option == 'schedule' and not isinstance(value, str):
                raise ConfigError(f'paramwise_options[{pattern!r}]: schedule is a name in lr_config.schedules, got '
                                  f'{value!r}')
            if option != 'schedule' and isinstance(value, (str, dict)):
                raise ConfigError(f'paramwise_options[{pattern!r}]: {option} is a number or a truth value, '
                                  f'got {value!r}')
            if option not in known:
                raise ConfigError(f'paramwise_options[{pattern!r}] has the unknown option {option!r}; '
                                  f'{nearest(option, known)}')
            if option.endswith('_mult') and not isinstance(base.get(option[:-5]), (int, float, list, tuple)):
                raise ConfigError(f'paramwise_options[{pattern!r}]: {option} needs {option[:-5]!r} in the config of '
                                  'the optimizer, a number')
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        own = {}
        for pattern, options in paramwise_options.items():
            if re.search(pattern, name):
                used.add(pattern)
                for option, value in options.items():
                    if option.endswith('_mult'):
                        own[option[:-5]] = base[option[:-5]] * value
                    else:
                        own[option] = value
        yield name, parameter, own
    for pattern in paramwise_options:
        if pattern not in used:
            warnings.warn(f'paramwise_options: {pattern!r} is found in the name of no trainable parameter')
