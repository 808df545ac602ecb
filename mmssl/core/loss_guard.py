# Copyright (c) mmssl contributors. All rights reserved.
"""A loss or gradient that is no number stops the training before it reaches a checkpoint, and what made it is kept."""
import math
from pathlib import Path
from shlex import quote

import torch

from mmssl import __version__
from mmssl.datasets import sample_name
from mmssl.utils.checkpoint import save_checkpoint, unwrap
from mmssl.utils.dist import all_reduce_sum
from mmssl.utils.rng import get_rng_state
from mmssl.utils.sharded import norms, sharded_modules, whole

_ADVICE = (
    'the checkpoints are as they were; a lower learning rate, a longer warm-up, grad_clip, or bfloat16 instead of '
    'float16 may help')


def _largest(tensors):
    """Largest absolute value of each, on their device; NaN, or infinite of a sharded one, where one is NaN."""
    return norms(tensors, math.inf).float()


def _some(names):
    return ', '.join(names[:8]) + (f', ... ({len(names)} in all)' if len(names) > 8 else '')


def plain_settings(model):
    """What hooks have set on a model and its parts: attributes that are numbers or truth values.

    Args:
        model (nn.Module): An algorithm.

    Returns:
        dict[str, dict]: By name of the module ('' is the model).
    """
    kept = {}
    for name, module in model.named_modules():
        values = {
            k: v
            for k, v in vars(module).items()
            if isinstance(v, (bool, int, float)) and not k.startswith('_') and k != 'training'
        }
        if values:
            kept[name] = values
    return kept


class _Answer:
    """Whether all of some values are finite: asked on the device, read on the host when it has come.

    Args:
        finite (Tensor): Truth values.
    """

    def __init__(self, finite):
        self.flag, self.event = finite.all(), None
        if finite.is_cuda:
            flag = torch.empty((), dtype=torch.bool, pin_memory=True)
            flag.copy_(self.flag, non_blocking=True)
            self.flag, self.event = flag, torch.cuda.Event()
            self.event.record()

    def __bool__(self):
        if self.event is not None:
            self.event.synchronize()
        return bool(self.flag)


class LossGuard:
    """Looks at each iteration's loss and gradients before the optimizer's step.

    On a GPU the answers travel to the host while the device works: that about the loss during the backward pass, which
    is queued before the host waits for it, that about the gradients until the next iteration's, or until a checkpoint
    is to be written. The host never waits for an idle device. On a CPU there is nothing to wait for.

    Args:
        runner (BaseRunner): Its model, batch and position are dumped.
    """

    def __init__(self, runner):
        self.runner = runner
        self.rng_state = None
        self.loss = None
        self.gradients = None  # the answer, names and largest values, and the number of the iteration

    def before(self):
        """Note the random state that the forward pass begins with."""
        self.rng_state = get_rng_state()

    def watch(self, loss):
        """Ask whether a loss is finite, without waiting for the answer.

        Args:
            loss (Tensor): 0-dim.
        """
        finite = torch.isfinite(loss.detach())
        if sharded_modules(self.runner.model):  # all have parts of the weights for the dump of one
            finite = all_reduce_sum(1 - finite.float()) == 0
        self.loss = _Answer(finite)

    @torch.no_grad()
    def watch_gradients(self):
        """Ask whether the gradients are finite, before the optimizer's step; on a CPU the answer is there at once.

        Raises:
            FloatingPointError: See check_gradients.
        """
        self.check_gradients()
        named = [(name, p.grad) for name, p in unwrap(self.runner.model).named_parameters() if p.grad is not None]
        if named:
            largest = _largest([gradient for _, gradient in named])
            self.gradients = _Answer(torch.isfinite(largest)), [n for n, _ in named], largest, self.runner.iter + 1
            if not largest.is_cuda:
                self.check_gradients()

    def check(self):
        """Wait for the answer about the loss.

        Raises:
            FloatingPointError: It is NaN or infinite; the dump is written.
        """
        answer, self.loss = self.loss, None
        if answer is not None and not answer:
            self._stop()

    def check_gradients(self):
        """Wait for the answer about the last gradients.

        Raises:
            FloatingPointError: One is NaN or infinite; the dump is written where the step has not been made.
        """
        found, self.gradients = self.gradients, None
        if found is None or found[0]:
            return
        _, names, largest, iteration = found
        bad = [name for name, value in zip(names, largest.tolist()) if not math.isfinite(value)]
        runner = self.runner
        message = [
            f'the loss of iteration {iteration} is finite, its gradients are not: '
            f'{len(bad)} of {len(names)} parameters, such as {", ".join(bad[-3:])}'
        ]
        if not largest.is_cuda and runner.work_dir:
            self._dump(self._terms(), self._file_names())
            rank = '*' if runner.world_size > 1 else runner.rank
            message.append(f'batch and weights are in {self._path(rank)}')
        if not largest.is_cuda and runner.amp_dtype == torch.bfloat16:
            message.append('on a CPU torch leaves bfloat16 gradients of convolutions with a stride over maps of 1 x 1 '
                           'unset; larger images, or no amp, avoid that')
        message.append(_ADVICE)
        raise FloatingPointError('\n  '.join(message))

    def check_validation(self):
        """See that the loss of a validation batch is a number.

        Raises:
            FloatingPointError: It is not.
        """
        runner, terms = self.runner, self._terms()
        if not math.isfinite(terms['loss']):
            raise FloatingPointError(f'the loss of the validation is {terms["loss"]} in batch {runner.inner_iter + 1}, '
                                     f'after iteration {runner.iter}\n  files of the batch: '
                                     f'{_some(self._file_names()) or "unknown"}')

    def check_weights(self):
        """See that no parameter that a checkpoint is to hold has become NaN or infinite.

        Raises:
            FloatingPointError: One has.
        """
        self.check_gradients()
        named = [(name, p.detach()) for name, p in unwrap(self.runner.model).named_parameters()
                 if p.is_floating_point() and p.numel()]
        if not named:
            return
        largest = _largest([p for _, p in named])
        if not torch.isfinite(largest).all():
            bad = [name for (name, _), value in zip(named, largest.tolist()) if not math.isfinite(value)]
            raise FloatingPointError(f'{len(bad)} of {len(named)} parameters are not finite after iteration '
                                     f'{self.runner.iter}, such as {", ".join(bad[-3:])}: no checkpoint of them is '
                                     f'written\n  {_ADVICE}')

    def _terms(self):
        outputs = self.runner.outputs
        terms = {name: float(value) for name, value in outputs.get('log_vars', {}).items()}
        terms.setdefault('loss', float(outputs['loss'].detach()))
        return terms

    def _weights(self, keep=True):
        """Whole weights, where they are sharded with the help of all processes."""
        return whole(unwrap(self.runner.model).state_dict(), keep) if self.runner.work_dir else None

    def _path(self, rank):
        return Path(self.runner.work_dir) / f'nonfinite_iter_{self.runner.iter + 1}_rank{rank}.pth'

    def _stop(self):
        runner, terms = self.runner, self._terms()
        bad = {name: value for name, value in terms.items() if not math.isfinite(value)}
        if not bad:
            self._weights(keep=False)
            raise FloatingPointError(f'the loss of another process is not finite in iteration {runner.iter + 1}')
        single = {name: value for name, value in bad.items() if name != 'loss'} or bad
        names = self._file_names()
        where = f'iteration {runner.iter + 1} (epoch {runner.epoch + 1}, batch {runner.inner_iter + 1})'
        message = [f'the loss is {terms["loss"]} in {where}: ' + ', '.join(f'{k} = {v}' for k, v in single.items())]
        if names:
            message.append(f'files of the batch: {_some(names)}')
        if runner.work_dir:
            self._dump(terms, names)
            path = self._path(runner.rank)
            message.append(f'reproduce it: python tools/analysis_tools/reproduce_nonfinite.py {quote(str(path))}')
        message.append(_ADVICE)
        raise FloatingPointError('\n  '.join(message))

    def _file_names(self):
        runner = self.runner
        data = runner.data_batch
        dataset = getattr(getattr(runner, 'data_loader', None), 'dataset', None)
        if dataset is None or not isinstance(data, dict) or 'idx' not in data:
            return []
        return [sample_name(dataset, int(idx)) for idx in data['idx']]

    def _dump(self, terms, names):
        runner, model = self.runner, unwrap(self.runner.model)
        meta = dict(
            config=(runner.meta or {}).get('config', ''),
            epoch=runner.epoch,
            iter=runner.iter,
            rank=runner.rank,
            world_size=runner.world_size,
            losses=terms,
            files=names,
            amp_dtype=str(runner.amp_dtype).removeprefix('torch.') if runner.amp_dtype else None,
            mmssl_version=__version__)
        save_checkpoint(
            dict(
                meta=meta,
                state_dict=self._weights(),
                settings=plain_settings(model),
                batch=runner.data_batch,
                rng_state=self.rng_state), self._path(runner.rank))
