# Copyright (c) mmssl contributors. All rights reserved.
"""Outputs of a model over a data set, in its order, in one process or several."""
import torch
from mmcv.utils import print_log

from mmssl.datasets.loader import left_out
from mmssl.datasets.sample import SampleDataset
from mmssl.evaluation.meters import METERS
from mmssl.utils.checkpoint import unwrap
from mmssl.utils.dist import all_gather_object, gather_variable, get_rank
from mmssl.utils.errors import ConfigError, nearest
from mmssl.utils.logger import get_root_logger
from mmssl.utils.registry import accepted_arguments
from .distributed import broadcast_batch_norm


class Outputs(dict):
    """Outputs by name, and the samples that they are of.

    Attributes:
        index (ndarray): int64, the `idx` of each row: all samples in their order, but for those that cannot be read.
        labels (Tensor | dict[str, Tensor] | None): Their labels, on the CPU, where batches have any.
    """
    index = labels = None

    def of_samples(self, start, stop):
        """Those of the samples from `start` to before `stop`."""
        rows = torch.from_numpy((self.index >= start) & (self.index < stop))
        part = Outputs({name: values[rows] for name, values in self.items()})
        part.index, labels = self.index[rows.numpy()], self.labels
        part.labels = {name: values[rows] for name, values in labels.items()} if isinstance(labels, dict) else \
            labels if labels is None else labels[rows]
        return part


@torch.no_grad()
def collect_outputs(model, data_loader):
    """Run the model in mode 'test' over a loader.

    Args:
        model (nn.Module): Wrapped or not; its training mode is restored afterwards.
        data_loader: Gives dicts with 'img' and 'idx'. In several processes each gets its share of the samples;
            repeated ones are used once.

    Returns:
        Outputs: Tensors by name, on the CPU, the same on each rank: row i for sample i of the data set, or, where
            images cannot be read and are left out, for sample `index[i]`.
    """
    module = unwrap(model)
    training = module.training
    module.eval()
    broadcast_batch_norm(module)
    if hasattr(data_loader, 'set_epoch'):
        data_loader.set_epoch(0)  # the same random choices (where patches lie) in each evaluation, after a resume too
    indices, outputs, labels = [], [], []
    for batch in data_loader:
        indices.append(batch['idx'])
        label = batch.get('label')
        labels.append(label if isinstance(label, dict) or label is None else {None: label})
        outputs.append(module(**batch, mode='test'))
    module.train(training)
    broken = {entry[0]: entry for met in all_gather_object(list(getattr(data_loader, 'met', ()))) for entry in met}
    if broken and get_rank() == 0:
        get_root_logger().warning(left_out(sorted(broken.values()), len(data_loader.dataset)))
    if not all(all_gather_object(bool(outputs))):
        raise ConfigError('no image of the test can be read, or none of the share of one process')
    order = torch.cat(gather_variable(torch.cat(indices)))
    # the first place of each index; the sampler fills the last batches up with samples that were there already
    order, first = torch.unique(order, return_inverse=True)
    place = torch.full((len(order), ), len(first), device=first.device)
    place.scatter_reduce_(0, first, torch.arange(len(first), device=first.device), 'amin')

    def joined(parts):
        # where the collectives of this training are: an algorithm may have moved its outputs to the CPU
        return torch.cat(gather_variable(torch.cat(parts).to(order.device)))[place].cpu()

    found = Outputs()
    found.index = order.cpu().numpy()
    for name in outputs[0]:
        found[name] = joined([output[name].float() for output in outputs])
    if labels[0] is not None:
        found.labels = {name: joined([label[name] for label in labels]) for name in labels[0]}
        found.labels = found.labels.get(None, found.labels)
    return found


def build_meters(metric='accuracy', meter=None):
    """The meters that `metric` and `meter` of a config's `evaluation` ask for.

    Args:
        metric (str): 'accuracy' or 'mean_average_precision'.
        meter (dict | list[dict] | None): Configs of meters instead, such as dict(type='MeanAPListMeter').

    Returns:
        list[dict] | None: Their configs; None leaves the metrics to the data set's `evaluate`.

    Raises:
        ConfigError: There is no such metric or meter.
    """
    if meter is None:
        if metric not in ('accuracy', 'mean_average_precision'):
            raise ConfigError(f"evaluation.metric is 'accuracy' or 'mean_average_precision', got {metric!r}; "
                              'evaluation.meter takes others')
        return None if metric == 'accuracy' else [dict(type='MeanAPListMeter')]
    if metric != 'accuracy':
        raise ConfigError(f'evaluation has both metric={metric!r} and a meter: keep one of them')
    meters = list(meter) if isinstance(meter, (list, tuple)) else [meter]
    for cfg in meters:
        METERS.build(cfg)  # a fault is to be known before the training
    return meters


def evaluate_outputs(outputs, dataset, meters=None, label_names=None, logger=None, per_class=False, **options):
    """Metrics of what a model gives for a data set.

    Args:
        outputs (Outputs): See collect_outputs.
        dataset (Dataset): Its `evaluate` gives the metrics where there is one label an image and no meter.
        meters (list[dict] | None): See build_meters. Without them labels by name are measured by their kind: top-1 and
            top-5 accuracy (or those of `topk`) where an image has one class, mean average precision where it has
            several (integers, N x C), and nothing for floats.
        label_names (dict[str, str] | None): Of labels by name, the one that each output is for; by default that of
            its own name.
        logger (logging.Logger | str, optional): Where the metrics are printed; 'silent' for nowhere.
        per_class (bool): Also the average precision of each class, by class.
        options: Of the data set's `evaluate`.

    Returns:
        dict[str, float]: In percent, by output and metric, such as 'head4_top1' or 'head4_mAP'; of several data sets
        also those of each, as 'set0_head4_mAP' and so on.

    Raises:
        ConfigError: A meter, and batches without labels or without the one of an output; or nothing to measure.
        FloatingPointError: Scores are NaN.
    """
    made = isinstance(dataset, SampleDataset) and not hasattr(dataset, 'gt_labels')  # by the pipeline
    if meters is None and not isinstance(outputs.labels, dict) and not made:
        return dataset.evaluate(outputs, logger=logger, **options)
    if outputs.labels is None:
        raise ConfigError(f'evaluation: a meter needs labels, {type(dataset).__name__} gives none')
    classes = getattr(dataset, 'CLASSES', None) if per_class else ()
    topk = options.get('topk', (1, 5))
    found = _measure_all(outputs, meters, label_names, classes, topk)
    parts = getattr(dataset, 'datasets', ())
    for number, stop in enumerate(getattr(dataset, 'cumulative_sizes', ()) if len(parts) > 1 else ()):
        part = outputs.of_samples(stop - len(parts[number]), stop)
        own = _measure_all(part, meters, label_names, (), topk)
        found.update({f'set{number}_{name}': value for name, value in own.items()})
    for name, value in found.items() if logger != 'silent' else ():
        if not isinstance(value, dict):
            print_log(f'{name}: {value:.3f}', logger=logger)
    return found


def _measure_all(outputs, meters, label_names, classes, topk):
    found = {}
    for name, scores in outputs.items():
        labels = outputs.labels
        if isinstance(labels, dict):
            label = next(iter(labels)) if len(labels) == 1 else (label_names or {}).get(name, name)
            if label not in labels:
                raise ConfigError(f'evaluation: the output {name} has no label: {nearest(label, labels, "there are")}')
            labels = labels[label]
        if scores.dim() == 3:  # of several patches an image
            scores, labels = scores.flatten(0, 1), labels.flatten()
        bad = scores.isnan().any(1)
        if bad.any():
            raise FloatingPointError(f'{name}: the scores of {int(bad.sum())} of {len(bad)} samples are NaN: the '
                                     'network has diverged, or its input is no number')
        for cfg in _meters_for(labels, scores, topk) if meters is None else meters:
            found.update(_measured(cfg, name, scores, labels, classes))
    if not found:
        raise ConfigError('evaluation: none of the outputs has labels that are classes: set evaluation.meter')
    return found


def _meters_for(labels, scores, topk):
    if labels.is_floating_point():
        return []
    if labels.dim() == 2:
        return [dict(type='MeanAPListMeter')]
    return [dict(type='AccuracyListMeter', topk_values=[k for k in topk if k <= scores.shape[1]] or [1])]


def _measured(cfg, name, scores, labels, classes):
    """The values of one meter for one output, in percent by name.

    Those of each class by its name or, where the names are those of another label, its number; none where `classes` is
    empty.
    """
    meter = METERS.build({
        'meter_names': [name],
        **cfg
    } if 'meter_names' in accepted_arguments(METERS.get(cfg['type']))[0] else cfg)
    known = labels >= 0 if labels.dim() == 1 else torch.ones(len(labels), dtype=torch.bool)
    if not known.any():
        raise ConfigError(f'evaluation: no sample has a label for the output {name}')
    try:
        meter.update(scores[known], labels[known])
        values = meter.value
    except ValueError as error:
        raise ConfigError(f'evaluation: {cfg["type"]} of the output {name}: {error}') from error
    found = {}
    for metric, value in values.items():
        value = value[meter.meter_names[0]] if isinstance(value, dict) else value
        metric = f'{name}_{metric.replace("top_", "top")}'
        if not isinstance(value, list):
            found[metric] = 100 * value
        elif classes is None or len(classes):
            names = classes if classes is not None and len(classes) == len(value) else range(len(value))
            found[metric] = {str(c): 100 * v for c, v in zip(names, value)}
    return found


def single_gpu_test(model, data_loader):
    """See collect_outputs; MMSelfSup's name."""
    return collect_outputs(model, data_loader)


def multi_gpu_test(model, data_loader, tmpdir=None, gpu_collect=False):
    """See collect_outputs; MMSelfSup's name. Collecting needs no folder and no choice."""
    return collect_outputs(model, data_loader)
