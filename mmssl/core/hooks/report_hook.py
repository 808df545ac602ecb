# Copyright (c) mmssl contributors. All rights reserved.
"""What does the training look like? A page that is always up to date."""
import atexit
import functools
import os
import time

from mmcv.runner.hooks import Hook

from mmssl.datasets import build_dataset
from mmssl.utils.checkpoint import unwrap
from mmssl.utils.errors import ConfigError, check_integer, describe
from mmssl.utils.sharded import sharded_modules
from ..builder import HOOKS
from .any_runner import autocast, defer, evaluating, train_loader

_TSNE = 3 / 500  # seconds an image, before the first one has been timed


@HOOKS.register_module()
class ReportHook(Hook):
    """Keep report.html in the work_dir up to date: curves, warnings, views, nearest neighbours, a map of the features.

    Training goes on as if nothing had happened: modes of modules and states of random generators are put back. Of the
    time of the training, pages take at most a share: with short intervals, or many images, they are written less often.
    Only the first and the last page are written in any case. A fault in the pictures is told in the log and on the
    page, one of the page in the log; neither ends a training.

    Args:
        interval_seconds (float): At least so many seconds from one page to the next.
        dataset (dict | Dataset, optional): The images whose neighbours and map are shown: a config of a data set that
            gives one image a sample, or the data set. By default those of the training, as large as its first view.
        max_images (int): At most so many of them, spread evenly; fewer in a training that sees few images. 0 for none.
        img_norm_cfg (dict, optional): `mean` and `std`, for data sets with `prefetch=True`; by default those of the
            config.
        layer (str): Whose features, see extract_features.
        views (int): Number of samples of which the views are shown, 0 for none.
        share (float): Part of the time that pages may take while training.
    """

    def __init__(self,
                 interval_seconds=30,
                 dataset=None,
                 max_images=500,
                 img_norm_cfg=None,
                 layer='pooled',
                 views=6,
                 share=0.02):
        for name, value in (('max_images', max_images), ('views', views)):
            check_integer(value, f'ReportHook.{name}', 0)
        if interval_seconds <= 0:
            raise ConfigError(f'ReportHook.interval_seconds is positive, got {interval_seconds!r}')
        if not 0 < share <= 1:
            raise ConfigError(f'ReportHook.share is a part of the time, above 0 and at most 1, got {share!r}')
        self.interval = interval_seconds
        self.dataset = build_dataset(dataset) if isinstance(dataset, dict) else dataset
        self.max_images = max_images
        self.img_norm_cfg = img_norm_cfg
        self.layer = layer
        self.views = views
        self.share = share
        self.gallery = None
        self.pictures = {}

    def before_run(self, runner):
        self._open, self._end = False, None

    def before_epoch(self, runner):
        """Begin; in before_run the files of a run before this one are still there."""
        from mmssl.evaluation import run_report
        if self._open:
            return
        self._open = True
        self._began = self._last = time.monotonic()
        self._begin_iter = runner.iter
        self._page_cost = self._spent = self._look_cost = 0.
        self._sharded = bool(sharded_modules(unwrap(runner.model)))
        if runner.rank == 0:
            self.pictures = run_report.load_pictures(runner.work_dir) if runner.iter else {}
            self._try(runner, self._open_pictures)
            self._end = functools.partial(self._write, runner, None, 'stopped')
            atexit.register(self._at_exit, os.getpid())  # mmcv's own runners call no close
        self._renew(runner, runner.iter, look=True, quick=True)
        self._began = self._last = time.monotonic()
        self._spent = 0.

    def after_train_iter(self, runner):
        if runner.rank != 0:
            return
        now = time.monotonic()
        if now - self._last < max(self.interval, 2 * self._page_cost / self.share):
            return
        self._last = now
        # what is sharded is whole only where all processes come
        look = not self._sharded and self._spent + self._look_cost <= self.share * (now - self._began)
        defer(runner, functools.partial(self._renew, runner, runner.iter + 1, look), 'report')

    def after_run(self, runner):
        self._renew(runner, runner.iter, look=True, state='finished')
        self._end = None

    def close(self):
        """The training is over; where it ends by an error or a signal there was no after_run."""
        atexit.unregister(self._at_exit)
        if self._end is not None:
            self._end()
            self._end = None

    def _at_exit(self, process):
        if os.getpid() == process:
            self.close()

    def _try(self, runner, action, *args):
        """Pictures are not worth a training."""
        try:
            action(runner, *args)
        except Exception as error:
            self.gallery = None
            self.pictures['note'] = f'There are no pictures: {describe(error)}'
            runner.logger.warning('ReportHook: the report goes on without pictures: %s', describe(error))

    def _open_pictures(self, runner):
        """Read the images, and look at views."""
        from mmssl.evaluation.run_pictures import Gallery, gallery_of_training, look_at_views
        loader, cfg = train_loader(runner), getattr(runner, 'config', None) or {}
        norm = dict(self.img_norm_cfg or cfg.get('img_norm_cfg') or {}) or None
        before = self.pictures
        self.pictures = {}
        if self.views:
            self.pictures['views'] = look_at_views(loader.dataset, self.views, cfg.get('seed'), norm)
        if not self.max_images:
            return
        dataset = self.dataset
        if dataset is None:
            dataset, norm = gallery_of_training(loader.dataset, norm)
        # forward passes alone, a third of a training step each: at most 0.5 % of those of the training
        count = min(self.max_images, max(16, int(0.015 * _views_seen(runner, loader))))
        if before.get('gallery'):
            count = len(before['gallery']['names'])
        self.gallery = Gallery(dataset, count, norm, seconds=None if before.get('gallery') else 10)
        self.pictures['gallery'] = self.gallery.describe()
        if before.get('gallery') and before['gallery']['names'] == self.gallery.names:
            self.pictures['first'] = before.get('first')
            self.pictures['now'] = before.get('now')

    def _renew(self, runner, iteration, look=False, quick=False, state='running'):
        start, computed = time.monotonic(), time.thread_time()
        if look and (runner.rank == 0 and self.gallery is not None or self._sharded):
            self._try(runner, self._look, iteration, quick)
        looked = time.monotonic()
        if look:
            self._look_cost = looked - start
            if quick and self.gallery is not None:  # t-SNE comes on top, and others may compute here too
                slower = min(10., max(1., self._look_cost / max(1e-3, time.thread_time() - computed)))
                self._look_cost += _TSNE * len(self.gallery) * slower
        if runner.rank == 0:
            self._write(runner, iteration, state)
            self._page_cost = time.monotonic() - looked
        self._spent += time.monotonic() - start

    def _look(self, runner, iteration, quick):
        from mmssl.evaluation import run_report
        from mmssl.evaluation.run_pictures import look
        with evaluating(runner), autocast(runner):
            if self.gallery is None:  # of another process
                return
            features = self.gallery.features(unwrap(runner.model), self.layer)
        epoch = runner.epoch if runner.max_epochs else None
        found = look(features, self.gallery.labels, iteration, epoch, self.pictures.get('now'), quick)
        if not self.pictures.get('first'):
            self.pictures['first'] = dict(found, points=None)
        self.pictures['now'] = found
        run_report.save_pictures(runner.work_dir, self.pictures)

    def _write(self, runner, iteration, state):
        try:
            self._write_page(runner, iteration, state)
        except FileNotFoundError:  # no logger and no config: there is nothing to tell yet
            return
        except Exception as error:  # such as a full disk, or a log that somebody else writes into
            runner.logger.warning('ReportHook: the page is not written: %s', describe(error))

    def _write_page(self, runner, iteration, state):
        from mmssl.evaluation import run_report
        from mmssl.evaluation.run_record import read_run
        record = read_run(runner.work_dir, getattr(runner, 'config', None) or {})
        iteration = runner.iter if iteration is None else iteration
        record.state, record.iteration = state, iteration
        record.unit, record.total = ('epoch', runner.max_epochs) if runner.max_epochs else ('iter', runner.max_iters)
        record.done = runner.epoch if runner.max_epochs else iteration
        record.seconds = time.monotonic() - self._began
        done = iteration - self._begin_iter
        record.seconds_left = (runner.max_iters - iteration) * record.seconds / done if done else None
        every = max(self.interval, 2 * self._page_cost / self.share)
        run_report.write_page(f'{runner.work_dir}/{run_report.PAGE}', record, self.pictures, every)


def _views_seen(runner, loader):
    """Number of views that the network sees in the training."""
    batch = getattr(getattr(loader, 'batch_sampler', None), 'batch_size', None) or 1
    epochs = runner.max_epochs
    iterations = len(loader) * epochs if epochs else runner.max_iters
    return 2 * batch * iterations
