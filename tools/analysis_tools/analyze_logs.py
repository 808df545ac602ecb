# Copyright (c) mmssl contributors. All rights reserved.
"""Curves and times from the JSON logs of trainings."""
import argparse
from pathlib import Path

from mmssl.utils.errors import ConfigError
from mmssl.utils.misc import run_tool
from mmssl.utils.training_log import TrainingLog


def weight(text):
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f'a weight within 0 and below 1, got {text}')
    return value


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    tasks = parser.add_subparsers(dest='task', required=True)
    what = 'a file TIME.log.json, or a work_dir: then its newest one, with those before it that it was resumed from'

    curve = tasks.add_parser('plot_curve', help='draw what was logged')
    curve.add_argument('json_logs', nargs='+', metavar='LOG', help=what)
    curve.add_argument('--keys', nargs='+', default=['loss'], help='what to draw, a panel each (default: loss)')
    curve.add_argument('--title', default='Training', help='above the picture')
    curve.add_argument('--legend', nargs='+', metavar='NAME', help='names of the runs, one a LOG')
    curve.add_argument('--x', choices=['epoch', 'iter'], default='epoch', help='what is counted to the right')
    curve.add_argument(
        '--smooth', type=weight, default=0., metavar='WEIGHT', help='of the past in a moving average, such as 0.9')
    curve.add_argument('--style', help='a style of matplotlib or seaborn, such as dark or whitegrid')
    curve.add_argument('--backend', help='of matplotlib, for a window on the screen, such as TkAgg')
    curve.add_argument('--out', metavar='FILE', help='.png, .pdf or .svg (default: curves.png beside the first log)')

    time = tasks.add_parser('cal_train_time', help='tell how long iterations took')
    time.add_argument('json_logs', nargs='+', metavar='LOG', help=what)
    time.add_argument(
        '--include-outliers', action='store_true', help='also count the first line of each epoch, which is slower')
    return parser.parse_args()


def plot_curve(args, logs):
    names = args.legend or _distinct_names(logs)
    if len(names) != len(logs):
        raise ConfigError(f'--legend takes one name a log: {len(names)} names for {len(logs)} logs')
    out = Path(args.out) if args.out else logs[0].files[-1].with_name('curves.png')
    if out.suffix not in ('.png', '.pdf', '.svg'):
        raise ConfigError(f'--out must end with .png, .pdf or .svg, got {args.out}')
    panels = {key: [(name, *log.curve(key, args.x)) for name, log in zip(names, logs)] for key in args.keys}

    import matplotlib.style
    known = {*matplotlib.style.available, *(name.removeprefix('seaborn-v0_8-') for name in matplotlib.style.available)}
    if args.style is not None and args.style not in known:
        from mmssl.utils.errors import nearest
        raise ConfigError(f'no style {args.style!r}; {nearest(args.style, known, "styles")}')
    from mmssl.evaluation.plots import plot_curves
    label = dict(epoch='epoch', iter='iteration')[args.x]
    plot_curves(panels, out, args.title, label, args.smooth, args.style, args.backend)
    print(f'{", ".join(args.keys)} of {len(logs)} run{"s" * (len(logs) > 1)}: {out}')


def _distinct_names(logs):
    """Names of runs that differ: with the folder where files are called the same."""
    names = [log.name for log in logs]
    return names if len(set(names)) == len(names) else [str(log.source) for log in logs]


def cal_train_time(args, logs):
    for log in logs:
        times = log.times(args.include_outliers)
        epochs = times['epochs']
        slowest, fastest = max(epochs, key=epochs.get), min(epochs, key=epochs.get)
        print(f'-----Analyze train time of {log.source}-----')
        print(f'slowest epoch {slowest}, average time is {epochs[slowest]:.4f}')
        print(f'fastest epoch {fastest}, average time is {epochs[fastest]:.4f}')
        print(f'time std over epochs is {times["std"]:.4f}')
        print(f'average iter time: {times["mean"]:.4f} s/iter')
        print(f'waiting for data: {times["data_share"]:.1%} of it')
        if times['img_per_sec']:
            print(f'images: {times["img_per_sec"]:.1f} a second')
        print()


def main():
    args = parse_args()
    logs = [TrainingLog(path) for path in args.json_logs]
    dict(plot_curve=plot_curve, cal_train_time=cal_train_time)[args.task](args, logs)


if __name__ == '__main__':
    run_tool(main)
