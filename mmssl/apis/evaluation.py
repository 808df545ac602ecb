# Copyright (c) mmssl contributors. All rights reserved.
"""From the options of an evaluation tool to a model, data sets and features; see utils/evaluation_options.py."""
import json
import time
from pathlib import Path

from mmssl.datasets import build_dataset
from mmssl.evaluation import extract_features
from mmssl.evaluation.stored_features import load_features
from mmssl.utils import dist
from mmssl.utils.config import check_sections, config_section, load_config
from mmssl.utils.errors import ConfigError
from mmssl.utils.logger import get_root_logger
from mmssl.utils.misc import atomic_write, file_digest, table_lines
from .inference import evaluated_parts, pretrained_model


class EvaluationRun:
    """One call of an evaluation tool: joins the processes, reads the configs, and builds what is asked for, once.

    Args:
        args (argparse.Namespace): With the options of add_evaluation_options.
        sections (Sequence[str]): Sections of the data config that must be there, such as 'data.train'.
        name (str): Of the tool, for the log file.

    Attributes:
        cfg (mmcv.Config): Of the model.
        data_cfg (mmcv.Config): Of the data.
        logger (logging.Logger): mmssl's.
    """

    def __init__(self, args, sections=('data.train', 'data.val'), name='evaluation'):
        self.args = args
        # the data of CONFIG is not used here: options on data mean that of the evaluation
        of_data = {key: value for key, value in args.cfg_options.items() if key.split('.')[0] == 'data'}
        self.cfg = load_config(args.config, {k: v for k, v in args.cfg_options.items() if k not in of_data})
        self.data_cfg = load_config(args.dataset_config, of_data)
        check_sections(self.cfg, ['model'])
        check_sections(self.data_cfg, sections)
        if args.data_root:
            for split in [section.split('.')[1] for section in sections]:
                folder = Path(args.data_root) / split
                if not folder.is_dir():
                    raise FileNotFoundError(f'--data-root {args.data_root}: there is no folder {folder}')
                self.data_cfg.data[split].data_source = dict(type='ImageNet', data_prefix=str(folder))
        dist.init_dist(args.launcher, **self.cfg.get('dist_params', {}))
        log_file = None
        if args.work_dir:
            Path(args.work_dir).mkdir(parents=True, exist_ok=True)
            log_file = str(Path(args.work_dir) / time.strftime(f'{name}_%Y%m%d_%H%M%S.log'))
        self.logger = get_root_logger(log_file, self.cfg.get('log_level', 'INFO'))
        self._model, self._datasets = None, {}

    @property
    def model(self):
        """nn.Module: With the weights of the checkpoint, which must hold those of all parts that are evaluated."""
        if self._model is None:
            parts = evaluated_parts(self.args.layers)
            self._model = pretrained_model(self.cfg, self.args.checkpoint, parts, self.logger)
        return self._model

    def dataset(self, split):
        """The data set of the section data.<split>."""
        if split not in self._datasets:
            with config_section(self.data_cfg, f'data.{split}'):
                self._datasets[split] = build_dataset(self.data_cfg.data[split])
        return self._datasets[split]

    def extract(self, split, layers=None, dataset=None, model=None, **options):
        """Features of a data set, with the batch size, workers and normalisation that the data config has.

        Args:
            split (str): Name of the section, and of the data set in the log.
            layers (Sequence[str], optional): By default those of the options.
            dataset (Dataset, optional): Instead of that of the section, such as a part of it.
            model (nn.Module, optional): Instead of that of the checkpoint, such as one of random weights.
            options: Further arguments of extract_features.

        Returns:
            Features: On every process.

        Raises:
            ConfigError: Layers that this model does not have, maps too small for a pooling, NaN features.
        """
        layers = tuple(layers or self.args.layers)
        if self.args.features and dataset is None and model is None:
            return self._stored(split, layers)
        start = time.time()
        dataset = self.dataset(split) if dataset is None else dataset
        if model is None and set(layers) != {'pixels'}:
            model = self.model
        try:
            found = extract_features(model, dataset, **{**self.extraction(layers), **options})
        except ValueError as error:
            raise ConfigError(f'--layers {" ".join(layers)}: {error}') from error
        self.logger.info(f'{split}: features of {len(found)} images in {time.time() - start:.1f} s')
        return found

    def extraction(self, layers):
        """Arguments of extract_features by the options and the data config, as a dict."""
        data = self.data_cfg.data
        return dict(
            layers=tuple(layers),
            batch_size=data.get('samples_per_gpu', 256),
            workers=data.get('workers_per_gpu', 0),
            img_norm_cfg=self.data_cfg.get('img_norm_cfg'),
            pool_type=self.args.pool_type,
            progress=True)

    def _stored(self, split, layers):
        """Features of the folder --features, if they are those that the other options mean."""
        found, settings = load_features(self.args.features, split, layers)
        wanted = dict(dataset_config=str(self.args.dataset_config), data_root=self.args.data_root)
        if self.args.checkpoint and set(layers) != {'pixels'}:
            wanted.update(sha256=file_digest(self.args.checkpoint))
        if any(layer.startswith('stage') and not layer.endswith('_map') for layer in layers):
            wanted.update(pool_type=self.args.pool_type)
        for key, value in wanted.items():
            if settings.get(key) != value:
                raise ConfigError(f'--features {self.args.features}: {key} of {split} is {settings.get(key)!r} there, '
                                  f'{value!r} here')
        self.logger.info(f'{split}: features of {len(found)} images from {self.args.features}')
        return found

    def write(self, metrics):
        """Write metrics as JSON to --out, on the first process; nothing without that option."""
        if self.args.out and dist.get_rank() == 0:
            with atomic_write(self.args.out) as file:
                json.dump(metrics, file, indent=2)
            self.logger.info(f'metrics written to {self.args.out}')

    def table(self, rows, headings):
        """Log a table: rows of words and numbers under headings, columns aligned.

        Args:
            rows (Sequence[Sequence[str | float]]): Floats are printed with two decimals.
            headings (Sequence[str]): One a column.
        """
        for line in table_lines(rows, headings):
            self.logger.info(line)
