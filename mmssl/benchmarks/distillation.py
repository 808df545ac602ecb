# Copyright (c) mmssl contributors. All rights reserved.
"""Teach a small network in several ways, each for the same time of the processor, and measure what it has learned."""
import logging
import math
import time

from mmcv.runner.hooks import Hook

from mmssl.apis.inference import pretrained_model
from mmssl.core.builder import HOOKS
from mmssl.core.training import set_random_seed, train_model
from mmssl.datasets import build_dataset
from mmssl.evaluation import extract_features, few_label, knn, linear
from mmssl.evaluation.stored_features import store_features
from mmssl.models import build_algorithm
from mmssl.utils.config import config_section, load_config
from mmssl.utils.errors import ConfigError
from mmssl.utils.logger import get_root_logger
from mmssl.utils.setup_env import setup_multi_processes


@HOOKS.register_module()
class ProcessorTimeHook(Hook):
    """End a training after so many seconds that the processor worked on it.

    The learning rate rises in the first three hundredths of them, and then falls to zero along half a cosine. A
    training of the same seconds on a busy machine is not shorter, as a clock on the wall would have it; no two are
    equal to the bit.

    Args:
        seconds (float): Of all threads of this process together; worker processes are not in them.
    """

    def __init__(self, seconds):
        self.seconds = seconds

    def before_run(self, runner):
        self.start = time.process_time()
        for group in runner.optimizer.param_groups:
            group['initial_lr'] = group['lr']

    def _share(self):
        return min(1., (time.process_time() - self.start) / self.seconds)

    def before_train_iter(self, runner):
        share = self._share()
        factor = min(1., share / 0.03) * (1 + math.cos(math.pi * share)) / 2
        for group in runner.optimizer.param_groups:
            group['lr'] = group['initial_lr'] * factor

    def after_train_iter(self, runner):
        if self._share() == 1:
            runner._max_iters = runner.iter + 1


def evaluate(model, sets, img_norm_cfg):
    """What frozen features of a network are good for.

    Args:
        model (nn.Module): The network.
        sets (dict[str, Dataset]): `train`, from which labels and neighbours are taken, and `test`.
        img_norm_cfg (dict): Normalisation of the images.

    Returns:
        dict[str, float]: few_label (10 labels a class, mean of 5 draws) and few_label_std, knn (20 neighbours), linear
        (all labels of `train`), as fractions.
    """
    found = {
        name: extract_features(model, d, layers=('pooled', ), img_norm_cfg=img_norm_cfg)['pooled']
        for name, d in sets.items()
    }
    labels = {name: d.gt_labels for name, d in sets.items()}
    arguments = found['train'], labels['train'], found['test'], labels['test']
    few = few_label.run(*arguments)
    return dict(
        few_label=few['mean'],
        few_label_std=few['std'],
        knn=knn.run(*arguments, k=20)['k20_T0.07_top1'],
        linear=linear.run(*arguments)['top1'])


def compare(configs, teacher_config, teacher, write, work_dir, seconds, data_prefix=None, seed=0):
    """Measure the teacher, random weights of the student, and the student after each training.

    Args:
        configs (dict[str, Path]): Config files, see configs/demo/distill, by name of the training.
        teacher_config (str | Path): Config of the teacher's training.
        teacher (str): Its checkpoint.
        write (callable): Called with each row as soon as it is there: a dict with name, parameters (of the backbone),
            images (seen in the training), seconds (of the processor), and what `evaluate` returns.
        work_dir (str): Logs go to a folder of it for each training, features of the teacher to another.
        seconds (float): Processor time of each training.
        data_prefix (str, optional): Folder of Fashion-MNIST's files, where they are not installed.
        seed (int): Of all random numbers.
    """
    if not seconds > 0:
        raise ConfigError(f'a training takes some seconds, got {seconds}')
    network = pretrained_model(load_config(str(teacher_config)), teacher, ('backbone', ), get_root_logger()).eval()
    first = True
    for name, path in configs.items():
        cfg = load_config(str(path))
        setup_multi_processes(cfg)
        sections = dict(train=cfg.data.train, bank=cfg.demo.train, test=cfg.demo.test)
        if data_prefix:
            for section in sections.values():
                section.data_source.data_prefix = data_prefix
        cfg.seed, cfg.work_dir = seed, f'{work_dir}/{name}'
        cfg.custom_hooks = [dict(type='ProcessorTimeHook', seconds=seconds)]
        logger = get_root_logger(log_level='INFO')
        for handler in [*logger.handlers, *logging.getLogger('mmcv').handlers]:
            handler.setLevel(logging.WARNING)
        sets = dict(train=build_dataset(sections['bank']), test=build_dataset(sections['test']))
        found = cfg.model.get('teacher')
        if found is not None and 'features' in found:
            found.features = f'{work_dir}/features'
            plain = dict(sections['bank'], data_source=cfg.data.train.data_source)
            store_features(
                network, build_dataset(plain), found.features, 'train', dict(checkpoint=teacher),
                layers=('pooled', ), img_norm_cfg=cfg.img_norm_cfg)  # yapf: disable
        elif found is not None:
            found.checkpoint = teacher
        set_random_seed(seed)
        with config_section(cfg, 'model'):
            model = build_algorithm(cfg.model)
        set_random_seed(seed)  # the backbone's weights are drawn first: the same ones for all
        model.init_weights()
        if first:
            for title, part in (('teacher', network), ('random weights', model)):
                write(
                    dict(
                        name=title,
                        parameters=_size(part.backbone),
                        images=0,
                        seconds=0.,
                        **evaluate(part, sets, cfg.img_norm_cfg)))
            first = False
        start = time.process_time()
        runner = train_model(model, build_dataset(cfg.data.train), cfg, meta={})
        spent = time.process_time() - start
        write(
            dict(
                name=name,
                parameters=_size(model.backbone),
                images=runner.iter * cfg.data.samples_per_gpu,
                seconds=spent,
                **evaluate(model, sets, cfg.img_norm_cfg)))


def _size(network):
    return sum(p.numel() for p in network.parameters())
