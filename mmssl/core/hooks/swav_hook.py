# Copyright (c) mmssl contributors. All rights reserved.
"""The queue of SwAV."""
from mmcv.runner.hooks import Hook

from mmssl.datasets import distinct
from mmssl.utils.checkpoint import unwrap
from mmssl.utils.errors import ConfigError, check_integer
from ..builder import HOOKS
from .any_runner import train_loader


@HOOKS.register_module()
class SwAVHook(Hook):
    """Begin the queue of SwAV's head after some epochs (https://arxiv.org/abs/2006.09882, section 4.1).

    From then on each batch is put in the queue, and once it is full its features share in the codes. The queue is a
    buffer of the head: checkpoints hold it, and a resume goes on with it.

    The head and the loader tell `batch_size`, `crops_for_assign` and `feat_dim`. A config may repeat them, and is then
    held to them.

    Args:
        batch_size (int, optional): Images of one process in a batch, data.samples_per_gpu.
        epoch_queue_starts (int): Epochs without queue.
        crops_for_assign (list[int], optional): That of the head.
        feat_dim (int, optional): That of the head.
        queue_length (int): Features of all processes in the queue for each of these crops, 0 for no queue; what makes
            it no multiple of the batch of all processes is taken off.
        interval (int): Accepted for old configs: every checkpoint holds the queue.
    """

    def __init__(self,
                 batch_size=None,
                 epoch_queue_starts=15,
                 crops_for_assign=None,
                 feat_dim=None,
                 queue_length=0,
                 interval=1):
        check_integer(queue_length, 'SwAVHook.queue_length', 0)
        check_integer(epoch_queue_starts, 'SwAVHook.epoch_queue_starts', 0)
        self.batch_size = batch_size
        self.epoch_queue_starts = epoch_queue_starts
        self.crops_for_assign = None if crops_for_assign is None else list(crops_for_assign)
        self.feat_dim = feat_dim
        self.queue_length = queue_length
        self.interval = interval

    def before_run(self, runner):
        head = getattr(unwrap(runner.model), 'head', None)
        if not hasattr(head, 'build_queue'):
            raise ConfigError(f'SwAVHook needs a head with a queue, a SwAVHead; this one is a {type(head).__name__}')
        loader = train_loader(runner)
        batch_size = getattr(getattr(loader, 'batch_sampler', None), 'batch_size', self.batch_size)
        for name, own, where, other in (
            ('batch_size', self.batch_size, 'data.samples_per_gpu', batch_size),
            ('crops_for_assign', self.crops_for_assign, 'model.head.crops_for_assign', head.crops_for_assign),
            ('feat_dim', self.feat_dim, 'model.head.feat_dim', head.feat_dim),
        ):
            if own is not None and own != other:
                raise ConfigError(f'SwAVHook.{name} is {own}, {where} is {other}: leave the first out, or set both to '
                                  'the same')
        if batch_size is None:  # the loader of another runner, which does not tell
            raise ConfigError('SwAVHook.batch_size must be set: the loader does not tell data.samples_per_gpu')
        batch = batch_size * runner.world_size
        self.length = self.queue_length - self.queue_length % batch
        if self.queue_length and not self.length:
            raise ConfigError(f'SwAVHook.queue_length is {self.queue_length}, less than a batch of all processes, '
                              f'{batch_size} x {runner.world_size}; make it longer, or 0 for no queue')
        samples = len(distinct(loader.dataset)) if hasattr(loader, 'dataset') else self.length
        if self.length > samples:
            runner.logger.warning(
                'SwAVHook.queue_length is %d, the training data has %d images: the queue holds some images several '
                'times; set it to less than %d', self.length, samples, samples)
        # a queue that was loaded may be of other settings
        length = 0 if head.queue is None else head.queue.shape[1]
        if length and (length != self.length or runner.epoch < self.epoch_queue_starts):
            runner.logger.warning('the loaded queue of %d features is dropped: SwAVHook starts one of %d in epoch %d',
                                  length, self.length, self.epoch_queue_starts + 1)
            head.build_queue(0)

    def before_train_iter(self, runner):
        head = unwrap(runner.model).head
        if head.queue is None and self.length and runner.epoch >= self.epoch_queue_starts:
            head.build_queue(self.length)
