# Copyright (c) mmssl contributors. All rights reserved.
"""A loss that is no number stops the training before it spoils the weights, and leaves what reproduces it."""
from pathlib import Path

import torch

from mmssl import __version__
from mmssl.datasets import sample_name
from mmssl.utils.checkpoint import save_checkpoint, unwrap
from mmssl.utils.rng import get_rng_state


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


class LossGuard:
    """Looks at each iteration's loss before the optimizer's step.

    On a GPU the answer travels to the host while the device works on the backward pass, which is queued before the
    host waits for it: the host never waits for an idle device. On a CPU there is nothing to wait for.

    Args:
        runner (BaseRunner): Its model, batch and position are dumped.
    """

    def __init__(self, runner):
        self.runner = runner
        self.rng_state = None
        self.flag = None
        self.event = None

    def before(self):
        """Note the random state that the forward pass begins with."""
        self.rng_state = get_rng_state()

    def watch(self, loss):
        """Ask whether a loss is finite, without waiting for the answer.

        Args:
            loss (Tensor): 0-dim.
        """
        flag = torch.isfinite(loss.detach())
        if flag.is_cuda:
            self.flag = torch.empty((), dtype=torch.bool, pin_memory=True)
            self.flag.copy_(flag, non_blocking=True)
            self.event = torch.cuda.Event()
            self.event.record()
        else:
            self.flag = flag

    def check(self):
        """Wait for the answer.

        Raises:
            FloatingPointError: The loss is NaN or infinite; the dump is written.
        """
        if self.flag is None:
            return
        if self.event is not None:
            self.event.synchronize()
            self.event = None
        flag, self.flag = self.flag, None
        if not flag:
            self._stop()

    def _stop(self):
        runner = self.runner
        terms = {name: float(value) for name, value in runner.outputs.get('log_vars', {}).items()}
        terms.setdefault('loss', float(runner.outputs['loss'].detach()))
        bad = {name: value for name, value in terms.items() if not torch.isfinite(torch.tensor(value))}
        single = {name: value for name, value in bad.items() if name != 'loss'} or bad
        names = self._file_names()
        where = f'iteration {runner.iter + 1} (epoch {runner.epoch + 1}, batch {runner.inner_iter + 1})'
        message = [f'the loss is {terms["loss"]} in {where}: ' + ', '.join(f'{k} = {v}' for k, v in single.items())]
        if names:
            message.append(f'files of the batch: {", ".join(names[:8])}' +
                           (f', ... ({len(names)} in all, in the dump)' if len(names) > 8 else ''))
        if runner.work_dir:
            path = Path(runner.work_dir) / f'nonfinite_iter_{runner.iter + 1}_rank{runner.rank}.pth'
            self._dump(path, terms, names)
            message.append(f'reproduce it: python tools/analysis_tools/reproduce_nonfinite.py {path}')
        message.append('the checkpoints are as they were; a lower learning rate, a longer warm-up, grad_clip, or '
                       'bfloat16 instead of float16 may help')
        raise FloatingPointError('\n  '.join(message))

    def _file_names(self):
        runner = self.runner
        data = runner.data_batch
        dataset = getattr(getattr(runner, 'data_loader', None), 'dataset', None)
        if dataset is None or not isinstance(data, dict) or 'idx' not in data:
            return []
        return [sample_name(dataset, int(idx)) for idx in data['idx']]

    def _dump(self, path, terms, names):
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
                state_dict=model.state_dict(),
                settings=plain_settings(model),
                batch=runner.data_batch,
                rng_state=self.rng_state), path)
