# Copyright (c) mmssl contributors. All rights reserved.
"""Train several algorithms on one data set and measure what each has learned."""
import logging
import time
from pathlib import Path

from mmssl.apis.demo import measure, pretrain
from mmssl.core.training import set_random_seed
from mmssl.datasets import build_datasource
from mmssl.evaluation import representation
from mmssl.models import build_algorithm
from mmssl.utils.config import config_section, load_config
from mmssl.utils.logger import get_root_logger
from mmssl.utils.setup_env import setup_multi_processes
from mmssl.utils.training_log import TrainingLog

# what takes the place of the digits: images to train on, of these the labelled ones, test images, epochs
_FASHION = dict(train=20000, bank=6000, test=1000, epochs=6, norm=dict(mean=[0.286], std=[0.353]))


def _train_on(cfg, source):
    """Have training and clusterings see a data source, and a line of the log tell of an epoch."""
    samples = len(build_datasource(source))
    cfg.log_config.interval = max(1, samples // cfg.data.samples_per_gpu)
    cfg.data.train.data_source = source
    for hook in cfg.custom_hooks:
        if 'extractor' in hook:
            hook.extractor.dataset.data_source = source
            hook.extractor.img_norm_cfg = cfg.img_norm_cfg


def _use_fashion_mnist(cfg, data_prefix):
    source = dict(type='FashionMNIST', color_type='grayscale', **(dict(data_prefix=data_prefix) if data_prefix else {}))
    cfg.img_norm_cfg = _FASHION['norm']
    cfg.demo.train.data_source = dict(source, num_images=_FASHION['bank'])
    cfg.demo.test.data_source = dict(source, num_images=_FASHION['test'], test_mode=True)
    cfg.runner.max_epochs = _FASHION['epochs']
    return dict(source, num_images=_FASHION['train'])


def compare(configs, write, work_dir, dataset='digits', data_prefix=None, epochs=None, num_images=None, seed=0):
    """Train and measure one algorithm after the other.

    Args:
        configs (dict[str, Path]): Config file by name of the algorithm.
        write (callable): Called with each row as soon as it is there: a dict with algorithm, layer (whose features are
            measured), images_per_second, loss_first and loss_last (means over the first and last epoch),
            few_label_random and few_label_pretrained (accuracies with 10 labels a class), knn_random and
            knn_pretrained (20-NN), feature_std and effective_rank of the trained backbone's features of the test
            images, seconds of training.
        work_dir (str): Logs go to a folder of it for each algorithm.
        dataset (str): 'digits' or 'fashion-mnist'.
        data_prefix (str, optional): Folder of Fashion-MNIST's files.
        epochs (int, optional): Passes over the data.
        num_images (int, optional): Train on so many images only.
        seed (int): Of all random numbers.

    Returns:
        dict[str, float]: few_label and knn of raw pixels.
    """
    raw = {}
    for name, path in configs.items():
        cfg = load_config(str(path))
        source = _use_fashion_mnist(cfg, data_prefix) if dataset == 'fashion-mnist' else cfg.data.train.data_source
        _train_on(cfg, dict(source, num_images=num_images) if num_images else source)
        if epochs:
            cfg.runner.max_epochs = epochs
        cfg.seed, cfg.work_dir = seed, f'{work_dir}/{name}'
        setup_multi_processes(cfg)
        timestamp = time.strftime('%Y%m%d_%H%M%S')
        logger = get_root_logger(log_level='INFO')
        for handler in [*logger.handlers, *logging.getLogger('mmcv').handlers]:
            handler.setLevel(logging.WARNING)
        set_random_seed(seed)  # what init_weights leaves alone, such as biases, is drawn as the model is built
        with config_section(cfg, 'model'):
            model = build_algorithm(cfg.model)
        set_random_seed(seed)  # the backbone's weights are drawn first: the same ones in each algorithm
        model.init_weights()
        result = pretrain(cfg, timestamp, model)
        metrics = measure(cfg, result)
        log = TrainingLog(Path(cfg.work_dir) / f'{timestamp}.log.json')
        losses = log.curve('loss')[1]
        spread = representation.run(result.features['pretrained']['test'])
        raw = {task: metrics[task]['raw_pixels'] for task in ('few_label', 'knn')}
        write(
            dict(
                algorithm=name,
                layer=cfg.demo.get('layer', 'pooled'),
                images_per_second=log.times()['img_per_sec'],
                loss_first=losses[0],
                loss_last=losses[-1],
                few_label_random=metrics['few_label']['random_init'],
                few_label_pretrained=metrics['few_label']['pretrained'],
                knn_random=metrics['knn']['random_init'],
                knn_pretrained=metrics['knn']['pretrained'],
                feature_std=spread['feature_std'],
                effective_rank=spread['effective_rank'],
                seconds=result.seconds))
    return raw
