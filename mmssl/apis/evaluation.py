# Copyright (c) mmssl contributors. All rights reserved.
"""From the options of an evaluation tool to a model, data sets and features; see utils/evaluation_options.py."""
import time
from pathlib import Path

from mmssl.datasets import build_dataset
from mmssl.datasets.classes import match_labels
from mmssl.datasets.file_check import check_files
from mmssl.datasets.loader import write_broken
from mmssl.evaluation import extract_features
from mmssl.evaluation.stored_features import files_digest, first_difference, load_features, store_features
from mmssl.utils import dist
from mmssl.utils.checkpoint import local_file
from mmssl.utils.config import check_sections, config_section, load_config
from mmssl.utils.errors import BrokenImageError, ConfigError
from mmssl.utils.logger import get_root_logger
from mmssl.utils.machine import usable_cores
from mmssl.utils.misc import file_digest, json_ready, table_lines, write_json
from .inference import evaluated_parts, pretrained_model, reading_of_folders


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
        matched (dict[str, ClassReport]): For each split that was compared with data.train, how their classes differ.
    """

    def __init__(self, args, sections=('data.train', 'data.val'), name='evaluation'):
        self.args = args
        # the data of CONFIG is not used here: options on data mean that of the evaluation
        of_data = {key: value for key, value in args.cfg_options.items() if key.split('.')[0] == 'data'}
        self.cfg = load_config(args.config, {k: v for k, v in args.cfg_options.items() if k not in of_data})
        self.data_cfg = load_config(args.dataset_config, None if args.data_root else of_data)
        check_sections(self.cfg, ['model'])
        check_sections(self.data_cfg, sections)
        if args.data_root:
            reading = reading_of_folders(self.cfg)
            for split in [section.split('.')[1] for section in sections]:
                folder = Path(args.data_root) / split
                if not folder.is_dir():
                    raise FileNotFoundError(f'--data-root {args.data_root}: there is no folder {folder}')
                self.data_cfg.data[split].data_source = dict(type='ImageNet', data_prefix=str(folder), **reading)
            if reading and self.cfg.get('img_norm_cfg'):  # such values are normalised as in the training
                self.data_cfg.img_norm_cfg = self.cfg.img_norm_cfg
            self.data_cfg = load_config(self.data_cfg, of_data)  # options count for the folders
        for option, key in (('batch_size', 'samples_per_gpu'), ('workers', 'workers_per_gpu')):
            value = getattr(args, option)
            if value is not None:
                if value < (option == 'batch_size'):
                    raise ConfigError(f'--{option.replace("_", "-")} must be {int(option == "batch_size")} or more, '
                                      f'got {value}')
                self.data_cfg.data[key] = value
        dist.use_device(args.device)
        dist.init_dist(args.launcher, **self.cfg.get('dist_params', {}))
        log_file = self._log_stem = None
        if args.work_dir:
            Path(args.work_dir).mkdir(parents=True, exist_ok=True)
            self._log_stem = Path(args.work_dir) / time.strftime(f'{name}_%Y%m%d_%H%M%S')
            log_file = f'{self._log_stem}.log'
        self.logger = get_root_logger(log_file, self.cfg.get('log_level', 'INFO'))
        self._model, self._datasets, self._looked_for = None, {}, set()
        self._with_train, self._trained, self.matched = 'data.train' in sections, None, {}

    @property
    def model(self):
        """nn.Module: With the weights of the checkpoint, which must hold those of all parts that are evaluated."""
        if self._model is None:
            parts = evaluated_parts(self.args.layers)
            self._model = pretrained_model(self.cfg, self.args.checkpoint, parts, self.logger, self.args.teacher)
        return self._model

    def dataset(self, split):
        """The data set of the section data.<split>."""
        if split not in self._datasets:
            with config_section(self.data_cfg, f'data.{split}'):
                self._datasets[split] = build_dataset(self.data_cfg.data[split])
        return self._datasets[split]

    def _checked(self, split):
        """The data set of a section, after a look whether listed files are there; all processes call it."""
        dataset = self.dataset(split)
        if split not in self._looked_for:
            self._looked_for.add(split)
            with config_section(self.data_cfg, 'data'):
                check_files(
                    dataset,
                    self.data_cfg.data.get('check_files', 'sample'),
                    dict(policy=getattr(self.args, 'broken', 'skip')),
                    testing=True,
                    work_dir=self.args.work_dir)
        return dataset

    def extract(self, split, layers=None, dataset=None, model=None, **options):
        """Features of a data set, with the batch size, workers and normalisation that the data config has.

        Where the tool takes data.train, labels of other splits count in the order of its classes, by name; images of
        classes that it has no image of get the label -1.

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
            return self._match_classes(split, self._stored(split, layers))
        start = time.time()
        dataset = self._checked(split) if dataset is None else dataset
        if model is None and set(layers) != {'pixels'}:
            model = self.model
        try:
            found = extract_features(model, dataset, **{**self.extraction(layers), **options})
        except (BrokenImageError, ConfigError):
            raise
        except ValueError as error:
            raise ConfigError(f'--layers {" ".join(layers)}: {error}') from error
        self._list_broken(split, found.broken)
        self.logger.info(f'{split}: features of {len(found)} images in {time.time() - start:.1f} s')
        return self._match_classes(split, found)

    def store(self, split, folder, shard_size=10000, overwrite=False, dtype='float32'):
        """Extract the layers of the options into files; see store_features for the arguments."""
        start = time.time()
        settings = dict(
            config=str(self.args.config),
            checkpoint=self.args.checkpoint,
            dataset_config=str(self.args.dataset_config),
            **self.provenance(split))
        model = None if set(self.args.layers) == {'pixels'} else self.model
        try:
            done = store_features(
                model,
                self._checked(split),
                folder,
                split,
                settings,
                shard_size,
                overwrite,
                dtype=dtype,
                **self.extraction(self.args.layers))
        except ValueError as error:
            raise error if isinstance(error, ConfigError) else ConfigError(f'{split}: {error}') from error
        self.logger.info(f'{split}: {done} images computed by this process in {time.time() - start:.1f} s'
                         f'{"" if done else ", all were stored already"}; the features are in {folder}')

    def _match_classes(self, split, found):
        """The features, with labels that count the classes of data.train."""
        if not self._with_train:
            return found
        if split == 'train':
            self._trained = found.labels, found.classes
            return found
        if self._trained is None and self.args.features:
            stored = load_features(self.args.features, 'train')[0]
            self._trained = stored.labels, stored.classes
        elif self._trained is None:
            train = self.dataset('train')
            self._trained = getattr(train, 'gt_labels', None), getattr(train, 'CLASSES', None)
        found.labels, report = match_labels(found.labels, found.classes, *self._trained, f'data.{split}')
        if found.classes is not None and self._trained[1] is not None:
            found.classes = self._trained[1]
        if split not in self.matched:
            report.log(self.logger, f'data.{split}')
            self.matched[split] = report
        return found

    def extraction(self, layers):
        """Arguments of extract_features by the options and the data config, as a dict."""
        data = self.data_cfg.data
        workers = data.get('workers_per_gpu', 0)
        if self.args.workers is None:  # what the config has is meant for larger machines
            workers = min(workers, usable_cores())
        return dict(
            layers=tuple(layers),
            batch_size=data.get('samples_per_gpu', 256),
            workers=workers,
            device=dist.default_device(),
            img_norm_cfg=self.data_cfg.get('img_norm_cfg'),
            pool_type=self.args.pool_type,
            progress=True,
            broken=getattr(self.args, 'broken', 'skip'))

    def _list_broken(self, split, broken):
        """Write the names of images that were left out, beside the metrics or the log; SPLIT is part of the name."""
        beside = Path(self.args.out).with_suffix('') if self.args.out else self._log_stem
        if beside and dist.get_rank() == 0:
            path = beside.with_name(f'{beside.name}_{split}_broken.json')
            write_broken(path, broken)
            if broken:
                self.logger.warning(f'{split}: all of them are listed in {path}')

    def provenance(self, split):
        """What features of a split depend on, as plain values: `model`, `sha256` of the checkpoint, whether its
        `teacher` is taken, `data` and `img_norm_cfg`, with all options of the command line in their places."""
        teacher = dict(teacher=True) if self.args.teacher else {}
        return json_ready(
            dict(
                model=self.cfg.model,
                sha256=file_digest(self.args.checkpoint and local_file(self.args.checkpoint)),
                data=self.data_cfg.data[split],
                img_norm_cfg=self.data_cfg.get('img_norm_cfg'),
                **teacher))[0]

    def _stored(self, split, layers):
        """Features of the folder --features, if they are those that the other options mean."""
        found, settings = load_features(self.args.features, split, layers)
        wanted = self.provenance(split)
        if set(layers) == {'pixels'}:
            del wanted['model'], wanted['sha256']
        elif not self.args.checkpoint:
            del wanted['sha256']
        if any(layer.startswith('stage') and not layer.endswith(('_map', '_patches')) for layer in layers):
            wanted.update(pool_type=self.args.pool_type)
        try:
            wanted.update(files=files_digest(self.dataset(split)))
        except FileNotFoundError as error:
            self.logger.warning(f'{split}: the images are not compared: {error}')
        compared = [*wanted, 'teacher'] if 'sha256' in wanted else wanted
        differs = first_difference(settings, wanted, compared)
        if differs:
            raise ConfigError(f'--features {self.args.features}: other features of {split}: {differs}')
        self.logger.info(f'{split}: features of {len(found)} images from {self.args.features}')
        return found

    def write(self, metrics):
        """Write metrics as JSON to --out, on the first process; nothing without that option.

        Args:
            metrics (dict): The metrics; `left_out_classes` is added where images of classes without a training image
                were left out: their numbers by class.
        """
        left_out = {name: count for report in self.matched.values() for name, count in report.left_out.items()}
        if left_out:
            metrics = dict(metrics, left_out_classes=left_out)
        if self.args.out and dist.get_rank() == 0:
            write_json(self.args.out, metrics)
            self.logger.info(f'metrics written to {self.args.out}')

    def table(self, rows, headings):
        """Log a table: rows of words and numbers under headings, columns aligned.

        Args:
            rows (Sequence[Sequence[str | float]]): Floats are printed with two decimals.
            headings (Sequence[str]): One a column.
        """
        for line in table_lines(rows, headings):
            self.logger.info(line)
