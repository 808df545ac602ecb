# Copyright (c) mmssl contributors. All rights reserved.
"""Metrics that are collected batch by batch, over several outputs of a network and several processes.

They are built by name: `METERS.build(dict(type='AccuracyListMeter', topk_values=(1, 5)))`, which is what
`evaluation=dict(meter=...)` of a config does (core/evaluation.py). A meter is updated with
scores and targets of batches; `sync_state` adds what all processes have seen since; `value` is a dict of fractions.
"""
import numpy as np
import torch

from mmssl.utils.dist import all_gather_object
from mmssl.utils.registry import Registry
from .average_precision import METHODS, mean_average_precision

METERS = Registry('meter')


class ListMeter:
    """A meter over several outputs against one target.

    Args:
        num_meters (int): Number of outputs. 1 means as many as the first batch has.
        meter_names (Sequence[str]): Names of the outputs, such as the layers that they come from; by default
            'output0', 'output1', ... The values of outputs of one name are a list.
    """

    def __init__(self, num_meters=1, meter_names=()):
        if num_meters > 1 and meter_names and len(meter_names) != num_meters:
            raise ValueError(f'{num_meters} outputs need as many names, got {list(meter_names)}')
        self.num_meters, self.meter_names = num_meters, tuple(meter_names)
        self.reset()

    def reset(self):
        """Forget all batches."""
        self._batches, self._outputs = [], None

    @torch.no_grad()
    def update(self, outputs, target):
        """Add a batch.

        Args:
            outputs (Tensor | Sequence[Tensor]): B x C scores each.
            target (Tensor): B labels, or B x C for average precision.

        Raises:
            ValueError: Another number of outputs or samples than expected.
        """
        outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
        wanted = self._outputs or (self.num_meters if self.num_meters > 1 else len(self.meter_names) or len(outputs))
        if len(outputs) != wanted:
            raise ValueError(f'{wanted} outputs are measured, got {len(outputs)}')
        for scores in outputs:
            if scores.ndim != 2 or len(scores) != len(target):
                raise ValueError(f'outputs must be {len(target)} x C for {len(target)} targets, got shape '
                                 f'{tuple(scores.shape)}')
            self.validate(scores, target)
        self._outputs = wanted
        self._batches.append(self._measure(outputs, target))

    def sync_state(self):
        """Share with all processes what each has seen; each of them calls this. Calling it again is wrong."""
        everything = all_gather_object((self._batches, self._outputs))
        self._batches = [batch for batches, _ in everything for batch in batches]
        self._outputs = max((outputs for _, outputs in everything if outputs), default=None)

    def state_dict(self):
        """What `load_state_dict` takes."""
        return dict(batches=list(self._batches), outputs=self._outputs)

    def load_state_dict(self, state):
        """Go on from a state."""
        self._batches, self._outputs = list(state['batches']), state['outputs']

    def _by_name(self, values):
        """Values in the order of the outputs to a dict; equal names share a list."""
        names = self.meter_names or [f'output{i}' for i in range(len(values))]
        found = {name: [value for other, value in zip(names, values) if other == name] for name in names}
        return {name: same[0] if len(same) == 1 else same for name, same in found.items()}

    def _check_seen(self):
        if not self._batches:
            raise ValueError('no batch has been measured')


@METERS.register_module()
class AccuracyListMeter(ListMeter):
    """Top-k accuracy of several outputs.

    Args: see ListMeter; besides
        topk_values (Sequence[int]): The k.

    `value` is 'top_1': {name: fraction}, and so on. Of classes with equal scores the first comes first.
    """

    def __init__(self, num_meters=1, topk_values=(1, 5), meter_names=()):
        if not topk_values or any(k < 1 for k in topk_values):
            raise ValueError(f'topk_values must be positive integers, got {topk_values!r}')
        self.topk_values = tuple(topk_values)
        super().__init__(num_meters, meter_names)

    def validate(self, scores, target):
        """See that a batch fits.

        Raises:
            ValueError: A k above the number of classes, or labels that are none of them.
        """
        if max(self.topk_values) > scores.shape[1]:
            raise ValueError(f'top-{max(self.topk_values)} accuracy needs as many classes, got {scores.shape[1]}')
        low, high = torch.stack(target.aminmax()).tolist() if len(target) else (0, 0)
        if target.ndim != 1 or not 0 <= low <= high < scores.shape[1]:
            raise ValueError(f'targets must be labels from 0 to {scores.shape[1] - 1}, got shape '
                             f'{tuple(target.shape)} with values from {low} to {high}')

    def _measure(self, outputs, target):
        hits = []
        for scores in outputs:
            own = scores.gather(1, target[:, None])
            earlier = torch.arange(scores.shape[1], device=scores.device) < target[:, None]
            rank = ((scores > own) | ((scores == own) & earlier)).sum(1)
            hits.append(torch.stack([(rank < k).sum() for k in self.topk_values]))
        return torch.stack(hits).cpu().numpy(), len(target)

    @property
    def value(self):
        self._check_seen()
        hits, counts = map(sum, zip(*self._batches))
        return {f'top_{k}': self._by_name((hits[:, i] / counts).tolist()) for i, k in enumerate(self.topk_values)}


@METERS.register_module()
class MeanAPListMeter(ListMeter):
    """Average precision of each class, for several outputs; targets are 1 (there), 0 (not) and -1 (left out).

    Args: see ListMeter; besides
        num_classes (int, optional): C; None takes that of the first batch.
        ap (str): Definition, see average_precision.METHODS.

    `value` is 'mAP': {name: mean over classes with a positive}, 'AP': {name: list, NaN for classes without one}.
    """

    def __init__(self, num_classes=None, num_meters=1, meter_names=(), ap='full'):
        if ap not in METHODS:
            raise ValueError(f'ap must be one of {METHODS}, got {ap!r}')
        self.num_classes, self.ap = num_classes, ap
        super().__init__(num_meters, meter_names)

    def validate(self, scores, target):
        """See that a batch fits.

        Raises:
            ValueError: Scores or targets are not B x num_classes.
        """
        if self.num_classes is None:
            self.num_classes = scores.shape[1]
        for what, array in (('scores', scores), ('targets', target)):
            if array.ndim != 2 or array.shape[1] != self.num_classes:
                raise ValueError(f'{what} must be B x {self.num_classes}, got shape {tuple(array.shape)}')

    def _measure(self, outputs, target):
        return [scores.float().cpu().numpy() for scores in outputs], target.cpu().numpy()

    @property
    def value(self):
        self._check_seen()
        scores, targets = zip(*self._batches)
        targets = np.concatenate(targets)
        found = [mean_average_precision(targets, np.concatenate(part), self.ap) for part in zip(*scores)]
        return dict(
            mAP=self._by_name([float(mean) for mean, _ in found]),
            AP=self._by_name([each.tolist() for _, each in found]))


@METERS.register_module()
class MeanAPMeter(MeanAPListMeter):
    """MeanAPListMeter of one output: `value` is 'mAP', a fraction, and 'AP', a list."""

    def __init__(self, num_classes=None, ap='full'):
        super().__init__(num_classes, meter_names=('output', ), ap=ap)

    @property
    def value(self):
        return {name: values['output'] for name, values in super().value.items()}
