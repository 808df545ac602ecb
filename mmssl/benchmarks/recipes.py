# Copyright (c) mmssl contributors. All rights reserved.
"""What recipes learn in a given time: those that `mmssl.fit` chooses against fixed ones, on several data sets."""
import json
import multiprocessing
import os
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from mmssl.utils.cpu_time import cpu_seconds
from mmssl.utils.misc import write_json

CORES = 2  # a budget of 2 minutes is 4 minutes of processor time
KINDS = ('fitted', 'fixed')
_NEIGHBOURS, _LABELS = 20, 10
_RAW_SIDE = 16  # pixels to a side of images that are compared as they are; larger ones are made smaller


@dataclass
class Setting:
    """Images to learn from and to measure on.

    Attributes:
        fixed (str): Config below the folder configs: the recipe that a user of this data would take as it is.
        train (dict): Config of the data source of the training, and of the samples that labels and neighbours are
            taken from.
        test (dict): Config of the data source that is classified.
        size (int): Side of the images in pixels.
        bank (int | None): Labels and neighbours come from so many images of `train`, the first ones; None: from all.
    """
    fixed: str
    train: dict
    test: dict
    size: int
    bank: int = None


def _fashion(num):
    source = dict(type='FashionMNIST', color_type='grayscale')
    return Setting(
        'demo/simclr_fashion-mnist.py',
        dict(source, num_images=num),
        dict(source, num_images=1000, test_mode=True),
        size=28,
        bank=min(num, 6000))


def _digits(folder):
    source = dict(type='Digits', color_type='grayscale')
    return Setting('demo/simclr_digits.py', source, dict(source, test_mode=True), size=8)


def _photographs(folder):
    from .photograph_tiles import SIZE, make_tiles
    path = make_tiles(folder / 'photographs')
    train, test = (dict(type='ImageNet', data_prefix=str(path / part)) for part in ('train', 'test'))
    return Setting('demo/simclr-resnet18_folder.py', train, test, size=SIZE)


def _bands(folder):
    from .photograph_tiles import SIZE, make_tiles
    path = make_tiles(folder / 'bands', bands=True)
    train, test = (
        dict(type='ImageNet', data_prefix=str(path / part), extensions=['.npy'], depth='stored')
        for part in ('train', 'test'))
    return Setting('selfsup/mocov2/mocov2-splitbn_resnet18_1xb64-coslr-100e_tiles.py', train, test, size=SIZE)


# name -> function of a folder for what has to be made
SETTINGS = {
    'digits': _digits,
    'fashion-1000': lambda folder: _fashion(1000),
    'fashion-6000': lambda folder: _fashion(6000),
    'fashion-60000': lambda folder: _fashion(60000),
    'photographs': _photographs,
    'bands': _bands,
}


def run(settings, budgets, out, write, kinds=KINDS, budget_of='cpu', seeds=(0, ), fixed=None):
    """Train and measure in each cell of a table, one after the other, each in a process of its own.

    A cell that is done has a file in `out` and is not done again.

    Args:
        settings (Sequence[str]): Of SETTINGS.
        budgets (Sequence[float]): Seconds that a training may take, on two cores.
        out (str | Path): Folder of the results, a JSON file a cell, and of images that are made.
        write (callable): Called with each cell (dict, see run_cell) as soon as it is there.
        kinds (Sequence[str]): Of KINDS: 'fitted' is what mmssl.fit chooses for the images without their labels,
            'fixed' the shipped recipe, its epochs fitted to the budget.
        budget_of (str): 'cpu': processor time, twice the budget, which other programs on the same cores do not change;
            'wall': time by the clock.
        seeds (Sequence[int]): Of trainings.
        fixed (dict, optional): Settings of mmssl.fit that the user fixes, for the kind 'fitted'.

    Returns:
        list[dict]: The cells; one that failed has `error` instead of figures.
    """
    out, cells = Path(out), []
    out.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context('spawn')
    for budget in budgets:
        for name in settings:
            for kind in kinds:
                for seed in seeds:
                    words = ''.join(f'_{key}={value}' for key, value in (fixed or {}).items()) * (kind == 'fitted')
                    path = out / f'{name}_{budget:g}s-{budget_of}_{kind}_seed{seed}{words}.json'
                    cell = _read(path)
                    if cell is None:
                        process = context.Process(
                            target=_cell, args=(name, budget, kind, budget_of, seed, out, path, fixed))
                        process.start()
                        process.join()
                        cell = _read(path) or dict(
                            setting=name, budget=budget, kind=kind, seed=seed, error=_error(path, process.exitcode))
                    cells.append(cell)
                    write(cell)
    return cells


def _read(path):
    return json.loads(path.read_text()) if path.exists() else None


def _error(path, code):
    log = path.with_suffix('.err')
    lines = log.read_text().strip().splitlines() if log.exists() else []
    return lines[-1] if lines else f'the process ended with status {code}'


def _cell(name, budget, kind, budget_of, seed, out, path, fixed):
    path.with_suffix('.err').unlink(missing_ok=True)
    try:
        write_json(path, run_cell(name, budget, kind, budget_of, seed, out, fixed))
    except BaseException:
        path.with_suffix('.err').write_text(traceback.format_exc())
        raise SystemExit(1) from None


def run_cell(name, budget, kind, budget_of='cpu', seed=0, out='.', fixed=None):
    """Train and measure once.

    Args:
        name (str): Of SETTINGS.
        budget (float): Seconds, see run.
        kind (str): Of KINDS.
        budget_of (str): See run.
        seed (int): Of the training.
        out (str | Path): Folder for images that are made.
        fixed (dict, optional): See run.

    Returns:
        dict: setting, budget, kind, seed; method, network, epochs, images (views of them, counted once an epoch), cpu
        and wall (seconds of the training in fact used); and `figures`: of each kind of features ('raw_pixels',
        'random_init', 'pretrained') and each way to take them ('pooled', and 'run', that of
        the config's section `features`) knn and few_label as fractions.
    """
    import torch

    from mmssl.apis.preprocessing import preprocessing_of
    from mmssl.core.training import set_random_seed, train_model
    from mmssl.datasets import build_dataset
    from mmssl.models import build_algorithm
    from mmssl.utils.config_text import config_text
    from mmssl.utils.setup_env import setup_multi_processes

    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', CORES)))
    setting = SETTINGS[name](Path(out))
    cfg, words = _config(setting, kind, budget, seed, fixed)
    setup_multi_processes(cfg)
    set_random_seed(seed)
    model = build_algorithm(cfg.model)
    model.init_weights()
    prepared = preprocessing_of(cfg, model)
    _without_looks(cfg)
    steps, epochs = _fit_epochs(cfg, budget, budget_of)
    # the folder can be opened by mmssl.load
    cfg.work_dir = str(Path(out) / 'work_dirs' / f'{name}_{budget:g}_{kind}_{seed}')
    Path(cfg.work_dir).mkdir(parents=True, exist_ok=True)
    cfg.checkpoint_config = dict(interval=epochs)
    sources = dict(train=setting.train, test=setting.test)
    if setting.bank:
        sources['train'] = dict(setting.train, num_images=setting.bank)

    def build(steps, prefetch=True):
        dataset = dict(type='SingleViewDataset', pipeline=steps, prefetch=prefetch)
        return {part: build_dataset(dict(dataset, data_source=source)) for part, source in sources.items()}

    # a classifier on all pixels of larger images would take longer than the training
    raw = build([dict(type='Resize', size=_RAW_SIDE if setting.size > 32 else setting.size)])
    sets = build(prepared.steps, prepared.prefetch)
    figures = dict(raw_pixels=_figures(None, raw, cfg), random_init=_figures(model, sets, cfg))
    dataset = build_dataset(cfg.data.train)
    cpu, wall = cpu_seconds(), time.time()
    train_model(model, dataset, cfg, meta=dict(config=config_text(cfg)))
    cpu, wall = cpu_seconds() - cpu, time.time() - wall
    figures['pretrained'] = _figures(model, sets, cfg)
    return dict(
        setting=name,
        budget=budget,
        budget_of=budget_of,
        kind=kind,
        seed=seed,
        epochs=epochs,
        iterations=epochs * steps,
        images=len(dataset),
        cpu=round(cpu, 1),
        wall=round(wall, 1),
        figures=figures,
        **words)


def _config(setting, kind, budget, seed, fixed):
    """The config of a cell, and what is said of it."""
    from mmssl.recipes.facts import build_source, survey
    from mmssl.recipes.fitting import fit
    from mmssl.utils.config import load_config
    if kind == 'fitted':
        recipe = fit(setting.train, labels='none', time=budget, seed=seed, settings=fixed)
        cfg = recipe.cfg
        if 'subset' not in setting.train:  # a clock that other programs slow down may have left images out
            cfg.data.train.data_source.pop('subset', None)
        chosen = {choice.name: str(choice.value) for choice in recipe.choices}
        words = dict(method=chosen['method'], network=chosen['network'], fixed=dict(fixed or {}))
    else:
        cfg = load_config(f'configs/{setting.fixed}')
        cfg.data.train.data_source = setting.train
        if setting.train.get('depth') == 'stored':  # the recipe says that the user has to set it
            cfg.img_norm_cfg = survey(build_source(setting.train)).norm
        cfg.seed = seed
        words = dict(method=Path(setting.fixed).stem, network=cfg.model.backbone.type)
    return cfg, words


def _without_looks(cfg):
    """Figures are taken at the end: what looks at the model on the way would take some of the time."""
    from mmssl.recipes.choose import EVALUATIONS
    cfg.custom_hooks = [h for h in cfg.get('custom_hooks') or () if h['type'] not in EVALUATIONS]
    cfg.evaluation = None
    cfg.log_config, cfg.log_level = dict(interval=10**9, hooks=[]), 'ERROR'


def _fit_epochs(cfg, budget, budget_of):
    """Set the epochs by some measured iterations, and the warm-up to a tenth of the training at most.

    Returns:
        tuple[int, int]: Iterations of an epoch, and epochs.
    """
    from mmssl.datasets import build_dataset
    from mmssl.recipes.measure import measure
    measured = measure(cfg)
    each, seconds = (measured.cpu, CORES * budget) if budget_of == 'cpu' else (measured.iteration, budget)
    images, batch = len(build_dataset(cfg.data.train)), cfg.data.samples_per_gpu
    steps = max(1, images // batch if cfg.data.get('drop_last') else -(-images // batch))
    epochs = max(1, round(seconds / (each * steps)))
    cfg.runner = dict(type='EpochBasedRunner', max_epochs=epochs)
    if cfg.lr_config.get('warmup_iters'):
        cfg.lr_config.warmup_iters = max(1, min(cfg.lr_config.warmup_iters, epochs * steps // 10))
    return steps, epochs


def _figures(model, sets, cfg):
    """kNN and few-label accuracy, of pooled features and of those of a run; of raw pixels without a model."""
    from mmssl.evaluation.descriptor import Descriptor
    rules = dict(pooled=Descriptor(('pooled' if model is not None else 'pixels', )))
    norm = cfg.img_norm_cfg
    if model is None:
        # as they are, and whitened as the features of the run are
        norm = dict(cfg.img_norm_cfg, mean=[0.], std=[1.])
        rules['run'] = Descriptor(('pixels', ), power=Descriptor.of(cfg).power)
    elif cfg.get('features'):
        rules['run'] = Descriptor.of(cfg)
    figures = {}
    for name, rule in rules.items():
        found = {part: rule.extract(model, dataset, img_norm_cfg=norm) for part, dataset in sets.items()}
        values = {part: features['descriptor'] for part, features in found.items()}
        whitening = rule.learn(values['train'])
        if whitening is not None:
            values = {part: whitening.apply(features) for part, features in values.items()}
        figures[name] = _accuracies(values, {part: features.labels for part, features in found.items()})
    return figures


def _accuracies(features, labels):
    import numpy as np

    from mmssl.evaluation import few_label, knn
    arguments = features['train'], labels['train'], features['test'], labels['test']
    per_class = min(_LABELS, int(np.unique(labels['train'][labels['train'] >= 0], return_counts=True)[1].min()))
    k = min(_NEIGHBOURS, len(labels['train']))
    return dict(
        knn=knn.run(*arguments, k=k)[f'k{k}_T0.07_top1'],
        few_label=few_label.run(*arguments, labels_per_class=per_class)['mean'])


def table(cells):
    """A table in Markdown: a row for each setting, kind and seed, kNN and few-label accuracy in per cent.

    Args:
        cells (list[dict]): Of run.

    Returns:
        str: The table.
    """
    lines = [
        '| setting | budget | recipe | features | epochs | CPU s | wall s | kNN: raw pixels, random, trained | '
        '10 labels a class: raw pixels, random, trained |', f'|{" --- |" * 9}'
    ]
    for cell in cells:
        given = f', seed {cell["seed"]}' * bool(cell['seed']) + ''.join(f', {key}={value}'
                                                                        for key, value in cell.get('fixed', {}).items())
        place = f'| {cell["setting"]} | {_minutes(cell["budget"])} | {cell["kind"]}{given}'
        if 'error' in cell:
            lines.append(f'{place} | failed: {cell["error"]} |{" |" * 5}')
            continue
        for way, columns in _columns(cell).items():
            lines.append(f'{place}: {cell["method"]}, {cell["network"]} | {way} | {cell["epochs"]} | '
                         f'{cell["cpu"]:.0f} | {cell["wall"]:.0f} | {" | ".join(columns)} |')
    return '\n'.join(lines)


def _columns(cell):
    """{way to take features: [kNN, few-label]}, each 'raw pixels, random, **trained**' in per cent."""
    figures = cell['figures']
    return {
        way: [
            '{:.1f}, {:.1f}, **{:.1f}**'.format(*(100 * figures[kind].get(way, figures[kind]['pooled'])[task]
                                                  for kind in ('raw_pixels', 'random_init', 'pretrained')))
            for task in ('knn', 'few_label')
        ]
        for way in figures['pretrained']
    }


def _minutes(seconds):
    return f'{seconds / 60:g} min'


def below_random(cells):
    """Cells in which training has made features worse than those of random weights.

    Args:
        cells (list[dict]): Of run.

    Returns:
        list[str]: 'SETTING, KIND, BUDGET: TASK trained < random' for each.
    """
    found = []
    for cell in (c for c in cells if 'error' not in c):
        for way, trained in cell['figures']['pretrained'].items():
            for task, value in trained.items():
                random = cell['figures']['random_init'][way][task]
                if value < random:
                    found.append(f'{cell["setting"]}, {cell["kind"]}, {_minutes(cell["budget"])}, {way}: {task} '
                                 f'{100 * value:.1f} < {100 * random:.1f}')
    return found
