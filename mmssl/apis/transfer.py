# Copyright (c) mmssl contributors. All rights reserved.
"""A pre-trained network on another data set: its frozen features, or all of it, trained with labels."""
import copy
import os
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Subset

from mmssl.core.evaluation import single_gpu_test
from mmssl.core.training import autocast, build_loader, init_random_seed, set_random_seed, train_model
from mmssl.datasets import build_dataset
from mmssl.datasets.classes import align_classes
from mmssl.evaluation import extract_features
from mmssl.models import build_algorithm
from mmssl.utils import dist
from mmssl.utils.config import check_sections, config_section, load_config
from mmssl.utils.config_file import find_config
from mmssl.utils.errors import ConfigError
from mmssl.utils.logger import get_root_logger
from mmssl.utils.setup_env import setup_multi_processes
from .inference import pretrained_model
from .run_dir import open_run


def transfer(args, recipes):
    """Train a linear classifier on frozen features, or fine-tune everything, and test it at the end.

    The images of the test play no part in the training: nothing is chosen by them.

    Args:
        args (argparse.Namespace): Of tools/benchmarks/small_models/transfer.py.
        recipes (Path): Folder of the configs that --dataset names.

    Returns:
        dict: 'top1', 'top5' and 'mean_per_class' (mean over classes of their top-1) as fractions, and 'dataset',
        'finetune', 'num_classes', 'num_train', 'num_test', 'lr', 'batch_size' and 'epochs'.
    """
    source = load_config(args.config)
    check_sections(source, ['model.backbone'])
    cfg = transfer_config(args, recipes)
    setup_multi_processes(cfg)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    dist.init_dist(args.launcher, **cfg.get('dist_params', {}))
    batch_size = args.batch_size or cfg.data.samples_per_gpu
    if batch_size % dist.get_world_size():
        raise ConfigError(f'--batch-size {batch_size} is that of all processes and must be a multiple of their '
                          f'number, {dist.get_world_size()}')
    cfg.data.samples_per_gpu = batch_size // dist.get_world_size()
    run = open_run('transfer.py', cfg, work_dir=cfg.work_dir, seed=args.seed, overwrite=args.overwrite, goes_on=False)
    cfg = run.cfg
    logger = get_root_logger(f'{cfg.work_dir}/{run.timestamp}.log', cfg.get('log_level', 'INFO'))
    cfg.seed = init_random_seed(cfg.get('seed'))
    set_random_seed(cfg.seed)

    datasets = {}
    for split in ('train', 'val'):
        with config_section(cfg, f'data.{split}'):
            datasets[split] = build_dataset(cfg.data[split])
    train, test = datasets['train'], datasets['val']
    report = align_classes(test, train, what='data.val', logger=logger)
    num_classes = len(train.CLASSES) if train.CLASSES is not None else int(train.gt_labels.max()) + 1

    pretrained = pretrained_model(source, args.checkpoint, logger=logger, teacher=args.teacher)
    # an image tells the size of the features, whatever network it is; a broken one tells nothing
    features = extract_features(
        pretrained, Subset(train, range(min(4, len(train)))), img_norm_cfg=cfg.get('img_norm_cfg'))['pooled']
    cfg.model.backbone = _backbone(source.model.backbone)
    cfg.model.with_sobel = source.model.get('with_sobel', False)
    cfg.model.head.update(in_channels=features.shape[1], num_classes=num_classes)
    with config_section(cfg, 'model'):
        model = build_algorithm(cfg.model)
    model.init_weights()
    model.backbone.load_state_dict(pretrained.backbone.state_dict())
    del pretrained

    meta = dict(config=run.text(), seed=cfg.seed, exp_name='transfer.py')
    runner = train_model(model, train, cfg, dist.is_distributed(), run.timestamp, meta, on_start=run.begin)
    loader = build_loader(test, cfg, dist.is_distributed(), testing=True)
    with autocast(cfg):
        outputs = single_gpu_test(runner.model, loader)
    scores, = outputs.values()
    return dict(
        accuracies(scores, test.gt_labels[outputs.index]),
        dataset=args.dataset,
        finetune=args.finetune,
        num_classes=num_classes,
        num_train=len(train),
        num_test=int((test.gt_labels >= 0).sum()),
        lr=cfg.optimizer.lr,
        batch_size=batch_size,
        epochs=cfg.runner.max_epochs,
        **(dict(left_out_classes=report.left_out) if report.left_out else {}))


def accuracies(scores, labels):
    """Accuracies of scores.

    Args:
        scores (Tensor): N x classes.
        labels (ndarray): N integers, -1 where unlabelled.

    Returns:
        dict[str, float]: 'top1', 'top5', and 'mean_per_class', the mean over classes of their top-1.
    """
    labels = torch.as_tensor(np.asarray(labels)).long()
    if not (labels >= 0).any():
        raise ConfigError('no image of the test has a label')
    scores, labels = scores[labels >= 0], labels[labels >= 0]
    order = scores.argsort(dim=1, descending=True, stable=True)
    hit = order == labels[:, None]
    right = hit[:, 0].double()
    per_class = [right[labels == label].mean() for label in labels.unique()]
    return dict(
        top1=float(right.mean()),
        top5=float(hit[:, :5].any(1).double().mean()),
        mean_per_class=float(torch.stack(per_class).mean()))


def transfer_config(args, recipes):
    """The config that --dataset names, changed by the other options; see `transfer`."""
    mode = 'finetune' if args.finetune else 'linear'
    name, folder = args.dataset, None
    if Path(name).is_dir():
        name, folder = 'folder', Path(name)
    path = recipes / f'{name}_{mode}.py'
    if name.endswith('.py'):
        path = find_config(name)
    if not path.is_file():
        known = sorted(p.stem.removesuffix('_linear') for p in recipes.glob('*_linear.py'))
        raise ConfigError(f'--dataset {args.dataset} is no folder, no config, and none of {", ".join(known)}')
    cfg = load_config(path)
    if folder:
        test = next((folder / n for n in ('val', 'test') if (folder / n).is_dir()), None)
        if test is None or not (folder / 'train').is_dir():
            raise FileNotFoundError(f'--dataset {folder}: folders train and val (or test) with class folders in them '
                                    'are expected there')
        cfg.data.train.data_source.data_prefix = str(folder / 'train')
        cfg.data.val.data_source.data_prefix = str(test)
    if args.data_root:
        for split in ('train', 'val'):
            cfg.data[split].data_source.data_prefix = args.data_root
    if args.epochs:
        before, cfg.runner.max_epochs = cfg.runner.max_epochs, args.epochs
        if cfg.lr_config.get('step'):
            cfg.lr_config.step = [max(1, round(step * args.epochs / before)) for step in cfg.lr_config.step]
    if args.lr:
        cfg.optimizer.lr = args.lr
    cfg = load_config(cfg, args.cfg_options)
    check_sections(cfg, ['model.head', 'data.train', 'data.val', 'data.samples_per_gpu', 'optimizer', 'runner'])
    if bool(cfg.model.get('freeze_backbone')) == bool(args.finetune):
        raise ConfigError(f'{path} ' + ('freezes the backbone (model.freeze_backbone=True), but --finetune is given: '
                                        'take a config of fine-tuning, or leave --finetune out' if args.finetune else
                                        'trains the backbone too (model.freeze_backbone is not True): give --finetune, '
                                        'or take a config of linear classification'))
    cfg.work_dir = args.work_dir or f'work_dirs/transfer/{Path(args.config).stem}_{path.stem}'
    return cfg


def _backbone(section):
    """The backbone without what concerned its pre-training only: frozen stages, and where its first weights were."""
    section = copy.deepcopy(section)
    for key in ('frozen_stages', 'init_cfg'):
        section.pop(key, None)
    return section
