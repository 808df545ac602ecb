# Copyright (c) mmssl contributors. All rights reserved.
"""The settings of a config: who reads each, its type, and what is said of a name that nobody reads."""
import difflib
import logging
import numbers
import warnings

from .argument_types import fits
from .errors import ConfigError, nearest, short

_TRAIN = 'mmssl/core/training.py'
_PARALLEL = 'mmssl/core/parallel.py'
# name: type, and the file that reads it
TOP_LEVEL = dict(
    config_version=('int', 'mmssl/utils/config.py'),
    model=('dict', 'mmssl/apis/start.py'),
    data=('dict', _TRAIN),
    img_norm_cfg=('dict', _TRAIN),
    # a variable that the pipelines of the base configs go by; the data sets have one of their own
    prefetch=('bool', 'configs/selfsup/_base_/datasets/imagenet_mae.py'),
    optimizer=('dict', _TRAIN),
    optimizer_config=('dict', _TRAIN),
    lr_config=('dict', _TRAIN),
    momentum_config=('dict', _TRAIN),
    auto_scale_lr=('dict', 'mmssl/core/lr_scaling.py'),
    runner=('dict', _TRAIN),
    checkpoint_config=('dict', _TRAIN),
    log_config=('dict', _TRAIN),
    custom_hooks=('dict | list[dict | Hook]', _TRAIN),
    custom_imports=('dict', 'mmssl/utils/config.py'),
    evaluation=('dict', _TRAIN),
    workflow=('list', _TRAIN),
    load_from=('str', _TRAIN),
    load_from_mismatch=('str | list[str]', _TRAIN),
    inflate_stem=('str', _TRAIN),
    resume_from=('str', _TRAIN),
    auto_resume=('bool', 'mmssl/apis/run_dir.py'),
    dist_params=('dict', 'mmssl/apis/start.py'),
    log_level=('str', _TRAIN),
    seed=('int', 'mmssl/apis/start.py'),
    deterministic=('bool', 'mmssl/apis/start.py'),
    work_dir=('str', 'mmssl/apis/run_dir.py'),
    cudnn_benchmark=('bool', 'mmssl/apis/start.py'),
    opencv_num_threads=('int', 'mmssl/utils/setup_env.py'),
    torch_num_threads=('int', 'mmssl/utils/setup_env.py'),
    mp_start_method=('str', 'mmssl/utils/setup_env.py'),
    persistent_workers=('bool', _TRAIN),
    amp=('dict', _TRAIN),
    fp16=('dict', _TRAIN),
    channels_last=('bool', _TRAIN),
    compile=('bool', _PARALLEL),
    broken_images=('dict', _TRAIN),
    find_unused_parameters=('bool', _PARALLEL),
    broadcast_buffers=('bool', _PARALLEL),
    activation_checkpointing=('bool | dict', _PARALLEL),
    sync_bn=('bool | dict', _PARALLEL),
    sharding=('dict', _PARALLEL),
    static_graph=('bool', _PARALLEL),
    gradient_compression=('str | dict', _PARALLEL),
    profiler_config=('dict', _TRAIN),
    choices=('list[dict]', 'mmssl/evaluation/run_record.py'),
    features=('dict', 'mmssl/evaluation/descriptor.py'),
    demo=('dict', 'mmssl/apis/demo.py'),
    augmented_pipeline=('list', 'tools/benchmarks/classification/linear_sweep.py'))

# settings that are themselves dicts of settings, and of no registered class: the type of each
_DATA_SET = 'dict | list[dict]'
SECTIONS = {
    'data':
    dict(
        train=_DATA_SET,
        val=_DATA_SET,
        test=_DATA_SET,
        extract=_DATA_SET,
        original=_DATA_SET,
        database=_DATA_SET,
        query=_DATA_SET,
        samples_per_gpu='int',
        imgs_per_gpu='int',
        workers_per_gpu='int',
        num_gpus='int',
        shuffle='bool',
        replace='bool',
        sampling_replace='bool',
        pin_memory='bool',
        persistent_workers='bool',
        drop_last='bool',
        collate='dict',
        device_steps='bool',
        read_ahead='int',
        broken_images='dict',
        check_files='str | bool',
        sampler='dict | Sampler',
        prefetch_factor='int',
        timeout='float',
        multiprocessing_context='str',
        pin_memory_device='str'),
    'auto_scale_lr':
    dict(enable='bool', base_batch_size='int', rule='str'),
    'log_config':
    dict(interval='int', hooks='list[dict]'),
    'dist_params':
    dict(
        backend='str',
        port='int',
        init_method='str',
        timeout='float | timedelta',
        env='dict',
        world_size='int',
        rank='int',
        device_id='device'),
    'sharding':
    dict(type='str', blocks='list[str]', min_params='int', free_after_forward='bool', param_dtype='str'),
    'img_norm_cfg':
    dict(mean='Sequence[float]', std='Sequence[float]', max_value='float | None'),
    'amp':
    dict(dtype='str', loss_scale='float | str | dict', master_weights='bool'),
    'fp16':
    dict(loss_scale='float | str | dict'),
    'features':
    dict(layers='Sequence[str]', pool_type='str', power='float'),
}

# names of MMEngine, MMSelfSup 1.x and OpenSelfSup, and ours
RENAMED = dict(
    optim_wrapper='optimizer, optimizer_config and amp',
    param_scheduler='lr_config and momentum_config',
    train_cfg='runner',
    val_cfg='evaluation',
    test_cfg='tools/test.py',
    default_hooks='checkpoint_config, log_config and lr_config',
    train_dataloader='data.train, data.samples_per_gpu and data.workers_per_gpu',
    val_dataloader='data.val',
    test_dataloader='data.test',
    val_evaluator='evaluation',
    test_evaluator='evaluation',
    env_cfg='dist_params, cudnn_benchmark, mp_start_method, opencv_num_threads and torch_num_threads',
    default_scope='nothing: names are found without it',
    visualizer='log_config.hooks',
    vis_backends='log_config.hooks',
    log_processor='log_config',
    resume='resume_from or auto_resume',
    randomness='seed and deterministic',
    data_preprocessor='img_norm_cfg',
    model_wrapper_cfg='find_unused_parameters and broadcast_buffers',
    launcher='--launcher of tools/train.py',
    total_epochs='runner.max_epochs',
    max_epochs='runner.max_epochs',
    max_iters='runner.max_iters')
_RENAMED_IN = {
    'data':
    dict(
        batch_size='samples_per_gpu',
        num_workers='workers_per_gpu',
        collate_fn='collate',
        worker_init_fn='seed at the top level',
        generator='seed at the top level',
        batch_sampler='sampler, shuffle, replace and drop_last',
        train_dataloader='samples_per_gpu and workers_per_gpu',
        seed='seed at the top level')
}
# what the configs and tools of MMSelfSup 0.x write, and what means nothing here
_WITHOUT_MEANING = ('gpu_ids', 'device', 'split_at', 'split_name', 'dataset_type', 'data_source', 'name')


def check_names(values, files, own=()):
    """Refuse settings that nobody reads.

    A name counts as read when it is a setting, when the code of its own file reads it, when another file reads it by
    `{{_base_.name}}`, or when its value stands within another entry. One that begins with an underscore is the user's
    own. A base may hold further names for others, if they look like no setting.

    Args:
        values (dict): Of the whole config.
        files (list[ConfigFile]): The file, then its bases.
        own (Sequence[str]): Names that the calling tool reads besides.

    Raises:
        ConfigError: With the file, the line and the nearest setting.
    """
    known = {*TOP_LEVEL, *own}
    for file in files:
        for name in file.lines:
            if name in known or name.startswith('_') or name in file.loaded or name not in values \
                    or any(name in other.from_bases for other in files if other is not file):
                continue
            value, place = values[name], file.place(name)
            similar = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
            if name in RENAMED:
                if value != {}:  # which sets nothing
                    raise ConfigError(f'{place}: nothing reads {name!r}; here it is {RENAMED[name]}')
            elif not (similar and not isinstance(value, (dict, list, tuple))) and _stands_within(value, values, name):
                pass
            elif name in _WITHOUT_MEANING:
                warnings.warn(f'{place}: {name!r} means nothing to this toolbox and is left aside')
            elif similar:
                raise ConfigError(f'{place}: nothing reads {name!r}; did you mean {similar[0]!r}?')
            elif any(name in base.lines for base in files if base is not file):
                raise ConfigError(f'{place}: nothing reads {name!r}: the bases have used their own value already; set '
                                  'the settings that they have built with it')
            elif file is files[0] and not any(part.startswith('_base_') for part in file.path.parts):
                raise ConfigError(f'{place}: nothing reads {name!r}: it is no setting (docs/en/config.md lists them). '
                                  'A variable of your own is used in the file, or its name begins with an underscore')


def _stands_within(value, values, name):
    """Whether a value is a part of another entry. True, False and None are everywhere and count for nothing."""
    if value is None or isinstance(value, bool):
        return False
    return any(_holds(part, value) for other, entry in values.items() if other != name for part in _parts(entry))


def _parts(entry):
    return entry.values() if isinstance(entry, dict) else entry if isinstance(entry, (list, tuple)) else ()


def _holds(entry, value):
    return type(entry) is type(value) and entry == value or any(_holds(part, value) for part in _parts(entry))


def check_options(cfg, options, own=()):
    """Refuse options of the command line that nobody reads; see check_names for the arguments."""
    for key in options:
        top = key.split('.')[0]
        if top in TOP_LEVEL or top in own or top.startswith('_'):
            continue
        if top in RENAMED:
            raise ConfigError(f'--cfg-options has the unknown key {key!r}; here it is {RENAMED[top]}')
        if top not in cfg:
            raise ConfigError(f'--cfg-options has the unknown key {key!r}; {nearest(top, TOP_LEVEL, "settings")}')
        places = [place for name in cfg if name in TOP_LEVEL for place in _places(cfg[name], cfg[top], name)][:6]
        raise ConfigError(f'--cfg-options {key}: the config has used its variable {top!r} already, set the settings '
                          'that it has built with it' + (f': {", ".join(places)}' if places else ''))


def _places(entry, value, path):
    """Dotted names of the settings that equal a value."""
    if type(entry) is type(value) and entry == value:
        yield path
        return
    for key, part in entry.items() if isinstance(entry, dict) else enumerate(_parts(entry)):
        yield from _places(part, value, f'{path}.{key}')


def _is_data_set(name, value):
    """Whether an entry of data is a data set of the user's own, such as view1, that a tool is given by name."""
    return hasattr(value, 'get') and 'type' in value and (
        name[-1].isdigit() or not difflib.get_close_matches(name, SECTIONS['data'], n=1, cutoff=0.75))


def _check_type(name, value, kind):
    if value is not None and not fits(value, kind):
        words = 'True or False' if kind == 'bool' else kind
        raise ConfigError(f'{name} must be {words}, got {short(value)}')


def check_settings(cfg):
    """See that settings have their types, and that sections hold only what is read.

    Args:
        cfg (mmcv.Config): The config.

    Raises:
        ConfigError: With the place and what would be right.
    """
    for name, (kind, _) in TOP_LEVEL.items():
        _check_type(name, cfg.get(name), kind)
    for section, known in SECTIONS.items():
        for name, value in (cfg.get(section) or {}).items():
            if section == 'data' and _is_data_set(name, value):
                continue
            if name not in known:
                renamed = _RENAMED_IN.get(section, {}).get(name)
                raise ConfigError(f'{section} has the unknown key {name!r}; ' +
                                  (f'here it is {renamed}' if renamed else nearest(name, known)))
            _check_type(f'{section}.{name}', value, known[name])
    if not cfg.get('workflow', True):
        raise ConfigError(f"workflow has no phase, such as ('train', 1): got {cfg.workflow!r}")
    for phase in cfg.get('workflow') or ():
        if not fits(phase, 'tuple') or [type(part) for part in phase] != [str, int]:
            raise ConfigError(f'a phase of workflow is ("train", n) or ("val", n), got {phase!r}')
    for section in ('lr_config', 'momentum_config'):
        if cfg.get(section) and not isinstance(cfg[section].get('policy'), str):
            raise ConfigError(f"{section}.policy is a name, such as 'CosineAnnealing' or 'step', got "
                              f'{cfg[section].get("policy")!r}')
    norm = cfg.get('img_norm_cfg') or {}
    mean, std = norm.get('mean'), norm.get('std')
    if mean is not None and std is not None and (len(mean) != len(std) or 0 in std):
        raise ConfigError('img_norm_cfg has a mean and a std other than 0 for each channel of the images, got '
                          f'{mean} and {std}')
    check_seed(cfg.get('seed'))
    level = cfg.get('log_level')
    if level is not None and not isinstance(logging.getLevelName(level), int):
        raise ConfigError(f"log_level is 'DEBUG', 'INFO', 'WARNING' or 'ERROR', got {level!r}")


def check_seed(seed):
    """See that a seed is one that python, numpy, torch and the loaders take; None stands for a drawn one."""
    if seed is not None and (not isinstance(seed, numbers.Integral) or isinstance(seed, bool) or not 0 <= seed < 2**63):
        raise ConfigError(f'seed must be an integer from 0 to {2**63 - 1}, got {seed!r}')
