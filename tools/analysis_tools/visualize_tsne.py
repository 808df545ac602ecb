# Copyright (c) mmssl contributors. All rights reserved.
"""t-SNE of a network's features: a picture, a page to explore them, and the coordinates."""
import argparse
import re
import sys

from mmssl.utils.config import add_cfg_options
from mmssl.utils.evaluation_options import add_broken_option, add_checkpoint, layer_names, pool_type
from mmssl.utils.misc import run_tool


def rate(text):
    return text if text == 'auto' else float(text)


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, epilog='Options may be written with underscores as well, as MMSelfSup has them.')
    parser.add_argument('config', help='config of the pre-training: its model makes the features')
    add_checkpoint(parser)
    parser.add_argument('--work-dir', help='for tsne.png, tsne.html and tsne.npz (default: work_dirs/NAME_OF_CONFIG)')
    parser.add_argument(
        '--dataset-config',
        default='configs/benchmarks/classification/tsne_imagenet.py',
        help='config with the images; options on data are meant for it (default: %(default)s)')
    parser.add_argument(
        '--dataset', default='data.extract', metavar='SECTION', help='of that config (default: %(default)s)')
    parser.add_argument(
        '--layers',
        '--layer-ind',
        type=layer_names,
        nargs='+',
        default=[layer_names('0,1,2,3,4')],
        help='stage0 (stem of a ResNet) to stage4 (also 0 to 4, or feat1 to feat5), pooled, cls_token, neck, pixels, '
        'by commas or spaces (default: stage0,stage1,stage2,stage3,stage4)')
    parser.add_argument(
        '--pool-type',
        type=pool_type,
        default='average',
        help='of the stages: average, adaptive, specified, rmac, rmac:L, gem or gem:P (default: %(default)s)')
    parser.add_argument('--max-num-class', type=int, default=20, help='only the first so many classes')
    parser.add_argument(
        '--max-num-sample', type=int, default=2000, help='draw at most so many images, evenly from the classes')
    parser.add_argument('--seed', type=int, default=0, help='of the choice of images, random weights and t-SNE')
    parser.add_argument('--deterministic', action='store_true', help='only deterministic kernels, on a GPU')
    tsne = parser.add_argument_group('t-SNE', 'see sklearn.manifold.TSNE')
    tsne.add_argument('--n-components', type=int, choices=[2, 3], default=2, help='a plane or a space')
    tsne.add_argument('--perplexity', type=float, help='default: 30, or less for less than 91 images')
    tsne.add_argument('--early-exaggeration', type=float, default=12.)
    tsne.add_argument('--learning-rate', type=rate, default='auto', help='a number or auto, the default')
    tsne.add_argument('--n-iter', '--max-iter', dest='max_iter', type=int, default=1000)
    tsne.add_argument('--n-iter-without-progress', type=int, default=300)
    tsne.add_argument('--init', choices=['pca', 'random'], default='pca', help='(default: %(default)s)')
    add_broken_option(parser)
    parser.add_argument('--batch-size', type=int, help='images in a batch (default: as the data config says)')
    parser.add_argument('--device', help='such as cuda:0 or cpu (default: a GPU where there is one)')
    add_cfg_options(parser)
    return parser.parse_args(
        [re.sub(r'^--[^=]+', lambda name: name[0].replace('_', '-'), argument) for argument in sys.argv[1:]])


def main():
    args = parse_args()
    args.layers = list(dict.fromkeys(name for names in args.layers for name in names))

    import time
    from pathlib import Path

    from mmssl.utils.config import check_sections, config_section, find_section, load_config
    from mmssl.utils.errors import BrokenImageError, ConfigError

    # the data of CONFIG is not used here: options on data mean those that are drawn
    top = args.dataset.split('.')[0]
    of_data = {key: value for key, value in args.cfg_options.items() if key.split('.')[0] in ('data', top)}
    cfg = load_config(args.config, {k: v for k, v in args.cfg_options.items() if k not in of_data})
    data_cfg = load_config(args.dataset_config, of_data, own=(top, ))
    check_sections(cfg, ['model'])
    section = find_section(data_cfg, args.dataset)
    for name in ('max_num_class', 'max_num_sample'):
        if getattr(args, name) < 1:
            raise ConfigError(f'--{name.replace("_", "-")} must be 1 or more, got {getattr(args, name)}')

    import numpy as np
    from torch.utils.data import Subset

    from mmssl.apis import set_random_seed
    from mmssl.apis.inference import evaluated_parts, pretrained_model
    from mmssl.datasets import build_dataset
    from mmssl.datasets.dataset_wrappers import locate, sample_name
    from mmssl.datasets.loader import write_broken
    from mmssl.evaluation import extract_features, plots
    from mmssl.evaluation.scatter_page import write_page
    from mmssl.utils.dist import use_device
    from mmssl.utils.logger import get_root_logger
    from mmssl.utils.misc import atomic_write

    logger = get_root_logger(log_level=cfg.get('log_level', 'INFO'))
    use_device(args.device)
    set_random_seed(args.seed, args.deterministic)
    with config_section(data_cfg, args.dataset):
        dataset = build_dataset(section)

    def sample(idx):
        leaf, place = locate(dataset, idx)
        return leaf.data_source, place

    labels = np.asarray(getattr(dataset, 'gt_labels', np.full(len(dataset), -1)))
    chosen = plots.draw_evenly(labels, args.max_num_class, args.max_num_sample, args.seed)
    if len(chosen) < 3 or (args.perplexity or 0) >= len(chosen):
        raise ConfigError(f'{len(chosen)} images are too few for t-SNE' +
                          (f' of perplexity {args.perplexity:g}' if args.perplexity else ''))
    labels = labels[chosen]
    model = pretrained_model(cfg, args.checkpoint, evaluated_parts(args.layers), logger, args.teacher)
    start = time.time()
    try:
        features = extract_features(
            model,
            Subset(dataset, chosen),
            layers=args.layers,
            batch_size=args.batch_size or data_cfg.data.get('samples_per_gpu', 8),
            workers=data_cfg.data.get('workers_per_gpu', 0),
            img_norm_cfg=data_cfg.get('img_norm_cfg'),
            pool_type=args.pool_type,
            progress=True,
            broken=args.broken)
        if len(features) < len(chosen):
            there = np.isin(np.arange(len(chosen)), [place for place, *_ in features.broken], invert=True)
            chosen, labels = np.array(chosen)[there].tolist(), labels[there]
        classes = len(np.unique(labels[labels >= 0]))
        logger.info(f'features of {len(chosen)} images ' +
                    (f'of {classes} class{"es" * (classes > 1)}' if classes else 'without class labels') +
                    f' in {time.time() - start:.1f} s')
        options = ('seed', 'n_components', 'perplexity', 'early_exaggeration', 'learning_rate', 'max_iter',
                   'n_iter_without_progress', 'init')
        embeddings = {}
        for layer in args.layers:
            start = time.time()
            x = features[layer].reshape(len(chosen), -1)
            embeddings[layer] = plots.embed_tsne(x, **{name: getattr(args, name) for name in options})
            logger.info(f'{layer}: t-SNE of {x.shape[1]} numbers an image in {time.time() - start:.1f} s')
    except (BrokenImageError, ConfigError):
        raise
    except (ValueError, RuntimeError) as error:  # of layers that are not there, maps too small for a pooling, ...
        raise ConfigError(f'--layers {" ".join(args.layers)}: {error}') from error

    out = Path(args.work_dir or f'work_dirs/{Path(args.config).stem}')
    weights = Path(args.checkpoint).name if args.checkpoint else 'weights as the config has them' if cfg.model.get(
        'init_cfg') or cfg.model.backbone.get('init_cfg') else 'RANDOM weights'
    title = f'{Path(args.config).stem}, {weights}: t-SNE of {len(chosen)} images'
    write_broken(out / 'tsne_broken.json', features.broken)
    files = [sample_name(dataset, idx) for idx in chosen]
    classes = dataset.CLASSES
    plots.plot_embeddings(embeddings, labels, classes, out / 'tsne.png', title)
    images = (source.get_array(place) for source, place in map(sample, chosen))
    write_page(out / 'tsne.html', embeddings, labels, classes, files, images, title)
    with atomic_write(out / 'tsne.npz', 'wb') as file:
        np.savez(file, index=np.array(chosen), label=labels, filename=np.array(files), **embeddings)
    logger.info(f'{out}: tsne.png, tsne.html (opens in any browser), tsne.npz (the coordinates)')


if __name__ == '__main__':
    run_tool(main)
