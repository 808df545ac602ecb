# Copyright (c) mmssl contributors. All rights reserved.
"""How fast an iteration is, in each precision and memory format, and where its time goes."""
import contextlib
import copy
import statistics
import time
from functools import partial

import numpy as np
import torch

from mmssl.core import LARS, build_optimizer
from mmssl.core.log_buffer import LogBuffer
from mmssl.datasets.collators import collate
from mmssl.datasets.loader import map_tensors
from mmssl.datasets.pipelines import SamplePipeline
from mmssl.datasets.pipelines.compose import build_step
from mmssl.datasets.relative_loc import image_to_patches
from mmssl.models import build_algorithm
from mmssl.models.utils.momentum_encoder import MomentumEncoder, ema_update
from mmssl.utils.config import config_section
from mmssl.utils.dist import default_device
from mmssl.utils.errors import ConfigError

SWITCHES = ('float32', 'channels_last', 'bfloat16', 'float16', 'compile')
_HALF = dict(bfloat16=torch.bfloat16, float16=torch.float16)
LOG_INTERVAL = 50


class Stopwatch:
    """Adds up the time of what runs inside it, the work of the device included.

    Args:
        device (torch.device): Waited for.
        clock (callable): Gives seconds; time.process_time leaves out what other programs take of a CPU.
    """

    def __init__(self, device, clock=time.perf_counter):
        self.device = device
        self.clock = clock
        self.seconds = 0.

    def __enter__(self):
        self._synchronize()
        self.start = self.clock()
        return self

    def __exit__(self, *error):
        self._synchronize()
        self.seconds += self.clock() - self.start

    def _synchronize(self):
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)


def interleaved(functions, rounds, device, clock=time.perf_counter):
    """Time functions by turns, so that a slow moment of the machine meets all of them.

    Args:
        functions (dict[str, callable]): What to time; each is called once beforehand.
        rounds (int): Timed calls of each.
        device (torch.device): Waited for.
        clock (callable): See Stopwatch.

    Returns:
        dict[str, float]: Median seconds by name.
    """
    seconds = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(rounds):
        for name, function in functions.items():
            with Stopwatch(device, clock) as watch:
                function()
            seconds[name].append(watch.seconds)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _pipelines(cfg):
    """The training pipelines, one for each view."""
    train = cfg.data.train
    if 'pipelines' not in train:
        return [train.get('pipeline', [])]
    return [pipeline for number, pipeline in zip(train['num_views'], train['pipelines']) for _ in range(number)]


def _last_size(pipeline):
    sizes = [step['size'] for step in pipeline if 'size' in step]
    size = sizes[-1] if sizes else 224
    return size if isinstance(size, int) else size[0]


def image_size(cfg):
    """The size that the last step with a size in the first training pipeline leaves."""
    return _last_size(_pipelines(cfg)[0])


def random_batch(cfg, batch_size, size, device):
    """A batch of noise as the training data set of a config would give it.

    Args:
        cfg (mmcv.Config): The config.
        batch_size (int): Samples.
        size (int): Height and width of the first view; crops of other sizes keep their proportion to it.
        device (torch.device): Where the batch is made.

    Returns:
        dict: The batch.
    """
    kind, channels = cfg.data.train.get('type'), cfg.model.backbone.get('in_channels', 3)
    channels = 3 if channels == 2 else channels  # the algorithm makes edges of colours
    if kind == 'SampleDataset':
        return _random_samples(cfg, batch_size, size, channels, device)
    own, targets = [_last_size(pipeline) for pipeline in _pipelines(cfg)], {}
    sizes = [max(1, round(size * n / own[0])) for n in own]
    if kind == 'RelativeLocDataset':
        sizes = [len(patch) for patch in image_to_patches(np.zeros((size, size, 1), np.uint8))]
        targets['patch_label'] = torch.arange(8, device=device).expand(batch_size, 8)
    elif kind == 'RotationPredDataset':
        sizes *= 4
        targets['rot_label'] = torch.arange(4, device=device).expand(batch_size, 4)
    elif 'pipelines' not in cfg.data.train:
        classes = (cfg.model.get('head') or {}).get('num_classes', 2)
        name = 'pseudo_label' if kind == 'DeepClusterDataset' else 'label'
        targets[name] = torch.randint(classes, (batch_size, ), device=device)
    one = 'label' in targets or 'pseudo_label' in targets
    masks = [build_step(step) for step in _pipelines(cfg)[0] if step['type'].endswith('MaskGenerator')]
    if masks:  # behind an image, or behind it and one for a tokenizer
        one = False
        sizes += [step['second_size'] for step in _pipelines(cfg)[0] if step.get('second_size')]
    images = [torch.randn(batch_size, channels, n, n, device=device) for n in sizes]
    images += [torch.as_tensor(np.stack([m.draw_mask() for _ in range(batch_size)]), device=device) for m in masks]
    return dict(img=images[0] if one else images, idx=torch.arange(batch_size, device=device), **targets)


def _random_samples(cfg, batch_size, size, channels, device):
    """The same of a data set whose pipeline makes samples: noise in the shapes that it leaves, with its labels."""
    pipeline = [dict(step) for step in _pipelines(cfg)[0]]
    last, scale = next((s for s in reversed(pipeline) if 'size' in s), {}), size / image_size(cfg)
    # one more size may stand in the same step
    last.update({key: round(last[key] * scale) for key in ('size', 'patch_size') if isinstance(last.get(key), int)})
    run, grey = SamplePipeline(pipeline), np.full((2 * size, 2 * size, channels), 128, np.uint8)
    batch = collate([run(dict(img=grey, label=0, idx=i)) for i in range(batch_size)])
    batch['img'] = map_tensors(batch['img'], lambda t: torch.randn(t.shape))
    return map_tensors(batch, lambda t: t.to(device))


class Step:
    """An iteration of a config's training without its data: forward, backward, optimizer, moving averages, logs.

    Args:
        cfg (mmcv.Config): The config.
        model (nn.Module): Its algorithm, on the device; used as it is.
        batch (dict): See random_batch.
        switches (Sequence[str]): Of 'channels_last', 'bfloat16' or 'float16' (whose loss is scaled), and 'compile'.

    Attributes:
        watched (bool): Whether the watches run, for which the host waits for the device several times an iteration.
    """

    watched = False

    def __init__(self, cfg, model, batch, switches=()):
        self.model = model.train()
        self.device = batch['idx'].device
        self.dtype = next((_HALF[name] for name in switches if name in _HALF), None)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        if 'channels_last' in switches:
            model.to(memory_format=torch.channels_last)
            images = map_tensors(batch['img'], lambda x: x.to(memory_format=torch.channels_last) if x.dim() == 4 else x)
            batch = {**batch, 'img': images}
        if 'compile' in switches:
            for part in model.compile_parts():
                part.compile()
        self.batch = batch
        self.optimizer = build_optimizer(model, cfg.optimizer)
        self.logs = LogBuffer()
        self.iterations = 0
        self.watches = {name: Stopwatch(self.device) for name in ('ema', 'optimizer', 'logging')}

    def autocast(self):
        return contextlib.nullcontext() if self.dtype is None else torch.autocast(self.device.type, self.dtype)

    def __call__(self):
        with self.autocast():
            outputs = self.model.train_step(self.batch, self.optimizer)
        self.optimizer.zero_grad()
        self.scaler.scale(outputs['loss']).backward()
        with self.watch('optimizer'):
            self.scaler.step(self.optimizer)
            self.scaler.update()
        if hasattr(self.model, 'momentum_update'):
            self.model.momentum_update()
        self.iterations += 1
        with self.watch('logging'):
            self.logs.update(outputs['log_vars'], outputs['num_samples'])
            if self.iterations % LOG_INTERVAL == 0:
                self.logs.average(LOG_INTERVAL)

    def watch(self, name):
        return self.watches[name] if self.watched else contextlib.nullcontext()

    def watch_parts(self):
        """Time the optimizer, the logs, and the updates of momentum encoders wherever the algorithm makes them."""
        self.watched = True
        for module in self.model.modules():
            if isinstance(module, MomentumEncoder):
                follow = module.follow

                def watched(*args, follow=follow, **kwargs):
                    with self.watches['ema']:
                        follow(*args, **kwargs)

                module.follow = watched

    def bare_networks(self):
        """What the networks alone compute in an iteration, as a function that repeats it on the same inputs."""
        calls = []
        parts = self.model.compile_parts()
        handles = [
            part.register_forward_pre_hook(lambda module, inputs: calls.append(
                (module, inputs, torch.is_grad_enabled()))) for part in parts
        ]
        with self.autocast():
            self.model.train_step(self.batch, self.optimizer)
        for handle in handles:
            handle.remove()
        calls = [(module, _detached(inputs), grad) for module, inputs, grad in calls]

        def run():
            self.optimizer.zero_grad()
            maps = []
            with self.autocast():
                for module, inputs, grad in calls:
                    with torch.set_grad_enabled(grad):
                        maps += [x for x in _tensors(module(*inputs)) if x.requires_grad]
            torch.autograd.backward(maps, [torch.ones_like(x) for x in maps])

        return run


def _tensors(value):
    if isinstance(value, torch.Tensor):
        return [value]
    return [x for item in value for x in _tensors(item)] if isinstance(value, (list, tuple)) else []


def _detached(value):
    if isinstance(value, torch.Tensor):
        return value.detach().requires_grad_(value.requires_grad)
    return type(value)(map(_detached, value)) if isinstance(value, (list, tuple)) else value


def measure_variants(cfg, variants, batch_size, size, rounds):
    """Images/s of whole iterations.

    Args:
        cfg (mmcv.Config): The config.
        variants (Sequence[str]): 'float32' or switches joined by '+', such as 'bfloat16+channels_last'.
        batch_size (int): Images a batch.
        size (int): Their height and width.
        rounds (int): Timed iterations of each variant.

    Returns:
        dict[str, dict]: images_per_second and ratio (to the first variant) by variant.
    """
    for variant in variants:
        for switch in variant.split('+'):
            if switch not in SWITCHES:
                raise ConfigError(f'{switch!r} in the variant {variant!r} is none of {SWITCHES}')
    model, batch = model_and_batch(cfg, batch_size, size)
    steps = {variant: Step(cfg, copy.deepcopy(model), batch, variant.split('+')) for variant in variants}
    seconds = interleaved(steps, rounds, default_device())
    return {
        variant: dict(images_per_second=batch_size / seconds[variant], ratio=seconds[variants[0]] / seconds[variant])
        for variant in variants
    }


def measure_shares(cfg, variant, batch_size, size, rounds):
    """Where the time of an iteration goes.

    Returns:
        dict[str, float]: Shares of `networks` (forward and backward of the bare networks on the same inputs), `ema`,
        `optimizer`, `logging` and `loss_and_rest` (what is left), and `iteration_over_networks`, a ratio.
    """
    model, batch = model_and_batch(cfg, batch_size, size)
    step = Step(cfg, model, batch, variant.split('+'))
    bare = step.bare_networks()
    step.watch_parts()
    step()
    for watch in step.watches.values():
        watch.seconds = 0.
    step.iterations = 0
    total, networks = Stopwatch(step.device), Stopwatch(step.device)
    bare()
    for _ in range(rounds):
        with total:
            step()
        with networks:
            bare()
    shares = {name: watch.seconds / total.seconds for name, watch in step.watches.items()}
    shares['networks'] = networks.seconds / total.seconds
    shares['loss_and_rest'] = 1 - sum(shares.values())
    shares['iteration_over_networks'] = total.seconds / networks.seconds
    return shares


def measure_operations(cfg, rounds):
    """Moving average and LARS step on the parameters of a config's online networks, against loops over parameters.

    Returns:
        dict[str, dict]: plain_ms, ms and ratio, for 'ema' and 'lars'.
    """
    model, _ = model_and_batch(cfg, 1, 32)
    params = [p for p in model.parameters() if p.requires_grad]
    for p in params:
        p.grad = torch.randn_like(p) * 1e-3
    copies = [p.detach().clone() for p in params]
    lars = LARS(params, lr=0.1, momentum=0.9, weight_decay=1e-6)
    velocities = [torch.zeros_like(p) for p in params]
    seconds = interleaved(
        dict(
            ema_plain=partial(_plain_ema, copies, params),
            ema=partial(ema_update, copies, params, 0.99),
            lars_plain=partial(_plain_lars, params, velocities),
            lars=lars.step), rounds, default_device())
    return {
        name:
        dict(
            plain_ms=1e3 * seconds[f'{name}_plain'],
            ms=1e3 * seconds[name],
            ratio=seconds[f'{name}_plain'] / seconds[name])
        for name in ('ema', 'lars')
    }


@torch.no_grad()
def _plain_ema(targets, sources):
    for target, source in zip(targets, sources):
        target.data = target.data * 0.99 + source.data * 0.01


@torch.no_grad()
def _plain_lars(params, velocities, lr=0.1, momentum=0.9, decay=1e-6):
    for p, v in zip(params, velocities):
        weight_norm, grad_norm = p.norm().item(), p.grad.norm().item()
        local = 1.
        if weight_norm and grad_norm:
            local = 1e-3 * weight_norm / (grad_norm + decay * weight_norm + 1e-8)
        step = p.grad.add(p, alpha=decay).mul(lr * local)
        v.mul_(momentum).add_(step)
        p.add_(-v)


def model_and_batch(cfg, batch_size, size):
    """The algorithm of a config with new weights, on the device, and a batch of noise for it."""
    with config_section(cfg, 'model'):
        model = build_algorithm(cfg.model)
    model.init_weights()
    # a memory as long as that of ImageNet
    model.fit_to_data(samples=1281167, views=cfg.data.train.get('num_views'))
    if hasattr(getattr(model, 'memory_bank', None), 'label_bank'):
        model.memory_bank.label_bank.clamp_(min=0)  # where a training would cluster first
    device = default_device()
    return model.to(device), random_batch(cfg, batch_size, size, device)
