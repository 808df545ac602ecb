# Copyright (c) mmssl contributors. All rights reserved.
"""Checkpoints at intervals."""
import os
from pathlib import Path

from mmcv.runner.hooks import Hook

from mmssl.utils.checkpoint import remove_checkpoint, unwrap
from mmssl.utils.errors import ConfigError
from mmssl.utils.run_dir import checkpoint_folder
from mmssl.utils.sharded_checkpoint import SUFFIX
from ..builder import HOOKS
from .any_runner import averaged, defer


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Write a checkpoint every so many epochs or iterations, and remove old ones.

    The file is written when all hooks of the iteration are done, also those of lower priority. While gradients
    accumulate it waits for the optimizer's next step, as gradients are not saved.

    Args:
        interval (int): Epochs, or iterations, between checkpoints; -1 writes only the last.
        by_epoch (bool): Whether `interval` counts epochs; the files are epoch_N.pth, else iter_N.pth.
        save_optimizer (bool): Whether to save the optimizer, without which there is no resuming.
        out_dir (str, optional): Folder in which one with the name of the work_dir is made; the work_dir itself if
            not given.
        max_keep_ckpts (int): How many of the files of this hook to keep, -1 for all.
        save_last (bool): Whether to write one at the end in any case.
        filename_tmpl (str, optional): Name with '{}' for the number.
        create_symlink (bool): Whether `latest.pth` leads to the newest.
        sharded (bool): Whether, with sharding=dict(type='fsdp'), each process writes its parts into a folder
            epoch_N.dcp; tools/model_converters/merge_checkpoint.py makes the usual file of it.
        asynchronous (bool): Whether the file is written beside the training, from a copy in the memory of the host.
        sync_buffer (bool): Accepted for old configs: buffers that matter are equal on all ranks, see
            DistributedDataParallel.
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
                 sync_buffer=False):
        for name, value in dict(interval=interval, max_keep_ckpts=max_keep_ckpts).items():
            if not isinstance(value, int) or isinstance(value, bool):
                raise ConfigError(f'checkpoint_config.{name} is an integer, got {value!r}')
        if max_keep_ckpts < -1:
            raise ConfigError(
                f'checkpoint_config.max_keep_ckpts is a number of files, or -1 for all, got {max_keep_ckpts}')
        self.interval = interval
        self.by_epoch = by_epoch
        self.save_optimizer = save_optimizer
        self.out_dir = out_dir
        self.max_keep_ckpts = max_keep_ckpts
        self.save_last = save_last
        self.filename_tmpl = filename_tmpl or ('epoch_{}.pth' if by_epoch else 'iter_{}.pth')
        if sharded:
            self.filename_tmpl = str(Path(self.filename_tmpl).with_suffix(SUFFIX))
        # those that are asked for alone, as mmcv's own runners know none
        self.options = {name: True for name, value in dict(sharded=sharded, asynchronous=asynchronous).items() if value}
        self.create_symlink = create_symlink
        self._due = False
        self._written = []

    def before_run(self, runner):
        self.out_dir = folder = str(checkpoint_folder(runner.work_dir, self.out_dir))
        os.makedirs(folder, exist_ok=True)
        self._written = [file for file in self._written if os.path.exists(os.path.join(folder, file))]

    def state_dict(self):
        return dict(written=self._written)

    def load_state_dict(self, state):
        self._written = list(state['written'])

    def after_train_iter(self, runner):
        if self.by_epoch:
            return
        last = self.save_last and self.is_last_iter(runner)
        number = runner.iter + 1
        self._due |= self.every_n_iters(runner, self.interval) or last
        if self._due and (last or getattr(unwrap(runner.model), 'is_update_iter', True)):
            defer(runner, lambda: self._save(runner, number))

    def after_train_epoch(self, runner):
        number = runner.epoch + 1
        if self.by_epoch and (self.every_n_epochs(runner, self.interval) or
                              (self.save_last and self.is_last_epoch(runner))):
            defer(runner, lambda: self._save(runner, number))

    def _save(self, runner, number):
        self._due = False
        name = self.filename_tmpl.format(number)
        # the checkpoint itself lists the old ones too: who resumes from it removes what a kill left between two steps
        self._written = [file for file in self._written if file != name] + [name]
        path = os.path.join(self.out_dir, name)
        runner.logger.info('Saving checkpoint %s', path)
        if runner.meta is not None:
            runner.meta.setdefault('hook_msgs', {})['last_ckpt'] = path
        with averaged(runner):
            runner.save_checkpoint(
                self.out_dir,
                filename_tmpl=name,
                save_optimizer=self.save_optimizer,
                create_symlink=self.create_symlink,
                **self.options)
        # the old ones go only when the new one is safe on the disk
        if self.max_keep_ckpts > 0:
            old, self._written = self._written[:-self.max_keep_ckpts], self._written[-self.max_keep_ckpts:]
            for file in old if runner.rank == 0 else ():
                remove_checkpoint(os.path.join(self.out_dir, file))
