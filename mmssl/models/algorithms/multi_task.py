# Copyright (c) mmssl contributors. All rights reserved.
"""Several tasks on one backbone."""
from torch import nn

from mmssl.utils.errors import ConfigError
from ..builder import ALGORITHMS, HEADS, NECKS, build_backbone, build_head, build_neck
from ..utils.channels import feature_channels, fill_in_channels, fill_map_channels
from ..utils.tasks import SETTINGS, check_tasks, maps_by_stage, with_stages
from .base import BaseModel


@ALGORITHMS.register_module()
class MultiTask(BaseModel):
    """Heads side by side on one backbone, each with images, stages and labels of its own.

    The backbone runs once for each kind of image, up to the last stage that its tasks take. `SampleDataset` gives
    images and labels by name. Two processes equal one where the norms are synchronised.

    Args:
        backbone (dict): Config of the backbone. Without `out_indices` it gives the stages that the tasks name.
        tasks (dict[str, dict]): Each by a name of your choice. `head` is the config of a head that compares scores with
            labels, such as ClsHead; optional are `neck`, the config of a neck (or a chain of them) before it; `stages`,
            a list of those that it takes, by default all that the backbone gives; `input`, the name of its images where
            there are several (the number of a view); `label`, the name of its label where there are several, by default
            that of the task; and `weight`, its weight in the loss, by default 1.
        init_cfg (dict, optional): Initialisation.
        with_sobel (bool): See BaseModel.
        freeze_backbone (bool): The backbone gets no gradient, and its norms keep their statistics.

    Raises:
        ConfigError: No task, an unknown setting, a stage that the backbone does not give, or a head without a loss.
    """
    loss_names = ('loss', )  # the weighted sum; what the tasks log besides is in it

    def __init__(self, backbone, tasks, init_cfg=None, with_sobel=False, freeze_backbone=False):
        super().__init__(init_cfg, with_sobel)
        check_tasks(tasks)
        self.backbone = build_backbone(with_stages(backbone, tasks))
        if freeze_backbone:
            self.backbone.requires_grad_(False)
        self.freeze_backbone = freeze_backbone
        self.tasks = {name: {key: task.get(key) for key in SETTINGS} for name, task in tasks.items()}
        self.necks, self.heads = nn.ModuleDict(), nn.ModuleDict()
        for name, task in tasks.items():
            channels, head = self._channels(name, task.get('stages')), task['head']
            if task.get('neck') is None:
                head = fill_map_channels(head, self.backbone, task.get('stages'), HEADS)
            else:
                self.necks[name] = build_neck(fill_in_channels(task['neck'], channels, NECKS))
                if not getattr(self.necks[name], 'keeps_channels', False):
                    channels = feature_channels(self.necks[name])
            self.heads[name] = head = build_head(fill_in_channels(head, channels, HEADS))
            if not hasattr(head, 'loss') or not hasattr(head, 'loss_names'):
                raise ConfigError(f'the task {name} needs a head that compares scores with labels, such as ClsHead, '
                                  f'got {type(head).__name__}')

    def _channels(self, name, stages):
        """Channels of the last map that a task takes, None where the backbone does not say."""
        if stages is None:
            return feature_channels(self.backbone)
        given = getattr(self.backbone, 'out_indices', ())
        absent = [stage for stage in stages if stage not in given]
        if absent or not stages:
            raise ConfigError(f'the task {name} takes the stages {list(stages)}, the backbone gives {list(given)} '
                              '(its out_indices)')
        widths = getattr(self.backbone, 'out_channels', None)
        return widths[list(given).index(stages[-1])] if isinstance(widths, (list, tuple)) else None

    def train(self, mode=True):
        super().train(mode)
        if self.freeze_backbone:
            self.backbone.eval()
        return self

    @property
    def label_names(self):
        """dict[str, str]: The label that each output of `forward_test` is to be compared with."""
        return {
            output: self.tasks[name]['label'] or name
            for name, head in self.heads.items()
            for output in _outputs(name, head.loss_names)
        }

    @property
    def label_sizes(self):
        """list[tuple[str, str, int | None]]: Task, name of its label, number of classes, to compare with the data."""
        return [(name, self.tasks[name]['label'] or name, getattr(head, 'num_classes', None))
                for name, head in self.heads.items()]

    def compile_parts(self):
        return [self.backbone, *self.necks.values()]

    def extract_feat(self, img):
        """Images, N x C x H x W, or patches of images, N x P x C x H x W, to the tuple of maps of the backbone."""
        return super().extract_feat(img.flatten(0, 1) if img.dim() == 5 else img)

    def features(self, img):
        """The images of a batch to the maps that each task takes, by task."""
        images = img if isinstance(img, dict) else dict(enumerate(img)) if isinstance(img, list) else {None: img}
        inputs = {name: self._pick('input', name, images) for name in self.tasks}
        found = {}
        for key in dict.fromkeys(inputs.values()):
            names = [name for name in inputs if inputs[name] == key]
            wanted = [self.tasks[name]['stages'] for name in names]
            maps = maps_by_stage(self.backbone, self.extract_feat, images[key], wanted)
            for name in names:
                stages = self.tasks[name]['stages']
                found[name] = maps[None] if stages is None else tuple(maps[stage] for stage in stages)
        return {name: found[name] for name in self.tasks}

    def _pick(self, setting, name, given):
        """The key of the entry of `given` that a task takes; where there is one, and none is named, it is that."""
        key = self.tasks[name][setting]
        if key is None and len(given) == 1:
            return next(iter(given))
        key = name if key is None else key
        if key not in given:
            there = 'one without a name' if list(given) == [None] else f'{list(given)}'
            raise ConfigError(f'the task {name} takes the {setting} {key!r}, a batch has {there}: set {setting} of the '
                              'task to what is there')
        return key

    def scores(self, img):
        """The images of a batch to the scores of each task: a list with those of each of its classifiers, by task."""
        return {
            name: self.heads[name](self.necks[name](maps) if name in self.necks else maps)
            for name, maps in self.features(img).items()
        }

    def forward_train(self, img, label, **kwargs):
        """Images and labels, by name where there are several, to `loss` and what each task logs as <task>.<name>.

        The labels of N x P patches, N x P, belong to P rows of scores an image.
        """
        labels = label if isinstance(label, dict) else {None: label}
        total, found = 0., {}
        for name, scores in self.scores(img).items():
            target, head = labels[self._pick('label', name, labels)], self.heads[name]
            if len(scores[0]) != len(target) and len(scores[0]) == target[0].numel() * len(target):
                target = target.flatten()
            losses = head.loss(scores, target)
            weight = 1. if self.tasks[name]['weight'] is None else self.tasks[name]['weight']
            total = total + weight * sum(losses[key] for key in head.loss_names)
            found.update({f'{name}.{key}': value for key, value in losses.items()})
        return dict(loss=total, **found)

    def forward_test(self, img, **kwargs):
        """Images to the scores of each task, N x classes on the CPU, of patches N x P x classes, by task.

        A task with several classifiers has an output for each: <task>_1 and so on.
        """
        first = next(iter(img.values())) if isinstance(img, dict) else img[0] if isinstance(img, list) else img
        return {
            output: (score if len(score) == len(first) else score.unflatten(0, (len(first), -1))).cpu()
            for name, scores in self.scores(img).items()
            for output, score in zip(_outputs(name, scores), scores)
        }


def _outputs(name, several):
    return [name] if len(several) == 1 else [f'{name}_{i}' for i in range(1, len(several) + 1)]
