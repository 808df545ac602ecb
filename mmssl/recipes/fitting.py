# Copyright (c) mmssl contributors. All rights reserved.
"""Fit a recipe to data, machine and time."""
from __future__ import annotations
import math
import os
import time as clock
from typing import Any, Callable

from mmssl.core.lr_scaling import global_batch
from mmssl.evaluation.descriptor import Descriptor
from mmssl.utils.config import load_config, parse_value
from mmssl.utils.errors import ConfigError, check_integer, short
from mmssl.utils.times import format_time, parse_time
from . import choose, warn
from .data import find_data
from .facts import build_source, look_at_machine, survey
from .lengths import fit_lengths
from .measure import measure
from .methods import METHODS
from .plan import Plan, plain
from .recipe import Recipe
from .shapes import fit_projectors, fit_to_network, put_network

_KEPT = 0.93  # share of the time that iterations and evaluations may take; the rest is start, checkpoints, slow moments
_LARGEST = 4096  # pixels of a view
_LOOKS = 10  # evaluations, besides that of random weights
_SHARE = 0.2  # of the time that evaluations may take
_FEWEST = 10  # iterations, however short the time


def fit(data: Any,
        method: str = 'auto',
        model: str = 'auto',
        time: float | str | None = None,
        epochs: int | None = None,
        labels: Any = None,
        settings: dict[str, Any] | None = None,
        out: str | os.PathLike | None = None,
        seed: int = 0,
        measured: bool | None = None,
        on_folder: Callable[[str], Any] | None = None) -> Recipe:
    """Choose a config for what is there, each value with its reason.

    Args:
        data (str | Path | dict): Images; see find_data.
        method (str): One of methods.METHODS, or 'auto'.
        model (str): One of networks.NAMES, 'timm:NAME', 'torchvision:NAME', or 'auto'.
        time (float | str, optional): Seconds from now until the training is over, or words such as '2h'. Some
            iterations are measured for it, and the number of epochs follows; where not even one fits, that of images.
        epochs (int, optional): Passes over the images, instead of a time.
        labels (str | Path | Sequence | ndarray, optional): See find_data.
        settings (dict, optional): Value by dotted key of the config; they win over every choice. Three more have no
            single key, since much follows from them: `image_size`, the side of the large views in pixels; `flip`, False
            where a mirrored image is none, as of text; `color_jitter`, False where colours tell images apart.
        out (str | Path, optional): Folder of the run, work_dir of the config.
        seed (int): Of the training.
        measured (bool, optional): Whether some iterations are measured; None: where `time` is given, or a GPU is there.
        on_folder (callable, optional): Takes the folder of the run as soon as it is known, before anything is measured.

    Returns:
        Recipe: The config, what was chosen and what speaks against it. It is the same for the same facts.

    Raises:
        FileNotFoundError: The data are not there.
        ConfigError: No training can be made of these: with what to do.
    """
    for name, value in (('method', method), ('model', model)):
        if not isinstance(value, str):
            raise ConfigError(f"{name} is a name, or 'auto', got {short(value)}")
    if not isinstance(settings or {}, dict) or not all(isinstance(key, str) for key in settings or ()):
        raise ConfigError(f"settings are a dict of values by dotted key, such as {{'optimizer.lr': 0.01}}, got "
                          f'{short(settings)}')
    began, settings = clock.perf_counter(), dict(settings or {})
    asked = _own_settings(settings)
    if time is not None and epochs is not None:
        raise ConfigError(f'give the time of the training or its epochs, not both: got {time!r} and {epochs!r}')
    if out is not None and settings.get('work_dir') not in (None, out):
        raise ConfigError(
            f'the folder of the run is {out} or {settings["work_dir"]}: leave the setting work_dir out, or '
            'the option --out')
    if 'runner.max_epochs' in settings and (time is not None or epochs is not None):
        raise ConfigError('the length is given twice: by the setting runner.max_epochs and by the '
                          f'{"time" if epochs is None else "epochs"} of the training; leave one out')
    seconds = None if time is None else parse_time(time)
    if epochs is not None:
        check_integer(epochs, 'epochs', 1)
    check_integer(seed, 'seed', 0)
    machine = look_at_machine()
    found = find_data(data, labels)
    source = build_source(found.source)
    if len(source) < 2:
        raise ConfigError(f'{found.words}: one image is there, and a training compares images: give at least two, and '
                          'some hundred to learn from')
    facts = survey(source)
    found, facts, source = _grey(found, facts, source)
    if isinstance(labels, str) and labels == 'none':
        facts.classes = facts.labelled = 0
    method_name, row, why = choose.method(method, facts, machine, seconds)
    choose.check_needs(method_name, facts, settings)
    known = METHODS[method_name]

    size, size_why = choose.image_size(asked['image_size'], facts, machine, row, method_name)
    small = size <= choose.SMALL and bool(known.small)
    cfg = plain(load_config(known.small_config if small else known.recipe_config))
    for name in ('demo', 'augmented_pipeline', 'resume_from', 'load_from', 'evaluation', 'prefetch', 'work_dir'):
        cfg.pop(name, None)
    plan = Plan(cfg, settings)
    plan.note('data', found.words, _describe(facts))
    plan.note('method', method_name, why, method != 'auto')

    network_name, network_why = choose.network(model, method_name, facts, machine, size, row)
    patch = _patch(cfg, network_name, size, small)
    if patch:
        fitted = max(1, round(size / patch)) * patch
        if fitted != size:
            size, size_why = fitted, f'{size_why}; a multiple of the patches of {patch}'
    channels = 1 if facts.grey else facts.channels
    shape = put_network(cfg.model, network_name, size, channels, patch or 4)
    plan.choose('network', network_why, {'model.backbone': cfg.model.backbone}, network_name)
    if any(key.startswith('model.backbone') for key in settings):
        shape = fit_to_network(cfg.model, size, channels, patch or 4)
    choose.check_sizes(plan, method_name, network_name)
    name = f'{method_name}_{network_name.replace(":", "-")}_{found.name}'.replace('/', '-')
    out = str(out or settings.get('work_dir') or f'work_dirs/{name}')
    if on_folder is not None:
        on_folder(out)
    fit_projectors(cfg.model, shape.width)
    if row is not None:
        for key, value in row.values.items():
            plan.put(key, value)
    choose.features(plan, network_name, row)
    plan.note('image size', size, size_why, asked['image_size'] is not None)

    train_source, val_source, bank = choose.sources(plan, found, facts, source)
    choose.put_sources(plan, train_source, size, facts)
    images = choose.images_of(plan) or bank or facts.images
    plan.put('img_norm_cfg', facts.norm)
    plan.note(
        'normalisation', 'mean and deviation of the images',
        f'of {facts.looked} of them: {", ".join(f"{m:.3g}" for m in facts.norm["mean"][:4])}'
        f'{", ..." * (len(facts.norm["mean"]) > 4)}')
    choose.views(plan, facts, method_name, size, patch, row, asked['flip'], asked['color_jitter'], small)
    plan.put('optimizer_config', plan.get('optimizer_config', {}))  # with the user's update_interval

    def follow(batch):
        """Choose what depends on the batch and on the number of images."""
        choose.splits(plan, batch)
        fit_lengths(plan, images, batch, shape.width)
        choose.rate(plan, method_name, global_batch(plan.cfg, machine.processes), row)

    follow(choose.batch(plan, machine, method_name, images, size, row, shape))
    choose.speed(plan, machine, facts)
    choose.runtime(plan, seed, out)
    words = choose.evaluation(plan, facts, train_source, val_source, size)
    # stand-ins, as the length is known when iterations have been measured
    plan.put('runner', dict(type='EpochBasedRunner', max_epochs=1))
    plan.put('lr_config', choose.cosine(10))
    batch = plan.get('data.samples_per_gpu')
    steps = max(1, images // (batch * machine.processes))
    for hook in plan.get('custom_hooks'):
        if 'start_iters' in hook:
            hook['start_iters'] = min(hook['start_iters'], steps)

    result = None
    if measured or measured is None and (seconds is not None or machine.device == 'cuda'):
        plan.apply_settings()  # what is measured is what is trained
        result = choose.threads(plan, measure, machine, choose.try_batches(plan, measure, machine, follow))
        batch = plan.get('data.samples_per_gpu')
        steps = max(1, images // (batch * machine.processes))
    looks, left = _LOOKS, None
    if seconds is not None:
        look = result.evaluation * images_of_a_look(plan.get('custom_hooks'), images)
        looks = max(1, min(_LOOKS, int(_SHARE * seconds / look) - 1)) if look else _LOOKS
        left = seconds * _KEPT - (clock.perf_counter() - began) - result.start - (looks + 1) * look
        part = _part(plan, images, batch * machine.processes, steps, seconds, left, result)
        if part < images:
            choose.take_part(plan, train_source, size, facts, part, images)
            images = part
            choose.evaluation(plan, facts, train_source, val_source, size)
            follow(batch)
            steps = part // (batch * machine.processes)
    _length(plan, machine, images, steps, seconds, left, epochs, result)
    length = plan.get('runner.max_epochs')
    choose.how_often(plan, words, math.ceil(length / looks), steps, length)
    choose.schedule(plan, steps, length)
    cfg = plan.finish()
    Descriptor.of(cfg)  # which says what is wrong with it
    warn.look(plan, method_name, facts, machine, images, batch)
    warn.look_at_network(plan, network_name, shape, size)
    cfg.choices = [choice.stored() for choice in plan.choices]
    facts = dict(data=facts, machine=machine, **({} if result is None else dict(measured=result)))
    return Recipe(cfg, plan.choices, plan.warnings, name, facts)


def _own_settings(settings):
    """Take those settings out that are no keys of the config."""
    asked = {
        name: parse_value(value) if isinstance(value, str) else value
        for name, value in ((name, settings.pop(name, default))
                            for name, default in dict(image_size=None, flip=True, color_jitter=True).items())
    }
    size = asked['image_size']
    if size is not None:
        check_integer(size, 'image_size', 8)
        if size > _LARGEST:
            raise ConfigError(f'image_size is at most {_LARGEST}, got {size}: no network is made for larger views')
    for name in ('flip', 'color_jitter'):
        if not isinstance(asked[name], bool):
            raise ConfigError(f'{name} is true or false, got {asked[name]!r}')
    return asked


def _grey(found, facts, source):
    """Read images that are grey in one channel."""
    if not facts.grey or 'color_type' in found.source or found.source.get('depth') == 'stored':
        facts.grey = facts.channels == 1 and facts.grey
        return found, facts, source
    found.source['color_type'] = 'grayscale'
    if found.val is not None:
        found.val['color_type'] = 'grayscale'
    facts.norm = {key: value[:1] if isinstance(value, list) else value for key, value in facts.norm.items()}
    facts.channels = 1
    return found, facts, build_source(found.source)


def _patch(cfg, network_name, size, small):
    """Side of a transformer's patch in pixels, None for other networks."""
    if network_name.startswith('swin'):
        return 16 if size >= 64 else 8  # what stages halve
    if not network_name.startswith('vit'):
        return None
    return max(2, round(size / 8)) if small else cfg.model.backbone.get('patch_size', 16)


def _describe(facts):
    low, middle, high = facts.sizes
    words = [f'{facts.images} images']
    words.append(f'{low} pixels' if low == high else f'{low} to {high} pixels, half of them below {middle}')
    words.append('grey' if facts.grey else f'{facts.channels} channels')
    if facts.deep:
        words.append(facts.dtype)
    words.append(f'{facts.classes} classes' if facts.classes else 'no labels')
    return ', '.join(words)


def images_of_a_look(hooks, images):
    """How many images an evaluation on the way extracts the features of.

    Args:
        hooks (list[dict]): custom_hooks of the config.
        images (int): Of the training.

    Returns:
        int: The images.
    """
    return sum(
        min(images, hook.get('max_train', 0)) +
        len(build_source(hook['val_dataset']['data_source'])) if 'val_dataset' in
        hook else min(images, hook.get('max_samples', 0)) for hook in hooks)


def _part(plan, images, batch, steps, seconds, left, result):
    """int: How many of the images are trained on: all, but where the time is too short for one epoch of them."""
    each = result.epoch(steps)
    if left >= each or any(key.startswith('data.train.data_source') for key in plan.settings):
        return images
    part = min(images, max(_FEWEST, int(max(0., left - result.between) / result.iteration)) * batch)
    what = f'{part} of them are taken' if part < images else 'it is taken all the same'
    rest = seconds * _KEPT - left  # of measuring, the start and evaluations
    enough = (rest + 20 * each) / _KEPT
    enough = enough if enough < 60 else math.ceil(enough / 60) * 60  # as it is shown
    plan.warn(f'{format_time(seconds)} are too short for one epoch of the {images} images, which takes '
              f'{format_time(each)} beside {format_time(rest)} of measuring, start and evaluations: {what}. A time of '
              f'{format_time(enough)} would make 20 epochs of all')
    return part


def _length(plan, machine, images, steps, seconds, left, epochs, result):
    """Epochs: those that were asked for, those that the time allows, or a number by the images."""
    if 'runner.max_iters' in plan.settings or 'runner.type' in plan.settings:
        raise ConfigError(f'recipes count epochs, here of {steps} iterations: --epochs N in the place of runner.type '
                          'and runner.max_iters')
    if epochs is not None:
        plan.choose('epochs', 'given', {'runner.max_epochs': epochs})
        plan.choices[-1].fixed = True
    elif seconds is not None:
        each = result.epoch(steps)
        plan.choose(
            'epochs', f'{format_time(seconds)}, of which an epoch takes {format_time(each)} '
            f'({result.iteration * 1e3:.0f} ms an iteration, measured)',
            {'runner.max_epochs': max(1, math.floor(left / each))})
    else:
        total = 1e6 if machine.device == 'cpu' else 2e7
        low, high = (10, 200) if machine.device == 'cpu' else (100, 400)
        number = round(total / images)
        why = f'{"twenty million" if total > 1e6 else "a million"} views of {images} images'
        if not low <= number <= high:
            number, why = (low, 'fewer passes would be too few') if number < low else (high, 'a start for few images')
        plan.choose('epochs', f'{why}; --time and --epochs say otherwise', {'runner.max_epochs': number})
