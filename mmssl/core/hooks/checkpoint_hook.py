# Copyright (c) mmssl contributors. All rights reserved.
"""Checkpoints at intervals of epochs, iterations or minutes."""
import os
import time
from pathlib import Path

from mmcv.runner.hooks import Hook

from mmssl.utils.checkpoint import remove_checkpoint, unwrap
from mmssl.utils.dist import broadcast_object
from mmssl.utils.errors import ConfigError
from mmssl.utils.misc import disk_full
from mmssl.utils.run_dir import checkpoint_folder
from mmssl.utils.sharded import sharded_modules
from mmssl.utils.sharded_checkpoint import SUFFIX
from ..builder import HOOKS
from ..checkpoint_writer import check_divided
from .any_runner import averaged, defer


def _check_name(template):
    """See that a template makes names of files, with which neither `latest.pth` nor an older one is written over."""
    try:
        first, second = template.format(1), template.format(2)
    except (AttributeError, IndexError, KeyError, ValueError):
        first = second = ''
    if first == second or first != os.path.basename(first):
        raise ConfigError("checkpoint_config.filename_tmpl is the name of a file with '{}' for the number, such as "
                          f"'epoch_{{}}.pth', got {template!r}")


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Write a checkpoint every so many epochs or iterations, and remove old ones.

    The file is written when all hooks of the iteration are done, also those of lower priority. While gradients
    accumulate it waits for the optimizer's next step, as gradients are not saved.

    Between these, checkpoints to go on from are written by the clock (`interval_minutes`) and when a signal ends the
    training. They are iter_N.pth, within an epoch too. Only the newest of them is kept, and none when a later one at
    an interval is there.

    No file is removed before the newer one is safe on the disk. Where the disk is full, old files stay, a warning says
    so and the next interval tries again; at the end of the training, and where a signal ends it, it is an error.

    Args:
        interval (int): Epochs, or iterations, between checkpoints; -1 writes only the last.
        by_epoch (bool): Whether `interval` counts epochs; the files are epoch_N.pth, else iter_N.pth.
        save_optimizer (bool): Whether to save the optimizer, without which there is no resuming.
        out_dir (str, optional): Folder in which one with the name of the work_dir is made; the work_dir itself if
            not given.
        max_keep_ckpts (int): How many of the files at intervals to keep, -1 for all.
        save_last (bool): Whether to write one at the end in any case.
        filename_tmpl (str, optional): Name with '{}' for the number, of the files at intervals.
        create_symlink (bool): Whether `latest.pth` leads to the newest.
        sharded (bool): Whether, with sharding=dict(type='fsdp'), each process writes its parts into a folder
            epoch_N.dcp; tools/model_converters/merge_checkpoint.py makes the usual file of it. One process writes the
            usual file.
        asynchronous (bool): Whether the file is written beside the training, from a copy in the memory of the host.
        sync_buffer (bool): Accepted for old configs: buffers that matter are equal on all ranks, see
            DistributedDataParallel.
        interval_minutes (float | None): Minutes, by the clock of rank 0, after the last checkpoint of any kind until
            one between the intervals is written.
    """

    def __init__(self,
                 interval=-1,
                 by_epoch=True,
                 save_optimizer=True,
                 out_dir=None,
                 max_keep_ckpts=-1,
                 save_last=True,
                 filename_tmpl=None,
                 create_symlink=True,
                 sharded=False,
                 asynchronous=False,
                 sync_buffer=False,
                 interval_minutes=None):
        for name, value in dict(interval=interval, max_keep_ckpts=max_keep_ckpts).items():
            if not isinstance(value, int) or isinstance(value, bool):
                raise ConfigError(f'checkpoint_config.{name} is an integer, got {value!r}')
        if max_keep_ckpts < -1:
            raise ConfigError(
                f'checkpoint_config.max_keep_ckpts is a number of files, or -1 for all, got {max_keep_ckpts}')
        if interval_minutes is not None and not interval_minutes > 0:
            raise ConfigError(f'checkpoint_config.interval_minutes is a positive number, got {interval_minutes!r}')
        if interval_minutes is not None and not save_optimizer:
            raise ConfigError('checkpoint_config.interval_minutes is for checkpoints to go on from, which '
                              'save_optimizer=False makes useless: leave one of them out')
        self.interval = interval
        self.by_epoch = by_epoch
        self.save_optimizer = save_optimizer
        self.out_dir = out_dir
        self.max_keep_ckpts = max_keep_ckpts
        self.save_last = save_last
        self.filename_tmpl = filename_tmpl or ('epoch_{}.pth' if by_epoch else 'iter_{}.pth')
        _check_name(self.filename_tmpl)
        if sharded:
            self.filename_tmpl = str(Path(self.filename_tmpl).with_suffix(SUFFIX))
        # those that are asked for alone, as mmcv's own runners know none
        self.options = {name: True for name, value in dict(sharded=sharded, asynchronous=asynchronous).items() if value}
        self.create_symlink = create_symlink
        self.interval_minutes = interval_minutes
        self._due = False
        self._written, self._between = [], []  # names of files at intervals, and between them
        self._unsafe = []  # of each that is still being written: its handle, its name and what is to be removed then
        self._position, self._time = None, time.monotonic()  # of the last one

    def before_run(self, runner):
        self.out_dir = folder = str(checkpoint_folder(runner.work_dir, self.out_dir))
        os.makedirs(folder, exist_ok=True)
        if 'sharded' in self.options and not sharded_modules(runner.model):
            check_divided(runner.world_size > 1)  # now, not after an epoch
            runner.logger.warning(
                'checkpoint_config.sharded=True: one process divides nothing, and checkpoints are the '
                'usual files')
            del self.options['sharded']
            self.filename_tmpl = str(Path(self.filename_tmpl).with_suffix('.pth'))
        self._written, self._between = ([name for name in names if os.path.exists(os.path.join(folder, name))]
                                        for names in (self._written, self._between))
        self._time = time.monotonic()

    def state_dict(self):
        return dict(written=self._written, between=self._between)

    def load_state_dict(self, state):
        self._written, self._between = list(state['written']), list(state.get('between', ()))

    def after_train_iter(self, runner):
        self._tidy(runner)
        if self.by_epoch:
            return
        last = self.save_last and self.is_last_iter(runner)
        number = runner.iter + 1
        self._due |= self.every_n_iters(runner, self.interval) or last
        if self._due and (last or getattr(unwrap(runner.model), 'is_update_iter', True)):
            defer(runner, lambda: self._save(runner, self.filename_tmpl.format(number), last))

    def after_train_epoch(self, runner):
        number = runner.epoch + 1
        last = self.save_last and self.is_last_epoch(runner)
        if self.by_epoch and (self.every_n_epochs(runner, self.interval) or last):
            defer(runner, lambda: self._save(runner, self.filename_tmpl.format(number), last))

    def after_run(self, runner):
        self._tidy(runner, wait=True, strict=True)

    def minutes_over(self):
        """Whether it is time for a checkpoint between the intervals, by the clock of this process."""
        return self.interval_minutes is not None and time.monotonic() - self._time >= 60 * self.interval_minutes

    def save_between(self, runner, last=False):
        """Write a checkpoint to go on from, unless the newest is of this very moment.

        Args:
            runner (BaseRunner): Between two iterations. All processes call it at the same one.
            last (bool): Whether the training ends here: wait until the file is safe.
        """
        if self._position != (runner.epoch, runner.iter):
            end = SUFFIX if 'sharded' in self.options else '.pth'
            self._save(runner, f'iter_{runner.iter}{end}', last, between=True)
        if last:
            self._tidy(runner, wait=True, strict=True)

    def _save(self, runner, name, last, between=False):
        self._due = False
        self._tidy(runner, wait=True)  # one at a time
        before = self._written, self._between
        # the checkpoint itself lists the old ones too: who resumes from it removes what a kill left between two steps
        others = [[file for file in files if file != name] for files in before]
        others[between] = [*others[between], name]
        self._written, self._between = others
        path = os.path.join(self.out_dir, name)
        runner.logger.info('Saving checkpoint %s', path)
        messages = {} if runner.meta is None else runner.meta.setdefault('hook_msgs', {})
        message, messages['last_ckpt'] = messages.get('last_ckpt'), path
        self._time, error, handle = time.monotonic(), None, None
        try:
            with averaged(runner):
                handle = runner.save_checkpoint(
                    self.out_dir,
                    filename_tmpl=name,
                    save_optimizer=self.save_optimizer,
                    create_symlink=self.create_symlink,
                    **self.options)
        except OSError as failure:
            if disk_full(failure) is None:
                raise
            error, messages['last_ckpt'] = failure, message
        if last:  # rank 0 writes, and all end by its error
            error = broadcast_object(error, patient=True)
            if error is not None:
                raise error
        if error is not None:
            self._written, self._between = before
            self._warn(runner, error)
            return
        self._position = runner.epoch, runner.iter
        old = [] if between or self.max_keep_ckpts < 1 else self._written[:-self.max_keep_ckpts]
        self._written = self._written[len(old):]
        old += [file for file in self._between if file != name]
        self._between = [name] if between else []
        self._unsafe.append((handle, name, old))
        self._tidy(runner, wait=last, strict=last)

    def _tidy(self, runner, wait=False, strict=False):
        """Remove old files whose newer ones are safe on the disk; with `wait` all, with `strict` or an error."""
        while self._unsafe and (wait or self._unsafe[0][0] is None or self._unsafe[0][0].done()):
            handle, name, old = self._unsafe.pop(0)
            if handle is not None:
                try:
                    handle.wait()
                except OSError as error:
                    if strict or disk_full(error) is None:
                        raise
                    self._warn(runner, error)
                    self._written = [*old, *(file for file in self._written if file != name)]
                    continue
            for file in old if runner.rank == 0 else ():
                remove_checkpoint(os.path.join(self.out_dir, file))

    @staticmethod
    def _warn(runner, error):
        runner.logger.warning('%s. The training goes on; the next checkpoint is tried when it is due', error.strerror)
