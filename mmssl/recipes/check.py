# Copyright (c) mmssl contributors. All rights reserved.
"""Everything about a training that can be known before it begins."""
import os.path as osp
import shutil
from dataclasses import dataclass, field

from mmssl.datasets import build_dataset
from mmssl.datasets.file_check import find_absent
from mmssl.utils.command_words import counted
from mmssl.utils.errors import printable
from mmssl.utils.machine import memory
from mmssl.utils.misc import existing_folder
from mmssl.utils.times import format_time
from .choose import EVALUATIONS
from .fitting import fit, images_of_a_look
from .recipe import Recipe


@dataclass
class Check:
    """What was found.

    Attributes:
        recipe (Recipe): What would be trained by.
        found (list[tuple[str, str]]): What was looked at, and what is so.
        problems (list[str]): Why it cannot be trained, each with what to do; none where it can.
    """
    recipe: Recipe
    found: list = field(default_factory=list)
    problems: list = field(default_factory=list)

    def lines(self):
        """list[str]: What was found, a line each, then warnings and problems."""
        width = max(len(name) for name, _ in self.found)
        return [
            *(f'{name:<{width}}  {words}' for name, words in self.found),
            *(f'warning: {words}' for words in self.recipe.warnings), *(f'problem: {words}' for words in self.problems)
        ]


def check(data, out=None, **how):
    """Fit a recipe, train some iterations by it, and see whether memory, disk and time suffice.

    Args:
        data (str | Path | dict): See fit.
        out (str | Path, optional): Folder of the run, on whose disk the checkpoints will be.
        how: Other arguments of fit.

    Returns:
        Check: What was found.

    Raises:
        FileNotFoundError: The data are not there.
        ConfigError: No training can be made of these.
    """
    recipe = fit(data, out=out, measured=True, **how)
    result = Check(recipe)
    cfg, facts, machine, measured = recipe.cfg, *(recipe.facts[name] for name in ('data', 'machine', 'measured'))
    say = result.found.append
    shown = {choice.name: choice for choice in recipe.choices}
    say(('data', f'{shown["data"].value}: {shown["data"].reason}'))
    read = facts.looked - round(facts.broken * facts.looked)
    say(('readable', f'{read} of {facts.looked} images that were looked at'))
    if facts.broken > max(0.01, (cfg.get('broken_images') or {}).get('max_share', 0.01)):
        result.problems.append(
            f'{facts.broken:.0%} of the images cannot be read, such as {facts.first_broken}, and training ends at 1%: '
            'remove them, or --set broken_images.max_share=0.5')
    absent, looked = find_absent(build_dataset(cfg.data.train), 'all' if facts.images <= 10**6 else 'sample')
    if looked:
        say(('listed files', f'{looked - len(absent)} of {looked} are there'))
    if absent:
        names = ', '.join(printable(name) for _, name, _ in absent[:3])
        result.problems.append(f'{len(absent)} of the listed files are absent, such as {names}')
    labels = f'{facts.labelled} of {facts.images} images, {facts.classes} classes'
    say(('labels', labels if facts.labelled else 'none: the label-free quality of the features is measured'))
    say(('recipe', f'{recipe.name}, {measured.parameters / 1e6:.1f} million parameters, batches of '
         f'{cfg.data.samples_per_gpu}'))
    free = machine.memory if machine.device == 'cuda' else memory()[1] / 1e9
    say(('memory', f'a step takes about {measured.memory:.2g} GB, {free:.3g} GB are free'
         f'{" on the " + machine.gpu if machine.gpu else ""}'))
    epochs = cfg.runner.max_epochs
    images = len(build_dataset(cfg.data.train))
    each = measured.epoch(max(1, images // (cfg.data.samples_per_gpu * machine.processes)))
    looks = sum(1 + epochs // hook.interval for hook in cfg.custom_hooks
                if hook.type in EVALUATIONS and 'interval' in hook)
    total = measured.start + epochs * each + looks * measured.evaluation * images_of_a_look(cfg.custom_hooks, images)
    say(('time', f'{measured.iteration * 1e3:.0f} ms an iteration, {format_time(each)} an epoch, '
         f'{format_time(total)} for {counted(epochs, "epoch")} and the evaluations; the first iteration is done after '
         f'{format_time(measured.start)}'))
    _look_at_disk(result, cfg, measured)
    return result


def _look_at_disk(result, cfg, measured):
    kept = (cfg.get('checkpoint_config') or {}).get('max_keep_ckpts', 1)
    needed = measured.checkpoint * (kept + 1)  # one is written before an old one goes
    folder, writable = existing_folder(osp.join(cfg.work_dir, 'latest.pth'))
    free = shutil.disk_usage(folder).free / 1e9
    result.found.append(('disk', f'checkpoints take {needed:.2g} GB, {free:.3g} GB are free in {folder}'))
    if needed > free:
        result.problems.append(f'checkpoints take {needed:.2g} GB, and {free:.2g} GB are free in {folder}: --out names '
                               'another disk, --set checkpoint_config.max_keep_ckpts=1 keeps fewer')
    if not writable:
        result.problems.append(f'nothing can be written into {folder}: --out names another folder')
