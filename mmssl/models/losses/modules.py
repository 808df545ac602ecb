# Copyright (c) mmssl contributors. All rights reserved.
"""The losses of classification as modules, which a config names: of one output or of the sum over several."""
from torch import nn

from .contrastive import unit_vectors
from .cross_entropy import cross_entropy, multi_label_cross_entropy


class _OutputLoss(nn.Module):
    """Sum over the outputs, each against the one target.

    Args:
        reductions (tuple[str]): Which there are.
        reduction (str): Which to take.
        weights (dict[str, Tensor | None]): Buffers, which stay out of checkpoints as they are in the config.
    """

    def __init__(self, reductions, reduction, **weights):
        super().__init__()
        if reduction not in reductions:
            raise ValueError(f'reduction must be one of {reductions}, got {reduction!r}')
        self.reduction = reduction
        for name, values in weights.items():
            if values is not None and (values.dim() != 1 or not (values.isfinite() & (values >= 0)).all()):
                raise ValueError(f'{name} is a number of 0 or more for each class, got {values.tolist()}')
            self.register_buffer(name, values, persistent=False)

    def forward(self, scores, target):
        """Scores, N x C, or a list or tuple of such, and the target of them all, to a loss."""
        outputs = scores if isinstance(scores, (list, tuple)) else [scores]
        for name, values in self.named_buffers():
            for each in outputs:
                if each.shape[1] != len(values):
                    raise ValueError(f'{name} of {type(self).__name__} is for {len(values)} classes, the scores are of '
                                     f'{each.shape[1]}')
        return sum(self.output_loss(each, target) for each in outputs)


class CrossEntropyLoss(_OutputLoss):
    """Cross-entropy, with the arguments of torch.nn's class of this name.

    It differs where the batch is partly labelled: the mean is over the labelled samples of all processes, so that two
    processes of B samples equal one of 2B, and without a labelled sample it is 0, not NaN.

    Args:
        weight (Tensor, optional): Weight of each class; in a config a list of numbers.
        ignore_index (int): A label that counts as unlabelled, as -1 does.
        reduction (str): 'mean', 'sum' or 'none'.
        label_smoothing (float): See cross_entropy.
        temperature (float): Divides the scores.
        soft_labels (bool): Take floats, N x C, as shares of classes.
    """

    def __init__(self,
                 weight=None,
                 ignore_index=-1,
                 reduction='mean',
                 label_smoothing=0.,
                 temperature=1.,
                 soft_labels=False):
        super().__init__(('mean', 'sum', 'none'), reduction, weight=weight)
        if not temperature > 0:
            raise ValueError(f'temperature must be positive, got {temperature!r}')
        if not 0 <= label_smoothing < 1:
            raise ValueError(f'label_smoothing must be at least 0 and below 1, got {label_smoothing!r}')
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing
        self.temperature, self.soft_labels = temperature, soft_labels

    def output_loss(self, scores, labels):
        return cross_entropy(scores, labels, self.weight, self.label_smoothing, self.soft_labels, self.ignore_index,
                             self.reduction, self.temperature)


class MultiLabelLoss(_OutputLoss):
    """Binary cross-entropy of every class, for images with several; see multi_label_cross_entropy.

    Args:
        reduction (str): 'class_mean' (mean over the images of each class, summed over classes), 'mean', 'sum' or
            'none'.
        pos_weight (Tensor, optional): Weight of the positives of each class; in a config a list of numbers.
        normalize_output (bool): Divide the scores of each image by their length first.
        soft_labels (bool): Take floats from 0 to 1 as targets.
    """

    def __init__(self, reduction='class_mean', pos_weight=None, normalize_output=False, soft_labels=False):
        super().__init__(('class_mean', 'mean', 'sum', 'none'), reduction, pos_weight=pos_weight)
        self.normalize_output, self.soft_labels = normalize_output, soft_labels

    def output_loss(self, scores, targets):
        scores = unit_vectors(scores) if self.normalize_output else scores
        return multi_label_cross_entropy(scores, targets, self.reduction, self.pos_weight, self.soft_labels)
