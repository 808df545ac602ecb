# Copyright (c) mmssl contributors. All rights reserved.
"""From a config to a training that runs. Names no algorithm."""
import contextlib
import copy
import random
import re
import sys
import traceback

import numpy as np
import torch
from mmcv.runner.hooks import Hook

from mmssl.datasets import PrefetchLoader, build_collator, build_dataloader, build_dataset, distinct
from mmssl.datasets.classes import align_classes
from mmssl.datasets.dataset_wrappers import locate
from mmssl.datasets.file_check import check_files
from mmssl.datasets.loader import check_broken_policy
from mmssl.evaluation.stored_features import files_digest
from mmssl.models import BaseModel
from mmssl.models.utils.iteration_counter import IterationCounter
from mmssl.models.utils.stored_teacher import StoredTeacher
from mmssl.utils.checkpoint import unwrap
from mmssl.utils.config import config_section
from mmssl.utils.config_names import check_seed, check_settings
from mmssl.utils.dist import broadcast_object, default_device, get_rank, get_world_size, sync_random_seed
from mmssl.utils.errors import ConfigError, describe
from mmssl.utils.logger import get_root_logger
from mmssl.utils.registry import accepted_arguments
from mmssl.utils.watchdog import LOST
from .hooks import MomentumUpdateHook, ProgressBarLoggerHook, UniformScoresHook
from .lr_scaling import global_batch, scale_rates
from .parallel import half_precision, make_trainable
from .runner import build_runner


def init_random_seed(seed=None, device='cuda'):
    """One seed for all processes.

    Args:
        seed (int, optional): Returned as it is; without it one is drawn and sent to all.
        device (str): Accepted for old calls.

    Returns:
        int: The seed.
    """
    check_seed(seed)
    return sync_random_seed(seed, device)


def set_random_seed(seed, deterministic=False):
    """Seed python, numpy and torch.

    Args:
        seed (int): The seed.
        deterministic (bool): Have cuDNN take deterministic kernels only, which may be slower.
    """
    check_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if deterministic:
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False


def precision(cfg):
    """What the switches `amp` and `fp16` of a config ask for.

    Args:
        cfg (mmcv.Config): With amp=dict(dtype='bfloat16' | 'float16', [loss_scale]) or fp16=dict(loss_scale=...), or
            neither.

    Returns:
        tuple: torch.dtype of autocast or None, and the loss scale or None.
    """
    amp, fp16 = cfg.get('amp'), cfg.get('fp16')
    if amp and fp16 is not None:
        raise ConfigError('the config has both amp and fp16: keep one of them')
    if fp16 is not None:
        return torch.float16, fp16.get('loss_scale', 512.)
    if not amp:
        return None, None
    dtype = half_precision(amp)
    # bfloat16 has float32's range, so its gradients need no scaling
    return dtype, amp.get('loss_scale', 'dynamic') if dtype == torch.float16 else None


def build_loader(dataset, cfg, distributed=False, testing=False, **changes):
    """The loader of a data set, as a config's `data` says, with batches on the device.

    Args:
        dataset (Dataset): The data set.
        cfg (mmcv.Config): The whole config.
        distributed (bool): Whether each process gets its share.
        testing (bool): Each sample comes once, in order, and broken images are left out instead of replaced.
        changes: Arguments of build_dataloader that override the config's.

    Returns:
        PrefetchLoader: The loader.
    """
    sets = ('train', 'val', 'test')
    settings = ('broken_images', 'collate', 'sampler')  # which are dicts; those of other names are data sets
    own = {
        key: value
        for key, value in cfg.data.items() if key not in sets and (key in settings or not hasattr(value, 'get'))
    }
    if 'sampling_replace' in own:  # its name in MMSelfSup 0.x
        own['replace'] = own.pop('sampling_replace')
    arguments = {
        'seed': cfg.get('seed'),
        'persistent_workers': cfg.get('persistent_workers', True),
        'broken_images': cfg.get('broken_images'),
        **own,
        **(dict(shuffle=False, drop_last=False) if testing else {}),
        **changes
    }
    if testing or not changes.get('shuffle', True):
        for name in ('sampler', 'replace', 'read_ahead'):  # of the training
            arguments.pop(name, None)
    broken = dict(arguments['broken_images'] or {})
    policy = check_broken_policy(broken.get('policy', 'replace'), ('replace', 'stop'), arguments['broken_images'])
    arguments['broken_images'] = dict(broken, policy='skip' if testing and policy == 'replace' else policy)
    check_files(dataset, arguments.pop('check_files', 'sample'), broken, testing, cfg.get('work_dir'))
    arguments['collate'] = build_collator(arguments.get('collate'))
    if not arguments.get('shuffle', True) and getattr(arguments['collate'], 'training_only', False):
        arguments['collate'] = None
    if arguments.get('device_steps') and default_device().type == 'cpu':
        get_root_logger().warning('data.device_steps=True without a GPU: the colour steps run in the process that '
                                  'trains, where they take longer than in a worker')
    norm = cfg.get('img_norm_cfg') or {}
    return PrefetchLoader(
        build_dataloader(dataset, dist=distributed, **arguments),
        norm.get('mean'),
        norm.get('std'),
        channels_last=cfg.get('channels_last', False),
        max_value=norm.get('max_value'))


def autocast(cfg):
    """Context of the precision that a config asks for, for evaluation."""
    dtype = precision(cfg)[0]
    return contextlib.nullcontext() if dtype is None else torch.autocast(default_device().type, dtype)


def train_model(model, dataset, cfg, distributed=False, timestamp=None, meta=None, on_start=None, progress=None):
    """Train a model as its config says.

    Args:
        model (nn.Module): An algorithm, built and initialised.
        dataset (Dataset | list[Dataset]): One for each phase of the workflow.
        cfg (mmcv.Config): The whole config.
        distributed (bool): Whether there is a process group, over which gradients are averaged.
        timestamp (str, optional): Name of the log files.
        meta (dict, optional): What checkpoints shall hold besides: seed, text of the config, environment.
        on_start (callable, optional): Called on rank 0 when all is built and every hook has had its before_run.
        progress (bool, optional): Have a ProgressBarLoggerHook where the config has none. Default: in a terminal.

    Returns:
        BaseRunner: The runner, when the training is over.
    """
    check_settings(cfg)
    logger = get_root_logger(log_level=cfg.get('log_level', 'INFO'))
    datasets = dataset if isinstance(dataset, (list, tuple)) else [dataset]
    workflow = [tuple(phase) for phase in cfg.get('workflow', [('train', 1)])]
    trained = next((d for d, (mode, _) in zip(datasets, workflow) if mode == 'train'), None)
    for d, (mode, _) in zip(datasets, workflow):
        if mode != 'train':
            align_classes(d, trained, what='data.val', logger=logger)
    with config_section(cfg, 'data'):
        loaders = [
            build_loader(d, cfg, distributed, **({} if mode == 'train' else dict(shuffle=False, drop_last=False)))
            for d, (mode, _) in zip(datasets, workflow)
        ]
        for d, loader, (mode, _) in zip(datasets, loaders, workflow):
            if mode == 'train' and len(loader) == 0:
                raise ConfigError(f'{len(d)} samples make no batch: data.samples_per_gpu is '
                                  f'{cfg.data.samples_per_gpu} and data.drop_last leaves out what does not fill one')

    _fit_to_data(model, trained, workflow)
    _check_stored_teacher(model, trained, workflow)
    _warn_of_repeated_negatives(model, len(distinct(datasets[0])), logger)
    _check_smallest_batch(model, loaders[0])
    _check_mixing(model, loaders)
    for d, (mode, _) in zip(datasets, workflow):
        _check_labels(model, d, f'data.{mode}')
    with config_section(cfg, 'auto_scale_lr'):
        cfg = scale_rates(cfg, global_batch(cfg, get_world_size()), model, logger)
    model, optimizer = make_trainable(model, cfg, default_device(), distributed)
    highest = max(group['lr'] for group in optimizer.param_groups)
    if highest >= 10 and cfg.optimizer.type == 'SGD':
        logger.info(f'a learning rate of {highest:g}: a linear classifier on frozen features begins with losses of 60 '
                    'to 130, which is normal for this recipe; what tells is the accuracy')

    with config_section(cfg, 'runner'):
        runner = build_runner(cfg.runner,
                              dict(model=model, optimizer=optimizer, work_dir=cfg.work_dir, logger=logger, meta=meta))
    # a dump of a NaN builds the model again by it
    runner.meta = meta if meta and 'config' in meta else {'config': f'model = {cfg.model.to_dict()!r}', **(meta or {})}
    runner.config = cfg
    runner.timestamp = timestamp or runner.timestamp
    with config_section(cfg, 'amp'):
        runner.amp_dtype, loss_scale = precision(cfg)
    _register_hooks(runner, cfg, loss_scale, distributed, trained)
    _warn_of_a_still_teacher(unwrap(model), runner.hooks, logger)
    progress = sys.stderr.isatty() if progress is None else progress
    if progress and not any(isinstance(hook, ProgressBarLoggerHook) for hook in runner.hooks):
        interval = (cfg.get('log_config') or {}).get('interval', 10)
        runner.register_logger_hooks(dict(interval=interval, hooks=[dict(type='ProgressBarLoggerHook')]))
    if on_start is not None and runner.rank == 0:
        runner.register_hook(_StartHook(on_start), 'LOWEST')

    if cfg.get('resume_from'):
        runner.resume(cfg.resume_from)
    elif cfg.get('load_from'):
        parts = cfg.get('load_from_mismatch') or ()
        runner.load_checkpoint(
            cfg.load_from,
            may_differ=[parts] if isinstance(parts, str) else parts,
            inflate_stem=cfg.get('inflate_stem'))
        for part in unwrap(runner.model).modules():
            if isinstance(part, IterationCounter):  # a new training, with weights of another one
                part.restart()
    elif cfg.get('inflate_stem') is not None:
        raise ConfigError(f'inflate_stem={cfg.inflate_stem!r} is for the weights of load_from, which names none')
    with _explained(runner):
        try:
            runner.run(loaders, workflow)
        finally:
            for loader in loaders:
                loader.close()
    return runner


class _StartHook(Hook):
    """Call a function when the other hooks are ready."""

    def __init__(self, on_start):
        self.on_start = on_start

    def before_run(self, runner):
        self.on_start()


@contextlib.contextmanager
def _explained(runner):
    """Tell what fails in the first iteration, or in a hook, as a fault of the config: with the part of the model."""
    first = runner.iter
    try:
        yield
    except (ConfigError, OSError, FloatingPointError):
        raise
    except Exception as error:
        _name_unused(runner, error)
        names = {id(module): name for name, module in unwrap(runner.model).named_modules()}
        places = ['the training']
        for frame, _ in traceback.walk_tb(error.__traceback__):
            part = frame.f_locals.get('self')
            if isinstance(part, Hook):
                places.append(type(part).__name__)
            elif id(part) in names:
                places.append(f'{".".join(filter(None, ["model", names[id(part)]]))} ({type(part).__name__})')
        in_hook = len(places) > 1 and not places[-1].startswith('model')
        gone = LOST.search(str(error))  # another process has ended, or does not come
        if gone or runner.iter > first and not in_hook and not isinstance(error, ValueError):
            raise
        raise ConfigError(f'iteration {runner.iter - first + 1} fails in {places[-1]}: {describe(error)}') from error


def _name_unused(runner, error):
    """Where DistributedDataParallel counts parameters without a gradient, an error with their names."""
    found = re.search(r'did not receive grad[^:]*: ([\d ]+)', str(error))
    if found:
        trained = [name for name, p in unwrap(runner.model).named_parameters() if p.requires_grad]
        unused = [trained[int(number)] for number in found[1].split()]
        raise ConfigError(
            f'{len(unused)} parameters get no gradient, which several processes wait for: '
            f'{", ".join(unused[:4])}{", ..." if len(unused) > 4 else ""}; leave these parts out or freeze '
            'them (frozen_stages, freeze_backbone), or set find_unused_parameters=True') from error


def _fit_to_data(model, dataset, workflow):
    """Let the model take from the training data what its config leaves out, such as the length of a memory bank."""
    if dataset is None:
        return
    if getattr(model, 'memory_bank', None) is not None and any(mode == 'val' for mode, _ in workflow):
        raise ConfigError(f'workflow {workflow} has a phase "val", whose images are in no memory bank: leave it out')
    if hasattr(model, 'fit_to_data'):
        model.fit_to_data(samples=len(distinct(dataset)), views=getattr(locate(dataset, 0)[0], 'num_views', None))


def _check_stored_teacher(model, dataset, workflow):
    """Features that belong to images by their numbers want the same images in the same order."""
    for part in model.modules():
        if isinstance(part, StoredTeacher) and dataset is not None:
            if any(mode == 'val' for mode, _ in workflow):
                raise ConfigError(f'workflow {workflow} has a phase "val", of whose images model.teacher.features has '
                                  'no features: leave it out')
            # a stat of each file: once
            digest = files_digest(distinct(dataset)) if get_rank() == 0 else None
            part.check_files(broadcast_object(digest, patient=True))


def _warn_of_repeated_negatives(model, samples, logger):
    """Where more negatives are kept or drawn than there are images, an image is compared with itself."""
    for name in ('queue_len', 'neg_num'):
        number = getattr(model, name, 0)
        if number > samples:
            logger.warning(
                'model.%s is %d, the training data has %d images: the negatives of an image then hold some images '
                'several times, and the image itself; set model.%s to less than %d', name, number, samples, name,
                samples)


def _warn_of_a_still_teacher(model, hooks, logger):
    """A momentum encoder that no hook updates stays as it was initialised."""
    if hasattr(model, 'momentum_update') and not any(isinstance(hook, MomentumUpdateHook) for hook in hooks):
        logger.warning(
            '%s has a momentum encoder, which stays as it is unless a hook of yours calls momentum_update(): add '
            "dict(type='MomentumUpdateHook') to custom_hooks",
            type(model).__name__)


def _check_smallest_batch(model, loader):
    """Batch norms of vectors, and losses that compare images, cannot be trained on a batch of one image."""
    samples, size = len(loader.sampler), loader.batch_sampler.batch_size
    left = 0 if loader.batch_sampler.drop_last else samples % size
    merges = getattr(loader.collate, 'merges', 1)
    if {-(-size // merges), -(-left // merges)} & {1} and hasattr(model, 'refuses_one_image'):
        reason = model.refuses_one_image(get_world_size())
        if reason:
            raise ConfigError(f'{samples} images in batches of {size} (data.samples_per_gpu) end with a batch of one '
                              f'image, and {reason}: set data.drop_last=True or another data.samples_per_gpu')


def _check_mixing(model, loaders):
    """A collator that mixes images leaves the labels of one of them, so what learns labels must not get them."""
    loader = next((loader for loader in loaders if getattr(loader.collate, 'merges', 1) > 1), None)
    if loader is None:
        return
    mixing, size = loader.collate, loader.batch_sampler.batch_size
    if size < mixing.merges:
        raise ConfigError(f'data.collate: {type(mixing).__name__} makes one image of {mixing.merges}, and a batch has '
                          f'{size}: set data.samples_per_gpu to {mixing.merges} or more')
    taken = accepted_arguments(getattr(model, 'forward_train', model.forward))[0]
    for part, what in (('memory_bank', 'memory bank'), ('teacher', 'stored teacher')):
        found = getattr(model, part, None)
        if 'idx' in taken and found is not None and (part == 'memory_bank' or isinstance(found, StoredTeacher)):
            raise ConfigError(f'data.collate: {type(mixing).__name__} makes one image of several, and the {what} of '
                              f'{type(model).__name__} has an entry for each: leave data.collate out')
    labels = [name for name in taken if name.endswith('label')]
    if labels:
        raise ConfigError(f'data.collate: {type(mixing).__name__} mixes images without their labels, and '
                          f'{type(model).__name__} learns {labels[0]}: leave data.collate out; for a classifier, '
                          'model.train_cfg.augments mixes both')


def _check_labels(model, dataset, section, with_loss=True):
    """The classifier must have an output for each label, and some losses have no place for samples without one."""
    taken = accepted_arguments(getattr(model, 'forward_train', model.forward))[0]
    outputs = getattr(getattr(model, 'head', None), 'num_classes', None)
    for name, made in getattr(distinct(dataset), 'made_classes', {}).items():
        if name in taken and isinstance(outputs, int) and made != outputs:
            raise ConfigError(f'model.head.num_classes is {outputs}, the pipeline of {section} makes labels of {made} '
                              f'classes: set model.head.num_classes={made}')
    if 'label' not in taken:
        return
    _check_tasks(model, distinct(dataset), section)
    several = getattr(distinct(dataset), 'num_classes', None)
    if several is not None:  # labels an image: a vector of so many
        if isinstance(outputs, int) and outputs != several:
            raise ConfigError(f'model.head.num_classes is {outputs}, the label of an image of {section} is a vector of '
                              f'{several} classes: set model.head.num_classes={several}')
        return
    labels = getattr(distinct(dataset), 'gt_labels', None)
    if labels is None:
        return
    step = getattr(model, 'label_step', None)
    if step is not None:
        raise ConfigError(f'{type(model).__name__} learns a label that the pipeline makes, and that of {section} makes '
                          f'none, so that it would learn the classes of the images: add the step {step}')
    highest = int(labels.max())
    if isinstance(outputs, int) and highest >= outputs:
        name = f' ({dataset.CLASSES[highest]!r})' if getattr(dataset, 'CLASSES', None) is not None else ''
        raise ConfigError(f'model.head.num_classes is {outputs}, but {int((labels >= outputs).sum())} images of '
                          f'{section} have higher labels, up to {highest}{name}; labels count from 0: set '
                          f'model.head.num_classes={highest + 1} or more')
    missing = int((labels < 0).sum())
    if with_loss and missing == len(labels):
        raise ConfigError(
            f'{type(model).__name__} learns labels, and none of the {missing} images of {section} has one')
    if missing and with_loss and getattr(model, 'needs_labels', False):
        mixed = 'train_cfg.augments (mixup, CutMix)' if getattr(model, 'augments', None) else 'this model'
        raise ConfigError(f'{mixed} needs a label for each sample, {missing} of {len(dataset)} have none (-1): '
                          'leave them out of the data')


def _check_tasks(model, dataset, section):
    """See that each of several heads has an output for each of its labels, as far as these are known."""
    labels = getattr(dataset, 'gt_labels', None)
    arrays = getattr(dataset, 'label_arrays', {} if labels is None else {None: labels})
    for task, name, classes in getattr(model, 'label_sizes', ()):
        values = arrays.get(name, next(iter(arrays.values())) if len(arrays) == 1 else None)
        if classes is not None and values is not None and values.max() >= classes:
            raise ConfigError(f'model.tasks.{task}.head.num_classes is {classes}, its labels in {section} go up to '
                              f'{values.max()}; labels count from 0: set num_classes={values.max() + 1} or more')


def _register_hooks(runner, cfg, loss_scale, distributed, trained):
    """Register the hooks of each section, those of custom_hooks last."""
    optimizer_config = dict(cfg.get('optimizer_config') or {})
    if loss_scale is not None:
        optimizer_config.setdefault('loss_scale', loss_scale)
    for name, register, section in (
        ('lr_config', runner.register_lr_hook, cfg.get('lr_config')),
        ('momentum_config', runner.register_momentum_hook, cfg.get('momentum_config')),
        ('optimizer_config', runner.register_optimizer_hook, optimizer_config),
        ('checkpoint_config', runner.register_checkpoint_hook, cfg.get('checkpoint_config')),
        ('timer', runner.register_timer_hook, dict(type='IterTimerHook')),
        ('evaluation', lambda section: _register_evaluation(runner, cfg, section, distributed, trained),
         cfg.get('evaluation')),
        ('log_config', runner.register_logger_hooks, cfg.get('log_config')),
        ('profiler_config', runner.register_profiler_hook, cfg.get('profiler_config')),
        ('custom_hooks', runner.register_custom_hooks, copy.deepcopy(cfg.get('custom_hooks'))),
    ):
        with config_section(cfg, name):
            register(section)
    watched = getattr(getattr(unwrap(runner.model), 'head', None), 'uniform_values', None)
    if watched is not None and not any(isinstance(hook, UniformScoresHook) for hook in runner.hooks):
        runner.register_hook(UniformScoresHook())


def _register_evaluation(runner, cfg, section, distributed, trained):
    if section is None:
        return
    if cfg.data.get('val') is None:
        raise ConfigError('evaluation needs data.val, the data set that it runs on')
    model = unwrap(runner.model)
    if getattr(type(model), 'forward_test', None) is BaseModel.forward_test:
        raise ConfigError(f'evaluation measures predictions, and {type(model).__name__} makes none: leave it out; '
                          'KNNEvalHook in custom_hooks measures features')
    dataset = build_dataset(cfg.data.val)
    align_classes(dataset, trained, what='data.val', logger=runner.logger)
    _check_labels(model, dataset, 'data.val', with_loss=False)
    loader = build_loader(dataset, cfg, distributed, testing=True)
    runner.register_evaluation_hook(section, loader)
