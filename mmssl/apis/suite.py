# Copyright (c) mmssl contributors. All rights reserved.
"""Which protocols the evaluation suite runs, in what order, and on which features."""
import copy
import importlib.metadata
import json
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import mmssl
from mmssl.datasets.dataset_wrappers import locate, sample_name
from mmssl.evaluation import Features, knn, plots
from mmssl.evaluation import report as html_report
from mmssl.models import build_algorithm
from mmssl.utils import dist
from mmssl.utils.checkpoint import CheckpointError
from mmssl.utils.errors import ConfigError, nearest
from mmssl.utils.logger import get_root_logger
from mmssl.utils.misc import atomic_write, file_digest, json_ready, write_json
from .evaluation import EvaluationRun
from .train import set_random_seed

PIXELS_MIB = 2048  # raw pixels of more than that are not compared

NEIGHBOURS, TEMPERATURES, VOTERS, VOTE_TEMPERATURE = (1, 5, 10, 20, 50, 100, 200), (0.02, 0.07, 0.2), 20, 0.07


@dataclass
class Context:
    """Features of one network, or the pixels, as the protocols see them.

    Attributes:
        train (Features): Of the training split.
        val (Features): Of the split that is scored.
        layers (Sequence[str]): Layers that protocols which compare layers look at.
        main (str): The layer that the others look at.
        seed (int): Of every draw of samples.
        device (torch.device): Where neighbours are searched.
        pictures (bool): Whether data for pictures is asked for too.
    """
    train: Features
    val: Features
    layers: tuple
    main: str
    seed: int
    device: object
    pictures: bool

    def arrays(self, layer=None, limit=None):
        """Features and labels of both splits, N x D and N each; of more than `limit` training samples a draw."""
        found = []
        for split, most in ((self.train, limit), (self.val, None)):
            rows = drawn(len(split), most, self.seed)
            x = split[layer or self.main]
            found += [x.reshape(len(x), -1)[rows], split.labels[rows]]
        return found

    def scored(self, limit=None):
        """Features and labels of the split that is scored; of more than `limit` samples a draw."""
        rows = drawn(len(self.val), limit, self.seed)
        x = self.val[self.main]
        return x.reshape(len(x), -1)[rows], self.val.labels[rows]


def drawn(count, limit, seed):
    """Indices of at most `limit` of `count` samples, ascending; all of them as a slice."""
    if limit is None or count <= limit:
        return slice(None)
    return np.sort(np.random.default_rng(seed).choice(count, limit, replace=False))


def _knn(context):
    labelled = int((context.train.labels >= 0).sum())
    ks = [k for k in NEIGHBOURS if k <= labelled] or [1]
    voters = min(VOTERS, ks[-1])
    layers = {
        layer: knn.run(*context.arrays(layer), k=ks, temperature=TEMPERATURES, device=context.device)
        for layer in context.layers
    }
    key = f'k{voters}_T{VOTE_TEMPERATURE:g}'
    found = dict(
        metrics=layers,
        settings=dict(k=ks, temperature=TEMPERATURES),
        headline={
            f'kNN top-1 (k={voters}, T={VOTE_TEMPERATURE:g})': layers[context.main][f'{key}_top1'],
            f'kNN top-5 (k={voters}, T={VOTE_TEMPERATURE:g})': layers[context.main][f'{key}_top5']
        },
        by_layer={f'kNN, k={voters}': {
            layer: m[f'{key}_top1']
            for layer, m in layers.items()
        }},
        by_k={f'{t:g}': {
            k: layers[context.main][f'k{k}_T{t:g}_top1']
            for k in ks
        }
              for t in TEMPERATURES})
    if context.pictures:
        predicted, _ = knn.classify(*context.arrays(), k=voters, temperature=VOTE_TEMPERATURE, device=context.device)
        known = context.val.labels >= 0
        found['confusion'] = context.val.labels[known], predicted[known]
    return found


def _few_label(context):
    from mmssl.evaluation import few_label
    metrics = few_label.run(*context.arrays(), seed=context.seed)
    return dict(
        metrics=metrics,
        settings=dict(labels_per_class=10, draws=5),
        headline={'logistic regression, 10 labels a class': metrics['mean']})


def _representation(context):
    from mmssl.evaluation import representation
    x, _ = context.scored(4096)
    metrics = representation.run(x)
    found = dict(
        metrics=metrics,
        settings=dict(max_samples=4096),
        headline={
            'effective rank (RankMe)': metrics['effective_rank'],
            'spread (1: even, 0: collapse)': metrics['feature_std'],
            'uniformity (lower: more even)': metrics['uniformity']
        },
        numbers=True)
    if x.shape[1] <= 4096:
        z = torch.as_tensor(x).double()
        z = z - z.mean(0)
        values = torch.linalg.eigvalsh(z.T @ z).flip(0).clamp(min=0)
        found['spectrum'] = (values / values.sum().clamp(min=1e-300)).tolist()
    return found


def _linear(context):
    from mmssl.evaluation import linear
    epochs = 30
    layers = {
        layer: linear.run(*context.arrays(layer), epochs=epochs, seed=context.seed, device=context.device)
        for layer in context.layers
    }
    main = layers[context.main]
    return dict(
        metrics=layers,
        settings=dict(lrs=linear.LRS, epochs=epochs, held_out=0.1),
        headline={
            'linear top-1 (rate by held-out part)': main['top1'],
            'linear top-5 (rate by held-out part)': main['top5']
        },
        by_layer={'linear': {
            layer: m['top1']
            for layer, m in layers.items()
        }},
        sweep={row['lr']: row['top1']
               for row in main['sweep'] if row['top1'] is not None},
        sweep_of='learning rate')


def _svm(context, most=6000):
    from mmssl.evaluation import svm
    metrics = svm.run(*context.arrays(limit=most))
    return dict(
        metrics=metrics,
        settings=dict(max_train=most, costs=metrics['costs'], folds=metrics['folds'], ap=metrics['ap']),
        headline={
            'SVM mAP': metrics['mAP'],
            'SVM accuracy': metrics['accuracy']
        })


def _low_shot(context, most=6000, shots=(1, 4, 16)):
    from mmssl.evaluation import svm
    metrics = svm.run_low_shot(*context.arrays(limit=most), k=shots, seed=context.seed)
    return dict(
        metrics=metrics,
        settings=dict(max_train=most, k=shots, draws=5),
        headline={f'SVM mAP, {k} a class': metrics[f'k{k}']['mean']
                  for k in shots})


def _clustering(context, most=10000):
    from mmssl.evaluation import clustering
    metrics = clustering.run(*context.scored(most), seed=context.seed)
    return dict(
        metrics=metrics,
        settings=dict(max_images=most, restarts=5),
        headline={
            f'k-means {name}': metrics[key]
            for name, key in (('NMI', 'nmi'), ('ARI', 'ari'), ('accuracy', 'accuracy'))
        })


def _quality(context):
    from mmssl.evaluation import quality
    metrics = quality.run(context.scored()[0], seed=context.seed)
    return dict(
        metrics=metrics,
        settings=dict(max_images=4096),
        numbers=True,
        headline={
            'alpha-ReQ (best: 1)': metrics['alpha_req'],
            'cluster learnability (0 to 1)': metrics['cluster_learnability'],
            'intrinsic dimension': metrics['intrinsic_dimension']
        })


def _retrieval(context, most=2000):
    from mmssl.evaluation import retrieval
    x, labels = context.scored(most)
    metrics = retrieval.run(x, x, retrieval.labels_to_ground_truth(labels), device=context.device)['all']
    metrics.pop('aps')
    return dict(
        metrics=metrics,
        settings=dict(max_images=most),
        headline={
            'retrieval of the class, mAP': metrics['mAP'],
            'retrieval of the class, mP@10': metrics['mP@10']
        })


def _neighbours(context, shown=8):
    """Queries with their nearest training images: typical ones, the most certain, and the wrong ones; each once."""
    rows = np.arange(len(context.val))[drawn(len(context.val), 2000, context.seed)]
    bank, bank_labels, queries, labels = context.arrays()
    queries, labels = queries[rows], labels[rows]
    shown = min(shown, len(bank))
    similarity, found = knn.nearest_neighbours(
        torch.as_tensor(bank), torch.as_tensor(queries), shown, device=context.device)
    similarity, found = similarity.mean(1).cpu().numpy(), found.cpu().numpy()
    order = np.random.default_rng(context.seed).permutation(len(rows))
    best = worst = np.empty(0, int)
    known = labels >= 0
    metrics, headline = dict(queries=len(rows)), {}
    if known.any() and (bank_labels >= 0).any():
        share = (bank_labels[found] == labels[:, None]).mean(1)
        ranked = np.flatnonzero(known)
        ranked = ranked[np.lexsort((-similarity[ranked], -share[ranked]))]
        worst = ranked[::-1][:6][share[ranked[::-1][:6]] < 1]
        best = ranked[~np.isin(ranked, worst)][:6]
        metrics['precision'] = float(share[known].mean())
        headline = {f'nearest {shown} of the same class': metrics['precision']}
    groups = {'Drawn at random': order[~np.isin(order, [*best, *worst])][:6]}
    if headline:
        groups.update({'Most certain, of the right class': best, 'Most neighbours of another class': worst})
    return dict(
        metrics=metrics,
        settings=dict(neighbours=shown, max_queries=2000),
        headline=headline,
        panels={
            name: [(int(rows[q]), int(labels[q]), found[q].tolist(), bank_labels[found[q]].tolist()) for q in chosen]
            for name, chosen in groups.items()
        })


def _tsne(context, most=1000):
    rows = plots.draw_evenly(context.val.labels, 20, most, context.seed)
    if len(rows) < 4:
        raise ValueError(f'{len(rows)} images are too few for t-SNE')
    x = context.val[context.main]
    points = plots.embed_tsne(x.reshape(len(x), -1)[rows], context.seed)
    return dict(
        metrics=dict(images=len(rows)),
        settings=dict(max_images=most, max_classes=20),
        headline={},
        tsne=(rows, points))


@dataclass
class Protocol:
    """A protocol of the suite: what it does to a Context, and for which columns of the table."""
    run: object
    baselines: bool = True


PROTOCOLS = dict(
    knn=Protocol(_knn),
    linear=Protocol(_linear),
    few_label=Protocol(_few_label),
    svm=Protocol(_svm),
    low_shot=Protocol(_low_shot),
    clustering=Protocol(_clustering),
    retrieval=Protocol(_retrieval),
    representation=Protocol(_representation),
    quality=Protocol(_quality),
    neighbours=Protocol(_neighbours, baselines=False),
    tsne=Protocol(_tsne, baselines=False))

SUITES = dict(quick=('knn', 'few_label', 'clustering', 'representation', 'quality', 'neighbours', 'tsne'))


def chosen_protocols(text):
    """Names of protocols behind 'quick', 'full' or names by commas, in the order of the registry.

    Raises:
        ConfigError: A name that does not exist, or none.
    """
    names = [name.strip() for name in text.split(',') if name.strip()]
    wanted = set()
    for name in names:
        if name == 'full':
            wanted.update(PROTOCOLS)
        elif name in SUITES:
            wanted.update(SUITES[name])
        elif name in PROTOCOLS:
            wanted.add(name)
        else:
            raise ConfigError(f'--suite {text}: there is no {name!r}; {nearest(name, [*PROTOCOLS, *SUITES, "full"])} '
                              f'There are quick, full and {", ".join(PROTOCOLS)}')
    if not names:
        raise ConfigError(f'--suite {text!r} names nothing; there are quick, full and {", ".join(PROTOCOLS)}')
    return [name for name in PROTOCOLS if name in wanted]


def run_protocols(names, contexts):
    """Run protocols on the features of each column.

    Args:
        names (Sequence[str]): Of PROTOCOLS.
        contexts (dict[str, Context]): By column; the first is that of the checkpoint.

    Returns:
        tuple: What each gave, by column and protocol, with its 'seconds'; and the list of what did not run, as dicts
        of 'protocol', 'column' and 'reason'.
    """
    logger = get_root_logger()
    found, not_run = {column: {} for column in contexts}, []
    for name in names:
        for i, (column, context) in enumerate(contexts.items()):
            if i and not PROTOCOLS[name].baselines:
                continue
            start = time.time()
            try:
                found[column][name] = PROTOCOLS[name].run(context)
            except Exception as error:  # hours of other protocols are not lost by one
                if not isinstance(error, ValueError):
                    logger.exception(f'{name}, {column}')
                reason = ' '.join(str(error).split()) or type(error).__name__
                not_run.append(dict(protocol=name, column=column, reason=reason))
                logger.warning(f'{name}, {column}: not run: {reason}')
                continue
            found[column][name]['seconds'] = time.time() - start
            logger.info(f'{name}, {column}: {time.time() - start:.1f} s')
    return found, not_run


def run_suite(args):
    """Extract once, run the protocols, and write report.json, report.md and report.html into the folder args.out.

    Args:
        args (argparse.Namespace): Of tools/benchmarks/run_suite.py.

    Returns:
        bool: On every process, whether nothing could be computed.
    """
    names = chosen_protocols(args.suite)
    out = Path(args.out)
    if out.exists() and not out.is_dir():
        raise ConfigError(f'--out {out} is a file; it is to be a folder')
    run = EvaluationRun(args, name='suite')
    start, times = time.time(), {}
    with_baselines = args.baselines if args.baselines is not None else args.suite.strip() == 'full'
    not_run = _choose_layers(run)
    main = 'pooled' if 'pooled' in args.layers else args.layers[-1]
    splits = 'train', 'val'
    features = {split: run.extract(split) for split in splits}
    columns = {'checkpoint': (features, args.layers, main)}
    times['extraction'] = time.time() - start
    if with_baselines:
        start = time.time()
        model = random_model(run.cfg, run.args.seed)
        columns['random weights'] = ({split: run.extract(split, [main], model=model) for split in splits}, [main], main)
        megabytes = sum(len(run.dataset(split)) for split in splits) * np.size(run.dataset('val')[0]['img']) / 2**18
        if megabytes <= PIXELS_MIB:
            columns['pixels'] = ({split: run.extract(split, ['pixels']) for split in splits}, ['pixels'], 'pixels')
        else:
            not_run.append(
                dict(
                    protocol='all',
                    column='pixels',
                    reason=f'{megabytes:.0f} MiB of pixels; at most {PIXELS_MIB} MiB are compared'))
        times['extraction, baselines'] = time.time() - start

    failed = False
    if dist.get_rank() == 0:
        contexts = {
            column:
            Context(x['train'], x['val'], tuple(layers), layer, args.seed, dist.default_device(),
                    column == 'checkpoint')
            for column, (x, layers, layer) in columns.items()
        }
        found, failures = run_protocols(names, contexts)
        not_run += failures
        for column, parts in found.items():
            times.update({f'{name}, {column}': part['seconds'] for name, part in parts.items()})
        _write(run, out, names, found, not_run, times, features, main)
        failed = not any(found.values())
        if failed:
            run.logger.error('nothing could be computed: the reasons are above and in the report')
        elif not_run:
            run.logger.warning(f'{len(not_run)} parts could not be computed; the report has all others')
    return dist.broadcast_object(failed, patient=True)


def _choose_layers(run):
    """Set the layers where none was asked for: all stages, pooled, and the neck if the checkpoint holds it."""
    args = run.args
    if args.layers:
        return []
    args.layers = ['pooled']
    if run.cfg.model.get('neck'):
        args.layers.append('neck')
    reason = None
    try:
        model = run.model
    except CheckpointError as error:
        if 'neck' not in args.layers:
            raise
        args.layers.remove('neck')
        model, reason = run.model, str(error)  # raises if it is the backbone that is absent
    if getattr(getattr(model, 'neck', None), 'rebuilds', False):  # a decoder: it gives no features
        args.layers = [layer for layer in args.layers if layer != 'neck']
    given = getattr(getattr(model, 'backbone', model), 'out_indices', None)
    stages = [f'stage{i}' for i in range(max(given) + 1)] if isinstance(given, (tuple, list)) else []
    args.layers = stages + args.layers
    return [dict(protocol='all', column='layer neck', reason=reason)] if reason else []


def random_model(config, seed=0):
    """The network of a config with random weights, the same on all processes.

    Args:
        config (mmcv.Config): The config, which stays as it is.
        seed (int): Of the weights.

    Returns:
        nn.Module: The algorithm, on the GPU where there is one.
    """
    cfg = copy.deepcopy(config.model)
    for part in (cfg, cfg.get('backbone', {})):
        if (part.get('init_cfg') or {}).get('type') == 'Pretrained':
            part.pop('init_cfg')
    set_random_seed(seed)
    model = build_algorithm(cfg)
    model.init_weights()
    return model.to(dist.default_device())


def _write(run, out, names, found, not_run, times, features, main):
    """The three files of the report, each complete or as it was."""
    args = run.args
    versions = {name: importlib.metadata.version(name) for name in ('torch', 'numpy', 'scikit-learn')}
    versions.update(mmssl=mmssl.__version__, python=platform.python_version())
    title = f'{Path(args.config).stem}, {Path(args.checkpoint).name}' + ', its teacher' * args.teacher
    sha = file_digest(args.checkpoint if Path(args.checkpoint).is_file() else None)
    report = dict(
        title=title,
        suite=args.suite,
        protocols=names,
        config=str(args.config),
        checkpoint=str(args.checkpoint),
        checkpoint_sha256=sha,
        dataset_config=str(args.dataset_config),
        data_root=args.data_root,
        images={split: len(features[split])
                for split in features},
        layers=list(args.layers),
        main=main,
        pool_type=args.pool_type,
        seed=args.seed,
        options={
            key: str(value)
            for key, value in args.cfg_options.items()
        },
        versions=versions,
        processes=dist.get_world_size(),
        threads=torch.get_num_threads(),
        created=time.strftime('%Y-%m-%d %H:%M:%S'),
        metrics={
            column: {
                name: part['metrics']
                for name, part in parts.items()
            }
            for column, parts in found.items()
        },
        settings={
            name: part['settings']
            for parts in found.values()
            for name, part in parts.items()
        },
        times=times,
        classes={
            split: vars(matched)
            for split, matched in run.matched.items()
        },
        not_run=not_run)
    datasets = {split: run.dataset(split) for split in features}

    def image(split, row):
        leaf, place = locate(datasets[split], int(features[split].index[row]))
        return leaf.stored(place)

    facts = dict(
        suite=args.suite,
        config=report['config'],
        checkpoint=report['checkpoint'],
        sha256=sha or '-',
        data=args.data_root or report['dataset_config'],
        images=', '.join(f'{count} {split}' for split, count in report['images'].items()),
        layers=', '.join(args.layers),
        seed=args.seed)
    facts.update({
        f'{name} settings': json.dumps(json_ready(value)[0])[1:-1]
        for name, value in report['settings'].items()
    })
    facts['versions'] = ', '.join(f'{name} {version}' for name, version in versions.items())
    shown = dict(report, facts=facts, subtitle=f'{facts["images"]} images, suite {args.suite}, {report["created"]}')
    files = {}
    try:
        files['report.html'] = html_report.page(
            shown, found, image, features['train'].classes, features['val'].labels,
            lambda row: sample_name(datasets['val'], int(features['val'].index[row])))
    except Exception as error:  # the figures are not lost by a picture
        run.logger.exception('report.html')
        not_run.append(dict(protocol='report.html', column='all', reason=f'{type(error).__name__}: {error}'))
    files['report.md'] = html_report.markdown(report, found)
    write_json(out / 'report.json', report)
    for name, text in files.items():
        with atomic_write(out / name) as file:
            file.write(text)
    run.table([[name, words, *values] for name, words, values in html_report.table_rows(found)],
              ['protocol', 'metric', *found])
    for entry in not_run:
        run.logger.warning(f'not run: {entry["protocol"]} ({entry["column"]}): {entry["reason"]}')
    run.logger.info(f'{out}: report.json, {", ".join(files)}')
