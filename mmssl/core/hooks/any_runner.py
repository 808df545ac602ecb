# Copyright (c) mmssl contributors. All rights reserved.
"""What hooks ask of a runner that may be mmcv's own, and of a model that may be anybody's."""
import contextlib

from mmcv.runner.hooks.logger import LoggerHook

from mmssl.utils.checkpoint import unwrap
from mmssl.utils.sharded import unsharded

# stages within a training iteration, between before_train_iter and after_train_iter, which hooks may have too
INNER_STAGES = ('after_forward', 'before_backward', 'after_backward', 'before_step', 'after_step')


def autocast(runner):
    """Context of the forward pass in the runner's precision."""
    return runner.autocast() if hasattr(runner, 'autocast') else contextlib.nullcontext()


@contextlib.contextmanager
def averaged(runner):
    """Context in which the model has the weights that checkpoints and evaluations take.

    They are those of a hook that averages them, such as EMAHook, where there is one.
    """
    with contextlib.ExitStack() as stack:
        for hook in runner.hooks:
            if hasattr(hook, 'averaged'):
                stack.enter_context(hook.averaged())
        yield


@contextlib.contextmanager
def evaluating(runner):
    """As `averaged`, and sharded parameters are whole on each process, which may then compute on its own."""
    with averaged(runner), unsharded(unwrap(runner.model)):
        yield


def defer(runner, action, phase='checkpoint'):
    """Have `action()` called when all hooks of this stage are done; mmcv's own runners know no such time: at once."""
    getattr(runner, 'defer', lambda action, phase: action())(action, phase)


def log_evaluation(runner, metrics, **others):
    """Have the loggers log figures of an evaluation next.

    Args:
        runner (BaseRunner): Trackers of experiments call such figures val/NAME, also in the midst of an epoch.
        metrics (dict[str, float]): The figures.
        others: Values that only the text log reads.
    """
    buffer = runner.log_buffer
    buffer.output.update(metrics, **others)
    buffer.ready = True
    if hasattr(buffer, 'evaluated'):
        buffer.evaluated.update(metrics)


def log_at_start(runner, metrics):
    """Log figures of an evaluation before the first iteration at once, as those of epoch 0.

    Args:
        runner (BaseRunner): In the stage before_train_epoch of the first one.
        metrics (dict[str, float]): The figures.
    """
    log_evaluation(runner, metrics, eval_iter_num=0)
    mode, runner.mode = runner.mode, 'val'  # in which loggers count the epochs that are done
    for hook in runner.hooks:
        if isinstance(hook, LoggerHook):
            hook.log(runner)
    runner.mode = mode
    runner.log_buffer.clear_output()


def train_loader(runner):
    """The loader of the training data; None in the before_run of mmcv's own runners, which do not tell it there."""
    loaders = getattr(runner, 'data_loaders', None)
    return loaders[0] if loaders else getattr(runner, 'data_loader', None)


def call_stage(runner, name):
    """Call what hooks have for one of INNER_STAGES; mmcv's own runners do not know these."""
    if hasattr(runner, 'phases'):
        runner.call_hook(name)


def is_known(hook):
    """Whether a hook is of mmcv or this toolbox, so that what its attributes mean is known."""
    return type(hook).__module__.startswith(('mmcv.', 'mmssl.'))
