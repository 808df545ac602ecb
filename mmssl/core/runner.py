# Copyright (c) mmssl contributors. All rights reserved.
"""mmcv's runners without their sleeps, resuming at the very iteration, with mixed precision and lazy logs."""
import contextlib
import itertools
import time
from collections import Counter
from pathlib import Path

import mmcv
import torch
from mmcv.runner import EpochBasedRunner as _EpochBasedRunner
from mmcv.runner import Hook
from mmcv.runner import IterBasedRunner as _IterBasedRunner
from mmcv.runner import IterTimerHook, OptimizerHook, Priority, get_host_info, get_priority
from mmcv.runner.hooks import ProfilerHook as MMCVProfilerHook
from mmcv.runner.hooks.logger import LoggerHook

from mmssl import __version__
from mmssl.utils.checkpoint import CheckpointError, load_weights, read_checkpoint, unwrap
from mmssl.utils.dist import all_gather_object, barrier
from mmssl.utils.errors import ConfigError, check_integer, nearest
from mmssl.utils.misc import fast_bfloat16
from mmssl.utils.registry import accepted_arguments, build_from_cfg
from mmssl.utils.rng import get_rng_state, set_rng_state
from mmssl.utils.sharded import gathered, is_sharded, sharded_modules
from mmssl.utils.sharded_checkpoint import is_folder_checkpoint, read_folder
from mmssl.utils.watchdog import NoWatchdog, build_watchdog
from .builder import HOOKS, RUNNERS
from .checkpoint_writer import write_checkpoint
from .hooks.any_runner import INNER_STAGES, averaged, is_known
from .hooks.group_schedules import check_schedules, restricted
from .hooks.profiler_hook import ProfilerHook
from .hooks.text_logger import LastIterationHook
from .log_buffer import LogBuffer
from .loss_guard import LossGuard
from .optimizer.state import load_optimizer, optimizer_settings, optimizer_state
from .schedule_preview import describe_curves, preview, schedule_hooks
from .stop import Stop


def _batches(loader, epoch, start):
    """Iterate over one epoch of a loader from its batch `start` on."""
    if hasattr(loader, 'set_epoch'):
        loader.set_epoch(epoch, start)
        return iter(loader)
    if hasattr(getattr(loader, 'sampler', None), 'set_epoch'):
        loader.sampler.set_epoch(epoch)
    return itertools.islice(loader, start, None)


def _updater(policy, suffix):
    """Name of the hook of a policy, whose capitals do not matter: 'step' is StepLrUpdaterHook."""
    policies = [name.removesuffix(suffix) for name in HOOKS.names() if name.endswith(suffix) and name != suffix]
    for name in policies:
        if str(policy).lower() == name.lower():
            return name + suffix
    near = sorted(name for name in policies if isinstance(policy, str) and policy and policy.lower() in name.lower())
    raise ConfigError(f'{policy!r} is no policy; ' + (
        f'did you mean {" or ".join(map(repr, near))}?' if near else nearest(policy, policies, 'there are')))


class _Machine:
    """What the two runners share. See mmcv's BaseRunner for the arguments.

    Attributes:
        amp_dtype (torch.dtype, optional): Type of autocast around each step, None for full precision.
        epoch_batches (int): Batches of the current epoch that are done, the position in the data.
        config (mmcv.Config, optional): What it was built by, for trackers of experiments.
        data_loaders (list): The loaders of all phases, for hooks, from before_run on.
        phases (PhaseTimers, optional): Set by a hook that measures what each phase of an iteration takes.
    """

    def __init__(self,
                 model,
                 batch_processor=None,
                 optimizer=None,
                 work_dir=None,
                 logger=None,
                 meta=None,
                 max_iters=None,
                 max_epochs=None):
        needed, other = ('max_epochs', 'max_iters') if self._by_epoch else ('max_iters', 'max_epochs')
        lengths = dict(max_epochs=max_epochs, max_iters=max_iters)
        if lengths[needed] is None or lengths[other] is not None:
            raise ConfigError(f'{type(self).__name__} needs {needed}, and no {other}')
        check_integer(lengths[needed], needed, 1)
        super().__init__(model, batch_processor, optimizer, work_dir, logger, meta, max_iters, max_epochs)
        self.log_buffer = LogBuffer()
        self.loss_guard = LossGuard(self)
        self.stop = Stop()
        self.watchdog = NoWatchdog()
        self.amp_dtype = None
        self.epoch_batches = 0
        self.config = None
        self.phases = None
        self._stage = None
        self._deferred = []
        self._rng_state = None
        self._resumed_length = None
        self._pending = None
        # as they were built, before any schedule changes them
        self._optimizer_settings = {name: optimizer_settings(o) for name, o in self._optimizers().items()}

    # ---- hooks

    def register_lr_hook(self, lr_config):
        self._register_updater(lr_config, 'LrUpdaterHook', 'VERY_HIGH')

    def register_momentum_hook(self, momentum_config):
        self._register_updater(momentum_config, 'MomentumUpdaterHook', 'HIGH')

    def _register_updater(self, cfg, suffix, priority):
        own = cfg.get('schedules') if isinstance(cfg, dict) else None
        if own:
            if not isinstance(own, dict) or not all(isinstance(part, dict) for part in own.values()):
                raise ConfigError(f'schedules has a schedule by the name of its groups, got {own!r}')
            main = {key: value for key, value in cfg.items() if key != 'schedules'}
            for name, part in {None: main, **own}.items():
                part = self._updater_config(part, suffix)
                self._register(dict(part, type=restricted(HOOKS.get(part['type']), name, own)), priority)
        elif cfg is not None:
            self._register(self._updater_config(cfg, suffix), priority)

    @staticmethod
    def _updater_config(cfg, suffix):
        """The config of a schedule's hook, whose policy is the beginning of its name."""
        if isinstance(cfg, dict):
            cfg = dict(cfg)
            if 'policy' not in cfg:
                raise ConfigError(f'the schedule {cfg} has no "policy", such as "CosineAnnealing" or "step"')
            cfg['type'] = _updater(cfg.pop('policy'), suffix)
            takes = accepted_arguments(HOOKS.get(cfg['type']))[0]
            pair = [name for name in takes if name.startswith('min_') and f'{name}_ratio' in takes]
            for name in pair:
                if (cfg.get(name) is None) == (cfg.get(f'{name}_ratio') is None):
                    raise ConfigError(f'{cfg["type"]} takes one of {name} and {name}_ratio, got {cfg}')
        return cfg

    def register_optimizer_hook(self, optimizer_config):
        self._register(optimizer_config, 'ABOVE_NORMAL', 'DistOptimizerHook')

    def register_checkpoint_hook(self, checkpoint_config):
        self._register(checkpoint_config, 'NORMAL', 'CheckpointHook')

    def register_timer_hook(self, timer_config):
        self._register(timer_config, 'LOW')

    def register_evaluation_hook(self, evaluation, dataloader):
        self._register(evaluation, 'LOW', 'EvalHook', dataloader=dataloader)

    def register_profiler_hook(self, profiler_config):
        # a config with an argument that only mmcv's hook takes is for that one
        names = accepted_arguments(MMCVProfilerHook)[0].keys() - accepted_arguments(ProfilerHook)[0].keys()
        of_mmcv = isinstance(profiler_config, dict) and names & profiler_config.keys()
        # the last of all hooks, so that an iteration has the others in it
        self._register(profiler_config, 'LOWEST', MMCVProfilerHook if of_mmcv else ProfilerHook)

    def register_logger_hooks(self, log_config):
        if not log_config:
            return
        hooks, interval = log_config.get('hooks'), log_config.get('interval', 10)
        if not isinstance(hooks, (list, tuple)):
            raise ConfigError("log_config.hooks is a list of loggers, such as [dict(type='TextLoggerHook')], got "
                              f'{hooks!r}')
        check_integer(interval, 'log_config.interval', 1)
        self.register_hook(LastIterationHook(interval), 'VERY_LOW')
        for cfg in hooks:
            self._register(cfg, 'VERY_LOW', interval=interval)

    def register_custom_hooks(self, custom_config):
        for cfg in [custom_config] if isinstance(custom_config, (dict, Hook)) else custom_config or ():
            self.register_hook_from_cfg(cfg)

    def register_hook(self, hook, priority='NORMAL'):
        try:
            get_priority(priority)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f'priority is a number from 0 to 100 or one of {", ".join(Priority.__members__)}, got '
                              f'{priority!r}') from error
        super().register_hook(hook, priority)

    def register_hook_from_cfg(self, hook_cfg):
        priority = 'NORMAL'
        if isinstance(hook_cfg, dict):
            hook_cfg = dict(hook_cfg)
            priority = hook_cfg.pop('priority', priority)
        self._register(hook_cfg, priority)

    def _register(self, cfg, priority, default_type=None, **defaults):
        if cfg is None:
            return
        if isinstance(cfg, dict):
            if default_type is not None:
                defaults['type'] = default_type
            kind = cfg.get('type', default_type)
            kind = HOOKS.get(kind) if isinstance(kind, str) else kind
            if not self._by_epoch and kind and 'by_epoch' in accepted_arguments(kind)[0]:
                defaults['by_epoch'] = False
            cfg = build_from_cfg(cfg, HOOKS, defaults)
        elif not isinstance(cfg, Hook):
            raise ConfigError(f'a hook is a dict with a "type", got {cfg!r}')
        self.register_hook(cfg, priority)

    def call_hook(self, fn_name):
        """Call all hooks; of INNER_STAGES, which mmcv does not have, those that know the stage."""
        outer, self._stage = self._stage, fn_name  # the optimizer's hook calls stages within its own
        phases = self.phases
        if phases is not None:
            phases.stage_begins(fn_name)
        for hook in self.hooks:
            if fn_name not in INNER_STAGES or hasattr(hook, fn_name):
                if fn_name not in INNER_STAGES:  # one process may evaluate for all, but each takes the step
                    self.watchdog.be_busy(not isinstance(hook, OptimizerHook))
                with phases.of_hook(hook, fn_name) if phases is not None else contextlib.nullcontext():
                    getattr(hook, fn_name)(self)
        if fn_name in ('before_train_iter', 'after_train_iter'):
            self.watchdog.be_busy(False)
        elif fn_name.endswith(('_run', '_epoch')):  # where a hook may take one process longer than a collective waits
            barrier(patient=True)
        if phases is not None:
            phases.stage_ends(fn_name)
        self._stage = outer

    def get_hook_info(self):
        """The hooks of each stage, in their order, for the log."""
        lines = [super().get_hook_info()]
        for stage in INNER_STAGES:
            names = [type(hook).__name__ for hook in self.hooks if hasattr(hook, stage)]
            if names:
                lines.append(f'{stage}: {", ".join(names)}')
        return '\n'.join(lines)

    def defer(self, action, phase='checkpoint'):
        """Have `action()` called when all hooks of this stage are done and the position is counted up.

        A checkpoint written by one hook in the midst of the others would lack what the later ones do, such as the
        update of a momentum encoder. Its time counts as that of a phase.
        """
        self._deferred.append((action, phase))

    def _run_deferred(self):
        actions, self._deferred = self._deferred, []
        start = time.time()
        self.watchdog.be_busy(bool(actions))
        for action, phase in actions:
            with self.phases.phase(phase) if self.phases is not None else contextlib.nullcontext():
                action()
        self.watchdog.be_busy(False)
        for hook in self.hooks if actions else ():
            if isinstance(hook, IterTimerHook) and hasattr(hook, 't'):
                hook.t += time.time() - start  # else the next iteration would seem to wait for its data

    def _may_stop(self, at_once=False):
        """Between two iterations: end the training, or write a checkpoint, where a signal or the clock asks for it.

        While gradients accumulate it waits for the optimizer's step, as CheckpointHook does.
        """
        hook = next((hook for hook in self.hooks if hasattr(hook, 'save_between')), None)
        self.stop.agree(self.rank == 0 and hook is not None and hook.minutes_over(), at_once)
        if not (self.stop or self.stop.due) or not getattr(unwrap(self.model), 'is_update_iter', True):
            return
        self.stop.due = False
        if self.stop:
            self.logger.info('%s: the training ends after iteration %d', self.stop.name(), self.iter)
        if hook is not None:
            self.watchdog.be_busy()
            hook.save_between(self, last=bool(self.stop))
            self.watchdog.be_busy(False)
        if self.stop:
            raise self.stop.error()

    # ---- steps

    def autocast(self):
        """Context of the forward pass in the precision that was chosen."""
        if self.amp_dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(next(self.model.parameters()).device.type, self.amp_dtype)

    def _step(self, data_batch):
        """One training iteration with its hooks."""
        self.data_batch = data_batch
        self.watchdog.mark(2 * self._iter + 1, f'iteration {self._iter + 1}')
        self.call_hook('before_train_iter')
        self.loss_guard.before()
        with self.autocast():
            self.outputs = self.model.train_step(data_batch, self.optimizer)
        self._log_outputs()
        self.call_hook('after_forward')
        self.call_hook('after_train_iter')
        self.loss_guard.check()  # where a user's optimizer hook has not done so
        self.data_batch = None
        self._iter += 1
        self.epoch_batches += 1
        self._await_data()

    def _await_data(self):
        self.watchdog.mark(2 * self._iter, f'the data of iteration {self._iter + 1}')

    @torch.no_grad()
    def _val_step(self, data_batch):
        self.data_batch = data_batch
        self.call_hook('before_val_iter')
        with self.autocast():
            self.outputs = self.model.val_step(data_batch, self.optimizer)
        self._log_outputs()
        if 'loss' in self.outputs:
            self.loss_guard.check_validation()
        self.call_hook('after_val_iter')
        self.data_batch = None

    def _log_outputs(self):
        if not isinstance(self.outputs, dict):
            raise TypeError(f'train_step() and val_step() return a dict, got a {type(self.outputs).__name__}')
        if 'loss' in self.outputs and self.mode == 'train':
            self.loss_guard.watch(self.outputs['loss'])
        if 'log_vars' in self.outputs:
            self.log_buffer.samples = self.outputs['num_samples'] * self.world_size
            self.log_buffer.update(self.outputs['log_vars'], self.outputs['num_samples'])

    def run(self, data_loaders, workflow):
        """Train and validate by turns until the training is as long as it shall be.

        Args:
            data_loaders (list): One a phase.
            workflow (list[tuple[str, int]]): Phases, such as [('train', 1), ('val', 1)]; the number counts epochs of
                EpochBasedRunner, iterations of IterBasedRunner.

        Raises:
            ConfigError: A workflow that makes no training.
            FloatingPointError: A loss or gradient that is no number.
            KeyboardInterrupt: A signal has asked for an end (see Stop); its words are the position and the last
                checkpoint.
        """
        self._check_workflow(workflow)
        try:
            with self.stop:
                self.watchdog = build_watchdog()
                self.watchdog.start()
                self._run(data_loaders, workflow)
                self.stop.settle()
                self.watchdog.stop()
        except KeyboardInterrupt as stop:
            self.watchdog.stop()
            last = (self.meta or {}).get('hook_msgs', {}).get('last_ckpt')
            stop.args = (f'in epoch {self.epoch + 1}, after iteration {self.iter}; ' +
                         (f'the last checkpoint is {last}' if last else 'there is no checkpoint yet'), )
            raise
        finally:
            try:
                self.finish_checkpoint()
            finally:
                for hook in self.hooks:
                    if hasattr(hook, 'close'):
                        hook.close()

    @staticmethod
    def _check_workflow(workflow):
        for phase in workflow:
            if len(phase) != 2 or phase[0] not in ('train', 'val') or type(phase[1]) is not int or phase[1] < 1:
                raise ConfigError(
                    f"a phase of workflow is ('train', n) or ('val', n) with n of 1 or more, got {phase!r}")
        if all(mode == 'val' for mode, _ in workflow):
            raise ConfigError(f"workflow {workflow} has no phase ('train', n)")

    def _announce(self, data_loaders, workflow, length):
        self.data_loaders = data_loaders
        if len(data_loaders) != len(workflow):
            raise ConfigError(f'workflow {workflow} has {len(workflow)} phases for {len(data_loaders)} data loaders')
        self.logger.info('Start running, host: %s, work_dir: %s', get_host_info(), self.work_dir or 'NONE')
        self.logger.info('Hooks will be executed in the following order:\n%s', self.get_hook_info())
        self.logger.info('workflow: %s, max: %s', workflow, length)
        for hook in self.hooks:
            if not self._by_epoch and getattr(hook, 'by_epoch', False) and is_known(hook):
                raise ConfigError(f'{type(hook).__name__} has by_epoch=True, and {type(self).__name__} counts '
                                  'iterations: give it by_epoch=False and its numbers in iterations')
        check_schedules(self)
        self.call_hook('before_run')
        self._summarize(next(loader for loader, phase in zip(data_loaders, workflow) if phase[0] == 'train'), length)

    def _summarize(self, loader, length):
        """Say in a few words what will be trained, on what, and where."""
        batch = getattr(getattr(loader, 'batch_sampler', None), 'batch_size', None)
        parameters = list(unwrap(self.model).parameters())
        total, trained = (sum(p.numel() for p in parameters if p.requires_grad or not only) for only in (False, True))
        device = parameters[0].device if parameters else torch.device('cpu')
        name = torch.cuda.get_device_name(device) if device.type == 'cuda' else f'{torch.get_num_threads()} threads'
        precision = str(self.amp_dtype or parameters[0].dtype).removeprefix('torch.') if parameters else 'none'
        interval = max((getattr(hook, 'update_interval', 1) for hook in self.hooks if hasattr(hook, 'grad_clip')),
                       default=1)
        how = [f'{batch} in each of {self.world_size} processes'] if self.world_size > 1 else []
        if interval > 1 and batch:
            how.append(f'{interval} of them a step, which has {batch * self.world_size * interval} images')
        self.logger.info(
            'Training on %d images, %d iterations an epoch, %s; batch %s%s; %s (%s); %.1f M parameters, %.1f M of them '
            'trained; %s', len(loader.dataset), len(loader), length, batch and batch * self.world_size,
            f' ({", ".join(how)})' if how else '', device, name, total / 1e6, trained / 1e6, precision)
        if self.optimizer is not None and not isinstance(self.optimizer, dict):
            lines = describe_curves(*preview(self, len(loader), count=300), len(loader))
            lines += [
                f'{type(hook).__name__} is of your own: what it will do is not told' for hook in schedule_hooks(self)
                if not is_known(hook)
            ]
            self.logger.info('Schedules:\n%s', '\n'.join(lines))
        if device.type == 'cpu' and self.amp_dtype in (torch.float16, torch.bfloat16):
            if self.amp_dtype == torch.float16:
                other = ', or fp16=None amp.dtype=bfloat16' if fast_bfloat16() else ''
                self.logger.warning(
                    'float16 on a CPU is about ten times slower than float32: add --cfg-options '
                    'fp16=None amp=None%s', other)
            elif not fast_bfloat16():
                self.logger.warning('this CPU has no instructions for bfloat16, which is slower than float32 here: add '
                                    '--cfg-options amp=None')

    # ---- checkpoints

    def _position(self):
        """Epoch, iteration and batch of the epoch that come next, also while hooks of the last one still run."""
        epoch, iteration, batches = self._epoch, self._iter, self.epoch_batches
        if self._stage == 'after_train_iter':
            iteration, batches = iteration + 1, batches + 1
        elif self._stage == 'after_train_epoch':
            epoch, batches = epoch + 1, 0
        return epoch, iteration, batches

    def _epoch_length(self):
        loader = getattr(self, 'data_loader', None)
        return len(loader) if loader is not None else 0

    def save_checkpoint(self,
                        out_dir,
                        filename_tmpl=None,
                        save_optimizer=True,
                        meta=None,
                        create_symlink=True,
                        sharded=False,
                        asynchronous=False):
        """Write a checkpoint to resume from. All ranks call it, as it holds the random state of each; rank 0 writes.

        Args:
            out_dir (str): Folder.
            filename_tmpl (str, optional): Name, '{}' in it becomes the number of epochs (or iterations).
            save_optimizer (bool): Whether to save the state of the optimizer; without it there is no resuming.
            meta (dict, optional): More to save under 'meta'.
            create_symlink (bool): Whether `latest.pth` in the folder shall lead to the file.
            sharded (bool): See write_checkpoint.
            asynchronous (bool): See write_checkpoint. The next checkpoint and the end of the run wait for this one.

        Returns:
            PendingWrite | None: With `asynchronous`, what has `done()` and `wait()`.

        Raises:
            FloatingPointError: A parameter is NaN or infinite; nothing is written.
        """
        self.finish_checkpoint()
        self.loss_guard.check_weights()
        epoch, iteration, batches = self._position()
        name = (filename_tmpl or self._filename_tmpl).format(self._number(epoch, iteration, batches))
        with averaged(self):
            checkpoint = self._checkpoint(save_optimizer, meta)
            self._pending = write_checkpoint(checkpoint, Path(out_dir) / name, create_symlink, sharded, asynchronous)
        return self._pending

    def finish_checkpoint(self):
        """Wait for a checkpoint that is being written beside the training.

        Raises:
            Exception: It could not be written.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.wait()

    def _checkpoint(self, save_optimizer, meta):
        """What a checkpoint holds: complete on rank 0, where parts of it may be sharded tensors."""
        epoch, iteration, batches = self._position()
        model = unwrap(self.model)
        meta = {
            **(meta or {}),
            **(self.meta or {}), 'epoch': epoch,
            'iter': iteration,
            'epoch_batches': batches,
            'epoch_length': self._epoch_length(),
            'mmssl_version': __version__,
            'mmcv_version': mmcv.__version__,
            'time': time.asctime()
        }
        if getattr(model, 'CLASSES', None) is not None:
            meta['CLASSES'] = list(model.CLASSES)
        checkpoint = dict(meta=meta, state_dict=model.state_dict(), rng_states=all_gather_object(get_rng_state()))
        if save_optimizer and self.optimizer is not None:
            states = {name: optimizer_state(o, self.rank == 0) for name, o in self._optimizers().items()}
            checkpoint['optimizer'] = states if isinstance(self.optimizer, dict) else states['']
            checkpoint['optimizer_settings'] = self._optimizer_settings
        checkpoint['hooks'] = {name: hook.state_dict() for name, hook in self._hooks_with_state()}
        return checkpoint

    def _hooks_with_state(self):
        """Hooks whose state is saved, by the name of their class; of several of one class, the later with a number."""
        seen = Counter()
        for hook in self.hooks:
            if hasattr(hook, 'state_dict'):
                name = type(hook).__name__
                seen[name] += 1
                yield (name if seen[name] == 1 else f'{name}_{seen[name]}'), hook

    def load_checkpoint(self,
                        filename,
                        map_location='cpu',
                        strict=False,
                        revise_keys=None,
                        may_differ=(),
                        inflate_stem=None):
        """Load weights only, of this toolbox or another; see mmssl.utils.load_weights.

        Tensors of the same names must have the same shapes, except in the parts that `may_differ` names, and in first
        layers on other channels with `inflate_stem`. What the file lacks of momentum encoders begins as a copy of the
        networks that they follow.
        """
        model = unwrap(self.model)
        followers = getattr(model, 'momentum_parts', ())
        with gathered(model):
            report = load_weights(
                model,
                str(filename),
                strict=strict,
                logger=self.logger,
                may_differ=may_differ,
                refilled=followers,
                inflate_stem=inflate_stem)
        lacking = [key for key in report.missing if key.partition('.')[0] in followers]
        if lacking:
            own = model.state_dict()
            loaded = {key: own[key].clone() for key in report.matched if key.partition('.')[0] in followers}
            model.copy_momentum_parts()
            for key, value in loaded.items():
                own[key].copy_(value)
            self.logger.info('%s: %s of what was loaded', ', '.join(followers),
                             f'{len(lacking)} tensors are copies' if loaded else 'a copy')
        return report

    def resume(self, checkpoint, resume_optimizer=True, map_location='cpu'):
        """Go on with a training where a checkpoint was written: weights, optimizer, schedules, random states, data.

        Args:
            checkpoint (str): Path of a file or a folder NAME.dcp, written by any number of processes.
            resume_optimizer (bool): Whether to restore the optimizer.
            map_location: Where the file is read to.

        Raises:
            CheckpointError: The checkpoint is not one of this model and this optimizer.
        """
        path, model = checkpoint, unwrap(self.model)
        if is_folder_checkpoint(path) and sharded_modules(model):  # each process reads its own parts
            checkpoint = read_folder(path, read_checkpoint, self._shard_of(model))
        else:
            checkpoint = read_checkpoint(path, map_location)
        meta = checkpoint.get('meta', {})
        if 'iter' not in meta or 'state_dict' not in checkpoint:
            raise CheckpointError(f'{path} holds weights only and no position to resume from; use load_from instead')
        with contextlib.nullcontext() if any(map(is_sharded, checkpoint['state_dict'].values())) else gathered(model):
            load_weights(model, checkpoint, strict=True, logger=self.logger)
        if resume_optimizer and self.optimizer is not None:
            if 'optimizer' not in checkpoint:
                raise CheckpointError(f'{path} has no state of the optimizer; use load_from for its weights alone')
            for name, optimizer in self._optimizers().items():
                state, then = checkpoint['optimizer'], checkpoint.get('optimizer_settings', {}).get(name)
                changes = load_optimizer(optimizer, state[name] if name else state, then,
                                         self._optimizer_settings[name], path)
                if changes:
                    self.logger.info('the optimizer goes on with changed settings: %s', ', '.join(changes))
        self._epoch, self._iter = meta['epoch'], meta['iter']
        self.epoch_batches, self._resumed_length = meta.get('epoch_batches', 0), meta.get('epoch_length', 0)
        states = checkpoint.get('hooks', {})
        for name, hook in self._hooks_with_state():
            if name in states:
                hook.load_state_dict(states[name])
        rng_states = checkpoint.get('rng_states', [])
        if len(rng_states) != self.world_size:
            self.logger.warning(
                '%s was written by %d processes, this training has %d: going on, but not with the '
                'same random numbers', path, len(rng_states), self.world_size)
        if self.rank < len(rng_states):
            self._rng_state = rng_states[self.rank]
        if self.meta is None:
            self.meta = {}
        self.meta.setdefault('hook_msgs', {}).update(meta.get('hook_msgs', {}))
        self.meta['resume_from'] = str(path)
        self.logger.info('resumed from %s at epoch %d, batch %d, iteration %d', path, self._epoch + 1,
                         self.epoch_batches, self._iter)

    def _shard_of(self, model):
        """A function that gives the sharded tensor for a name in a folder checkpoint, None where there is none."""
        weights = model.state_dict()

        def like(name):
            place, _, rest = name.partition('/')
            if place == 'optimizer':
                where, _, rest = rest.rpartition('state/')
                number = int(rest.partition('/')[0])
                groups = self._optimizers()[where.rstrip('/')].param_groups
                parameters = [p for group in groups for p in group['params']]
                return parameters[number] if number < len(parameters) else None
            return weights.get(rest) if place == 'state_dict' else None

        return like

    def _optimizers(self):
        """Optimizers by name; a single one has the name ''."""
        if isinstance(self.optimizer, dict):
            return self.optimizer
        return {} if self.optimizer is None else {'': self.optimizer}

    def _restore_rng(self):
        if self._rng_state is not None:
            set_rng_state(self._rng_state)
            self._rng_state = None

    def _refit_position(self, length):
        """Another number of processes or another batch size makes another number of batches an epoch."""
        old, self._resumed_length = self._resumed_length, None
        if old and old != length:
            self.epoch_batches = self.epoch_batches * length // old
            self._iter = self._epoch * length + self.epoch_batches
            self.logger.warning('an epoch has %d batches instead of %d: going on at iteration %d', length, old,
                                self._iter)


@RUNNERS.register_module()
class EpochBasedRunner(_Machine, _EpochBasedRunner):
    """Trains for `max_epochs` epochs.

    Args:
        max_epochs (int): Length of the training.
        kwargs: As of mmcv's BaseRunner.
    """

    _by_epoch = True
    _filename_tmpl = 'epoch_{}.pth'

    def _number(self, epoch, iteration, batches):
        return epoch + (batches > 0)

    def _run(self, data_loaders, workflow):
        length = next((len(loader) for loader, phase in zip(data_loaders, workflow) if phase[0] == 'train'), 0)
        self._refit_position(length)
        self._max_iters = self._max_epochs * length
        self._announce(data_loaders, workflow, f'{self._max_epochs} epochs')
        while self.epoch < self._max_epochs:
            for loader, (mode, epochs) in zip(data_loaders, workflow):
                for _ in range(epochs):
                    if mode == 'val' or self.epoch < self._max_epochs:
                        getattr(self, mode)(loader)
        self.loss_guard.check_gradients()
        self.call_hook('after_run')

    def train(self, data_loader):
        """One epoch, or what is left of it after a resume."""
        self.model.train()
        self.mode, self.data_loader = 'train', data_loader
        start = self._inner_iter = self.epoch_batches
        # the random state of a checkpoint is that before the hooks of a new epoch, or after them in the midst of one
        if start == 0:
            self._restore_rng()
        self.call_hook('before_train_epoch')
        self._restore_rng()
        self._await_data()
        for self._inner_iter, data_batch in enumerate(_batches(data_loader, self.epoch, start), start):
            self._step(data_batch)
            self._run_deferred()
            self._may_stop(at_once=self.epoch_batches == len(data_loader))  # the hooks of an epoch may take long
        self.call_hook('after_train_epoch')
        self._epoch += 1
        self.epoch_batches = 0
        self._run_deferred()
        if self._epoch < self._max_epochs:
            self._may_stop(at_once=True)

    def val(self, data_loader):
        """One pass over the validation data."""
        self.model.eval()
        self.mode, self.data_loader = 'val', data_loader
        self.watchdog.be_busy()
        self.call_hook('before_val_epoch')
        for self._inner_iter, data_batch in enumerate(data_loader):
            self._val_step(data_batch)
        self.call_hook('after_val_epoch')


@RUNNERS.register_module()
class IterBasedRunner(_Machine, _IterBasedRunner):
    """Trains for `max_iters` iterations, through the data as often as that takes.

    Args:
        max_iters (int): Length of the training.
        kwargs: As of mmcv's BaseRunner.
    """

    _by_epoch = False
    _filename_tmpl = 'iter_{}.pth'

    def _number(self, epoch, iteration, batches):
        return iteration

    def _run(self, data_loaders, workflow):
        train_loader = next(loader for loader, phase in zip(data_loaders, workflow) if phase[0] == 'train')
        self._refit_position(len(train_loader))
        self._announce(data_loaders, workflow, f'{self._max_iters} iterations')
        self.data_loader, self.mode = train_loader, 'train'
        batches = [self._endless(loader, mode == 'train') for loader, (mode, _) in zip(data_loaders, workflow)]
        self.call_hook('before_train_epoch')
        self._restore_rng()
        self._await_data()
        while self.iter < self._max_iters:
            for loader, stream, (mode, iterations) in zip(data_loaders, batches, workflow):
                self._inner_iter = 0
                training = self.log_buffer
                if mode == 'val':  # whose losses are no part of the means of the training
                    self.log_buffer = LogBuffer()
                for _ in range(iterations):
                    if mode == 'val' or self.iter < self._max_iters:
                        self.data_loader, self.mode = loader, mode
                        self.model.train(mode == 'train')
                        self.watchdog.be_busy(mode == 'val')
                        (self._step if mode == 'train' else self._val_step)(next(stream))
                        self._inner_iter += 1
                        self._run_deferred()
                        if self.iter < self._max_iters:
                            self._may_stop()
                if mode == 'val':
                    self.log_buffer.output['eval_iter_num'] = self.iter
                    for hook in self.hooks:
                        if isinstance(hook, LoggerHook):
                            hook.after_val_epoch(self)
                    self.log_buffer = training
        self.call_hook('after_epoch')
        self.loss_guard.check_gradients()
        self.call_hook('after_run')

    def _endless(self, loader, counts):
        """Batches without end; with `counts` the epochs and batches are the runner's position."""
        for epoch in itertools.count(self._epoch):
            start = self.epoch_batches if counts else 0
            for batch in _batches(loader, epoch, start):
                yield batch
                # here the step with this batch is done
                if counts and self.epoch_batches == len(loader):
                    self._epoch, self.epoch_batches = epoch + 1, 0

    def _position(self):
        epoch, iteration, batches = super()._position()
        return (epoch + 1, iteration, 0) if batches == self._epoch_length() else (epoch, iteration, batches)


def build_runner(cfg, default_args=None):
    """Build the runner of a config.

    Args:
        cfg (dict): `type` and either max_epochs or max_iters.
        default_args (dict, optional): model, optimizer, work_dir, logger and meta.

    Returns:
        BaseRunner: The runner.
    """
    return build_from_cfg(cfg, RUNNERS, default_args)
