# Copyright (c) mmssl contributors. All rights reserved.
"""Semi-supervised evaluation over the published grid: base learning rate times that of the head.

The best of the grid is chosen by the validation images, as in the published tables.
"""
import argparse
import sys
from pathlib import Path

from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, epilog='Further options go to train.py, as --cfg-options.')
    parser.add_argument('config', help='one of the configs of semi-supervised evaluation')
    parser.add_argument('pretrain', help='checkpoint of the pre-training, or extracted backbone weights')
    parser.add_argument('--lrs', type=float, nargs='+', default=[0.001, 0.01, 0.1], help='(default: 0.001 0.01 0.1)')
    parser.add_argument('--head-mults', type=float, nargs='+', default=[1, 10, 100], help='(default: 1 10 100)')
    parser.add_argument('--gpus', type=int, default=4, help='processes of each training (default: %(default)s)')
    parser.add_argument('--work-dir', help='a folder for each training goes there (default: work_dirs/CONFIG-sweep)')
    parser.add_argument('--out', help='JSON file for the accuracies')
    return parser.parse_known_args()


def main():
    args, further = parse_args()

    import os
    import subprocess

    from mmssl.utils.config import load_config
    from mmssl.utils.misc import atomic_write, write_json
    from mmssl.utils.training_log import TrainingLog

    load_config(args.config)  # a misspelt one is told at once
    if not Path(args.pretrain).is_file():
        raise FileNotFoundError(f'there is no checkpoint {args.pretrain}')
    script = Path(__file__).resolve().with_name('dist_train_semi.sh')
    folder = Path(args.work_dir or f'work_dirs/{Path(args.config).stem}-sweep')
    found = []
    for lr in args.lrs:
        for mult in args.head_mults:
            work_dir = folder / f'lr{lr:g}_head{mult:g}'
            work_dir.mkdir(parents=True, exist_ok=True)
            config = work_dir / 'sweep.py'
            with atomic_write(config) as file:
                file.write(f'_base_ = {str(Path(args.config).resolve())!r}\n'
                           f"optimizer = dict(lr={lr}, paramwise_options={{r'\\Ahead.': dict(lr_mult={mult})}})\n")
            command = ['bash', script, config, args.pretrain, '--work-dir', work_dir, *further]
            environment = {'PYTHON': sys.executable, **os.environ, 'GPUS': str(args.gpus)}
            if subprocess.run(list(map(str, command)), env=environment).returncode:
                sys.exit(f'error: the training with lr {lr:g} and head {mult:g} failed; its log is in {work_dir}')
            last = [row for row in TrainingLog(work_dir).rows if row['mode'] == 'val'][-1]
            accuracy = {key[-4:]: value for key, value in last.items() if key.endswith(('top1', 'top5'))}
            found.append(dict(lr=lr, head_mult=mult, epoch=last['epoch'], **accuracy))
    print('  lr      head   top1    top5')
    for row in found:
        print(f'{row["lr"]:7g} {row["head_mult"]:5g} {row["top1"]:7.2f} {row["top5"]:7.2f}')
    best = max(found, key=lambda row: row['top1'])
    print(f'best by the validation images: lr {best["lr"]:g}, head {best["head_mult"]:g}: {best["top1"]:.2f} %')
    if args.out:
        write_json(args.out, dict(sweep=found, best=best))


if __name__ == '__main__':
    run_tool(main)
