# Copyright (c) mmssl contributors. All rights reserved.
"""Weighted kNN on the frozen features of a backbone."""
import argparse


def switch(text):
    """A boolean of the command line: bool('False') would be True."""
    words = {'true': True, 'yes': True, '1': True, 'false': False, 'no': False, '0': False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f'true or false, got {text!r}')
    return words[text.lower()]


def parse_args():
    from mmssl.utils.evaluation_options import add_evaluation_options
    parser = argparse.ArgumentParser(description=__doc__)
    add_evaluation_options(parser, 'configs/benchmarks/classification/knn_imagenet.py')
    parser.add_argument('--num-knn', type=int, nargs='+', default=[10, 20, 100, 200], help='numbers of neighbours')
    parser.add_argument('--temperature', type=float, nargs='+', default=[0.07], help='temperatures of the votes')
    parser.add_argument(
        '--use-cuda',
        type=switch,
        nargs='?',
        const=True,
        default=True,
        help='search neighbours on the GPU, if there is one (true or false; default: true)')
    parser.add_argument('--memory-limit', type=float, default=512, help='MiB for one tile of similarities')
    parser.add_argument(
        '--index', help='search in an index of faiss, such as SQ8 or IVF4096,PQ64, which is approximate but for Flat')
    return parser.parse_args()


def main():
    args = parse_args()

    import time

    from mmssl.apis.evaluation import EvaluationRun
    from mmssl.evaluation import knn
    from mmssl.utils import dist
    from mmssl.utils.errors import ConfigError

    run = EvaluationRun(args, name='knn')
    features = {split: run.extract(split) for split in ('train', 'val')}
    metrics, rows = {}, []
    for layer in args.layers:
        start = time.time()
        try:
            found = metrics[layer] = knn.run(
                features['train'][layer].reshape(len(features['train']), -1),
                features['train'].labels,
                features['val'][layer].reshape(len(features['val']), -1),
                features['val'].labels,
                k=args.num_knn,
                temperature=args.temperature,
                memory_limit=args.memory_limit,
                device=dist.default_device() if args.use_cuda else 'cpu',
                index=args.index)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        run.logger.info(f'{layer}: kNN in {time.time() - start:.1f} s, {found["num_train"]} against '
                        f'{found["num_test"]} images of {found["num_classes"]} classes')
        for temperature in args.temperature:
            for k in args.num_knn:
                top1, top5 = (100 * found[f'k{k}_T{temperature:g}_{name}'] for name in ('top1', 'top5'))
                run.logger.info(f'{k}-NN, T={temperature:g}: top1 {top1:.2f} %, top5 {top5:.2f} %')
                rows.append((layer, k, f'{temperature:g}', top1, top5))
    run.table(rows, ('layer', 'k', 'T', 'top1', 'top5'))
    run.write(metrics[args.layers[0]] if len(args.layers) == 1 else metrics)


if __name__ == '__main__':
    from mmssl.utils.misc import run_tool
    run_tool(main, distributed=True)
