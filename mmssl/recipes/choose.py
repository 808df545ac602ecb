# Copyright (c) mmssl contributors. All rights reserved.
"""The rules: each looks at facts and sets values of the config, with its reason in one sentence."""
import copy

import torch

from mmssl.core.builder import HOOKS
from mmssl.utils.command_words import counted
from mmssl.utils.errors import ConfigError, nearest
from . import networks
from .facts import build_source
from .lengths import power_of_two
from .methods import ALIASES, AUTO, METHODS
from .views import adapt_views, jitter_more, pipelines_of, single_view, with_colours

SMALL = 64  # pixels up to which a recipe starts from the comparison on digits
# learning rate, for how many images, how it follows their number, and the other arguments of optimizers
RATES = dict(
    AdamW=(2e-3, 256, 'sqrt', dict(weight_decay=1e-4)),
    transformer=(1e-3, 128, 'sqrt', dict(weight_decay=0.05)),
    SGD=(0.1, 128, 'linear', dict(momentum=0.9, weight_decay=1e-3)),
    LARS=(0.3, 256, 'linear', dict(momentum=0.9, weight_decay=1e-6)))  # of SimCLR, https://arxiv.org/abs/2002.05709
_PASSES = dict(two=2, crops=4, one=1, patches=2)  # of images through a network, by the views of a method
_HELD_OUT = 1000  # images to evaluate on, at most
_BANK = 5000  # images among which neighbours are looked for, at most


def method(name, data, machine, seconds):
    """The method: the user's, or that of the first row of methods.AUTO that fits.

    Args:
        name (str): The user's, or 'auto'.
        data (DataFacts): The images.
        machine (MachineFacts): The machine.
        seconds (float | None): Time for the training.

    Returns:
        tuple[str, methods.Row | None, str]: Its name, the row it is from, and the reason.

    Raises:
        ConfigError: There is no such method.
    """
    if name != 'auto':
        known = name.lower().replace('-', '_')
        known = ALIASES.get(known, known)
        if known not in METHODS:
            raise ConfigError(f'there is no method {name!r}; {nearest(name, [*METHODS, *ALIASES], "there are")}')
        return known, None, 'given'
    row = next(row for row in AUTO if row.fits(data, machine, seconds))
    return row.method, row, row.reason


def check_needs(name, data, settings):
    """See that a method has what it needs.

    Raises:
        ConfigError: It has not; with what to do.
    """
    known = METHODS[name]
    if known.needs == 'labels' and not data.labelled:
        raise ConfigError(f'{name} learns from labels, and none of the {data.images} images has one: {known.hint}; '
                          'simclr, byol and the others need none')
    if known.needs == 'labels' and data.multi_label:
        raise ConfigError(f'{name} learns from one label an image, and these have several: --method simclr needs none')
    part = dict(teacher='model.teacher', tokenizer='model.head.tokenizer_path').get(known.needs)
    if part and not any(key.startswith(part) for key in settings):
        raise ConfigError(f'{name} needs a {known.needs}: {known.hint}')


def image_size(asked, data, machine, row, wanted):
    """Side of the large views in pixels, and the reason."""
    if asked is not None:
        return asked, 'given'
    if row is not None and row.keys.get('size'):
        return row.keys['size'], row.reason
    short = data.sizes[1]
    if short <= 32:
        size, reason = (short, 'that of the images') if short >= 24 else \
            (32, f'the images have {short} pixels, and are enlarged to what networks for small images are made for')
    elif machine.device == 'cpu':
        size = 64 if short >= 48 else 48
        reason = f'small views, as a CPU computes; the shorter side of the images has {short} pixels'
    else:
        size = 224 if short >= 160 else 128 if short >= 100 else 64
        reason = f'the shorter side of the images has {short} pixels'
    if size > 32 and METHODS[wanted].small == '':
        size = max(size, 96)
    return size, reason


def network(name, method_name, data, machine, size, row):
    """Name of the network, and the reason."""
    family = METHODS[method_name].family
    if name != 'auto':
        kind = networks.kind_of(name)
        if family in ('vit', 'swin') and kind != family:
            there = [n for n in networks.NAMES if networks.kind_of(n) == family]
            raise ConfigError(f'{method_name} works on the patches of a {"vision" if family == "vit" else "Swin"} '
                              f'transformer, and {name} has none: take --model {", ".join(there[:-1])} or {there[-1]}')
        if kind == 'swin' and family != 'swin':
            raise ConfigError(f'of ours only SimMIM takes {name}; --model timm:swin_tiny_patch4_window7_224 is one for '
                              'other methods')
        return networks.normalised(name), 'given'
    if row is not None and row.network:
        return row.network, 'half as wide as a ResNet-18 and half as deep: a CPU passes over the images more often'
    cpu = machine.device == 'cpu'
    if family == 'vit':
        return ('vit_mini', 'small enough for a CPU') if cpu else ('vit_small', 'the smallest that was published often')
    if family == 'swin':
        return ('swin_mini', 'small enough for a CPU') if cpu else ('swin_tiny', 'the smallest of its family')
    if cpu and size <= SMALL:
        return 'resnet10-narrow', 'in the same time a CPU passes over images several times as often as with a ResNet-18'
    if cpu:
        return 'resnet18', 'small enough for a CPU'
    if data.images < 50_000:
        return 'resnet18', f'{data.images} images are few for a larger one'
    return 'resnet50', f'{data.images} images and a GPU feed it'


def check_sizes(plan, method_name, network_name):
    """See that a network can take all sizes of the views of a method.

    Raises:
        ConfigError: It cannot; with what to do.
    """
    backbone = plan.get('model.backbone')
    key = dict(TIMMBackbone='img_size', TorchvisionBackbone='image_size').get(backbone['type'])
    fixed = key in backbone and not backbone.get('dynamic_img_size')
    if fixed and METHODS[method_name].views in ('crops', 'patches'):
        raise ConfigError(f'{network_name} takes images of one size, and {method_name} has views of several: take a '
                          'method of two views, such as --method simclr, or another network, such as --model '
                          'timm:vit_tiny_patch16_224')


def features(plan, network_name, row):
    """By which features a run compares images, where that was measured."""
    section = row and row.keys.get('features')
    own = any(key.startswith('model.backbone') for key in plan.settings)  # which may have other stages
    if section and networks.kind_of(network_name) == 'resnet' and not own:
        plan.choose('features', 'neighbours and few labels know images better by them than by the last stage alone',
                    {'features': copy.deepcopy(section)}, 'two stages, their places kept, partly whitened')


def batch(plan, machine, method_name, images, size, row, shape):
    """Images of one step of a process."""
    wanted = (row and row.keys.get('batch')) or METHODS[method_name].batch
    reason = f'what {method_name} likes'
    if machine.device == 'cpu' and size > 40 and wanted > 128:
        wanted, reason = 128, 'a CPU has little memory for larger ones at this size'
    if size > SMALL and wanted > 64 and machine.device == 'cpu':
        wanted, reason = 64, 'a CPU has little memory for larger ones at this size'
    most = max(power_of_two(min(32, images / 2)), power_of_two(images / 4))
    if wanted * machine.processes > most:
        wanted = max(4, power_of_two(most / machine.processes))
        if wanted > images:
            wanted = max(2, power_of_two(images))
        steps = max(1, images // (wanted * machine.processes))
        reason = f'an epoch of {images} images has {counted(steps, "step")}'
    room = machine.memory / 2 * 1e9 / (4 * shape.numbers * _PASSES[METHODS[method_name].views])
    if machine.device == 'cpu' and wanted > room:
        wanted = max(2, power_of_two(room))
        reason = f'a step takes less than half of the {machine.memory:.2g} GB of memory that are free'
    size = plan.choose('batch size', reason, {'data.samples_per_gpu': wanted})
    plan.put('data.drop_last', True)
    return size


def views(plan, data, method_name, size, patch, row, flip, color_jitter, small):
    """Crops, colours and flips; `small`: the config is that of the comparison on digits, whose views are grey."""
    train, kind = plan.get('data.train'), METHODS[method_name].views
    scale = row and row.keys.get('scale')
    if scale is None and kind in ('two', 'crops') and (small or kind == 'two'):
        scale = (0.4, 1.) if data.sizes[1] <= 40 else (0.2, 1.)
    adapt_views(train, size, data, patch, scale, flip, color_jitter)
    if plan.get('model.type') == 'CAE':
        hidden = next(step['num_masking_patches'] for step in pipelines_of(train)[0] if 'num_masking_patches' in step)
        plan.put('model.neck.mask_tokens_num', hidden)
    rgb = data.coloured
    if small and rgb and color_jitter and kind in ('two', 'crops'):
        with_colours(train)
    elif row is not None and 'jitter' in row.keys and data.channels == 1 and not data.deep:
        jitter_more(train, row.keys['jitter'])
    crop = next((step for step in pipelines_of(train)[0] if 'scale' in step), None)
    if crop is not None:
        words = f'that of {method_name}' if scale is None else 'a smaller part of a small image shows nothing' if \
            data.sizes[1] <= 40 else 'parts from a fifth of an image on'
        plan.choose('crop scale', words, {f'data.train.{_place(train, crop)}.scale': tuple(crop['scale'])},
                    f'{crop["scale"][0]:g} to {crop["scale"][1]:g}')
    if not flip:
        plan.note('flips', 'none', 'given', True)
    if not color_jitter:
        plan.note('colours', 'as they are', 'given', True)
    elif not rgb:
        why = 'the images are grey' if data.grey or data.channels == 1 else f'{data.channels} channels have no hue' if \
            data.channels != 3 else f'values of {data.dtype} are no colours'
        plan.note('colours', 'brightness and contrast', why)


def _place(train, step):
    for number, pipeline in enumerate(pipelines_of(train)):
        for i, other in enumerate(pipeline):
            if other is step:
                return f'pipelines.{number}.{i}' if 'pipelines' in train else f'pipeline.{i}'


def rate(plan, method_name, step_images, row):
    """Optimizer, learning rate and weight decay."""
    wanted, old = METHODS[method_name].optimizer, plan.get('optimizer', {})
    plan.put('optimizer', {})
    kind = plan.get('optimizer.type', wanted)
    key = 'transformer' if kind == 'AdamW' and 'arch' in plan.get('model.backbone') else kind
    base, at, rule, rest = RATES.get(key, RATES['AdamW'])
    optimizer = copy.deepcopy(dict(old)) if old.get('type') == kind == 'AdamW' else dict(type=kind)
    optimizer.update(rest)
    if 'paramwise_options' not in optimizer and 'predictor' in (old.get('paramwise_options') or {}):
        optimizer['paramwise_options'] = {'predictor': copy.deepcopy(old['paramwise_options']['predictor'])}
    if row is not None and kind == wanted:
        base = row.keys.get('lr', base)
        optimizer['weight_decay'] = row.keys.get('weight_decay', optimizer['weight_decay'])
    ratio = step_images / at
    lr = optimizer['lr'] = float(f'{base * (ratio if rule == "linear" else ratio**0.5):.3g}')
    plan.put('optimizer', optimizer)
    plan.choose(
        'optimizer', 'with adaptive rates the features would serve the task alone'
        if wanted == 'SGD' else 'it needs no tuning by the network', {'optimizer.type': kind})
    if kind not in RATES and not plan.given('optimizer.lr'):
        plan.warn(f'nothing is known here of the learning rate of {kind}: it gets that of AdamW; '
                  '--set optimizer.lr=... says another')
    lr = plan.choose(
        'learning rate', f'{base:g} for a step of {at} images, by the '
        f'{"proportion" if rule == "linear" else "root of the proportion"} for {step_images}', {'optimizer.lr': lr})
    plan.put('auto_scale_lr', dict(base_batch_size=step_images, rule=rule))
    for hook in plan.get('custom_hooks', []):
        if 'lr' in getattr(HOOKS.get(hook['type']), 'rates', ()) and 'lr' in hook:
            hook['lr'] = lr


def cosine(warmup):
    """dict: lr_config of a cosine that falls to zero after a warm-up of so many iterations."""
    return dict(
        policy='CosineAnnealing', min_lr=0., warmup='linear', warmup_iters=warmup, warmup_ratio=0.1, by_epoch=False)


def schedule(plan, steps, epochs):
    """Cosine, with a warm-up; `steps` are the iterations of an epoch."""
    iterations = steps * epochs
    warmup = max(1, min(iterations // 10, 10 * steps, 2000))
    plan.choose('schedule',
                f'cosine to zero after a warm-up of {counted(warmup, "iteration")}, a tenth of the training at most',
                {'lr_config': cosine(warmup)}, 'cosine')
    for key in ('model.momentum', 'model.base_momentum'):
        now = plan.get(key)
        if isinstance(now, float) and now > 0.99 and iterations < 20_000:
            plan.choose('momentum of the teacher', f'{iterations} iterations are few: it has to follow faster',
                        {key: 0.99})


def splits(plan, size):
    """Groups of batch norm that take the place of several GPUs."""
    norm = plan.get('model.backbone.norm_cfg') or {}
    if norm.get('type') == 'SplitBN':
        plan.put('model.backbone.norm_cfg', dict(type='SplitBN', num_splits=max(2, min(8, size // 32))))


def speed(plan, machine, data):
    """Workers, precision and memory format."""
    share = max(1, machine.cores // machine.processes)
    if machine.device == 'cpu':
        workers = max(1, share // 8) if share > 1 else 0
        reason = 'there is one core' if share == 1 else 'the other core computes' if share == 2 else \
            'the other cores compute' if workers == 1 else 'one core in eight reads, the others compute'
        if data.seconds * data.images < 2 and data.sizes[2] <= 64:
            reason += ', and small images are read quickly'
    else:
        workers, reason = min(8, share), f'{counted(machine.cores, "core")} for {counted(machine.processes, "process")}'
    plan.choose('workers', reason, {'data.workers_per_gpu': workers})
    tiny = isinstance(plan.get('model.backbone.arch'), dict) and machine.device == 'cpu'
    if machine.bfloat16 and not tiny:
        plan.choose('precision', f'the {"GPU" if machine.device == "cuda" else "CPU"} computes fast in it',
                    {'amp': dict(dtype='bfloat16')}, 'bfloat16')
    else:
        plan.put('amp', None)
        plan.note('precision', 'float32',
                  'so small a transformer gains nothing by less' if tiny else 'the device has no fast bfloat16')
    plan.put('fp16', None)
    convolutional = 'arch' not in plan.get('model.backbone')
    plan.choose('memory format',
                'convolutions are faster so' if convolutional else 'there are no convolutions to speed up',
                {'channels_last': convolutional}, 'channels last' if convolutional else 'contiguous')


_FEWEST = 50  # images of which RepresentationQualityHook can tell anything
_LOOKS = ('KNNEvalHook', 'RepresentationQualityHook')
EVALUATIONS = (*_LOOKS, 'ReportHook')


def evaluation(plan, data, train_source, val_source, size):
    """What tells during the training whether it learns; `how_often` says when.

    Returns:
        str: It in words.
    """
    norm = plan.get('img_norm_cfg')
    neighbours = 20 if data.labelled >= 20 * data.classes else 5
    single = dict(type='SingleViewDataset', pipeline=single_view(size, data), prefetch=True)
    hooks = [h for h in plan.get('custom_hooks', []) if h['type'] not in ('CollapseMonitorHook', *EVALUATIONS)]
    if val_source is not None and data.labelled and not data.multi_label:
        hooks.append(
            dict(
                type='KNNEvalHook',
                train_dataset=dict(single, data_source=train_source),
                val_dataset=dict(single, data_source=val_source),
                at_start=True,
                k=neighbours,
                max_train=_BANK,
                img_norm_cfg=norm))
        words = f'{neighbours} nearest neighbours of images that are held out: there are labels'
    elif data.images < _FEWEST:
        words = f'the label-free figures need {_FEWEST} images'
    else:
        hooks.append(
            dict(
                type='RepresentationQualityHook',
                dataset=dict(single, data_source=train_source if val_source is None else val_source),
                at_start=True,
                max_samples=1000,
                img_norm_cfg=norm))
        words = 'label-free quality of the features: there are no labels'
    plan.put('custom_hooks', [*hooks, dict(type='CollapseMonitorHook', interval=10), dict(type='ReportHook')])
    return words


def sources(plan, found, data, source):
    """What is trained on and what is evaluated on.

    Returns:
        tuple[dict, dict | None, int | None]: Both configs, and how many images of the data are trained on where some
            are held out.
    """
    train = dict(found.source)
    if found.val is not None:
        try:
            val = build_source(found.val)
        except (ConfigError, OSError) as error:
            plan.warn(f'the images to evaluate on cannot be read and are left aside: {error}')
        else:
            plan.note('held out', f'{min(len(val), _HELD_OUT)} images',
                      'of a split of its own beside the training images')
            few = dict(subset=dict(num=_HELD_OUT)) if len(val) > _HELD_OUT and 'subset' not in found.val else {}
            return train, dict(found.val, **few), None
    if not data.labelled or data.multi_label or data.images < 40:
        return train, None, None
    held = min(_HELD_OUT, data.images // 10)
    subset = dict(train.get('subset') or {})
    if subset.get('balanced'):
        return train, None, None
    total = data.images
    first = len(source.source) if 'subset' in train else total
    skip = subset.get('skip', 0)
    skip = round(skip * first) if isinstance(skip, float) else skip
    common = dict(seed=subset.get('seed', 0))
    train['subset'] = dict(common, num=total - held, **(dict(skip=skip) if skip else {}))
    val = dict(train, subset=dict(common, num=held, skip=skip + total - held))
    coarse = f'; so few that one is {1 / held:.0%} of the accuracy' if held < 50 else ''
    plan.note('held out', f'{held} images', f'a tenth of those with labels, at most 1,000, to evaluate on{coarse}')
    return train, val, total - held


def put_sources(plan, train, size, data):
    """Put the data source into all places that have one."""
    plan.put('data.train.data_source', train)
    train = plan.get('data.train.data_source')  # of which the user may have fixed a part
    single = single_view(size, data)
    for hook in plan.get('custom_hooks', []):
        if 'extractor' in hook:
            extractor = hook['extractor']
            for name, value in dict(data_source=copy.deepcopy(train), pipeline=single, prefetch=True).items():
                extractor['dataset'][name] = value  # dicts of the config would be merged by `update`
            for name, value in dict(prefetch=True, img_norm_cfg=data.norm, workers_per_gpu=0).items():
                extractor[name] = value
    for key in ('val', 'test'):
        plan.cfg.data.pop(key, None)
    plan.put('data.train.prefetch', True)


def images_of(plan):
    """int | None: Images of the training, where the user fixed something of their source."""
    if any(key.startswith('data.train.data_source.') for key in plan.settings):
        return len(build_source(copy.deepcopy(plan.get('data.train.data_source'))))


def take_part(plan, train, size, data, number, images):
    """Train on some of the images."""
    train['subset'] = {key: value for key, value in (train.get('subset') or {}).items() if key != 'share'}
    train['subset']['num'] = number
    put_sources(plan, train, size, data)
    plan.note('images', f'{number} of {images}', 'so many random ones fit into the time, once each')


def try_batches(plan, measure, machine, follow):
    """Measure, with half the batch where memory does not suffice.

    Args:
        plan (Plan): The config.
        measure (callable): See measure.measure.
        machine (MachineFacts): The machine.
        follow (callable): Takes the batch; it chooses again what depends on it.

    Returns:
        Measured: With the batch that fits.
    """
    while True:
        try:
            return measure(plan.cfg)
        except Exception as error:
            batch = plan.get('data.samples_per_gpu')
            if 'out of memory' not in str(error).lower() or batch < 8 or 'data.samples_per_gpu' in plan.settings:
                raise
            plan.choose('batch size', f'{batch} do not fit into the {machine.memory:.0f} GB of the GPU',
                        {'data.samples_per_gpu': batch // 2})
            follow(batch // 2)


def threads(plan, measure, machine, measured):
    """Fewer threads of torch, where other programs keep the cores of a CPU busy.

    Threads that compute one step wait for the slowest of them, and spin meanwhile; beside other programs that makes a
    step many times slower.

    Args:
        plan (Plan): What was chosen so far.
        measure (callable): Of a config, see measure.measure.
        machine (MachineFacts): The machine.
        measured (Measured): With the threads that torch takes.

    Returns:
        Measured: With the threads that were chosen.
    """
    number = torch.get_num_threads()
    if machine.device != 'cpu' or number == 1 or machine.load < 0.5 * machine.cores or \
            'torch_num_threads' in plan.settings:
        return measured
    fewer = max(1, number // 2) if machine.load < machine.cores else 1
    plan.put('torch_num_threads', fewer)
    other = measure(plan.cfg)
    if other.iteration > 0.8 * measured.iteration:
        plan.cfg.pop('torch_num_threads')
        return measured
    plan.choose(
        'threads', f'other programs keep the cores busy: a step takes {1e3 * other.iteration:.0f} ms so, and '
        f'{1e3 * measured.iteration:.0f} with {number}', {'torch_num_threads': fewer})
    return other


def runtime(plan, seed, out):
    """Seed, folder and what every recipe shares."""
    plan.put('seed', seed)
    plan.put('work_dir', out)


def how_often(plan, words, interval, steps, epochs):
    """How often the training is evaluated, logged and saved.

    Args:
        plan (Plan): With the hooks of `evaluation`.
        words (str): What `evaluation` has returned.
        interval (int): Epochs from one evaluation to the next.
        steps (int): Iterations of an epoch.
        epochs (int): Of the training.
    """
    hooks = plan.get('custom_hooks')
    looking = [hook for hook in hooks if hook['type'] in _LOOKS]
    for hook in looking:
        hook['interval'] = interval
    if looking:
        words = f'{words}; {_every(interval)}'
    plan.choose('evaluation', words, {'custom_hooks': hooks}, looking[-1]['type'] if looking else 'none')
    plan.put('log_config', dict(interval=max(1, min(50, steps // 2)), hooks=[dict(type='TextLoggerHook')]))
    every = max(1, epochs // 10)
    plan.choose('checkpoints', 'ten over the training, of which the last two stay',
                {'checkpoint_config': dict(interval=every, max_keep_ckpts=2)}, _every(every))


def _every(epochs):
    return 'every epoch' if epochs == 1 else f'every {epochs} epochs'
