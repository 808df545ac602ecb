# Copyright (c) mmssl contributors. All rights reserved.
"""Hit trainings of a config by failures at random moments, start them again, and compare with one left alone.

Its training should take seconds and write several checkpoints. In the table: the exit statuses; the seconds from the
failure to the end; how often the log names the process that was hit (or, with restart, that it went on); whether there
was a checkpoint; how many ended with weights and optimizer equal bit for bit, and temporary files left behind.
"""
import argparse
import tempfile
from pathlib import Path

from mmssl.utils.misc import run_tool, table_lines, write_json
from mmssl.utils.picture_options import positive


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--kinds', nargs='+', metavar='KIND', help='kinds of failures; all by default')
    parser.add_argument('--times', type=positive, default=20, help='trainings of each kind')
    parser.add_argument('--timeout', type=float, default=5., help='dist_params.timeout of the trainings, in seconds')
    parser.add_argument('--limit', type=float, default=120., help='seconds after which a training counts as hung')
    parser.add_argument('--folder', help='where the trainings go; what fails stays there. Default: a temporary one')
    parser.add_argument('--out', metavar='FILE.json', help='write each outcome there')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='settings of the trainings')
    return parser.parse_args()


def main():
    args = parse_args()
    from mmssl.benchmarks.failures import KINDS, KillTest, summarize
    from mmssl.utils.config import load_config
    from mmssl.utils.config_file import find_config
    from mmssl.utils.errors import ConfigError, nearest
    for kind in args.kinds or ():
        if kind not in KINDS:
            raise ConfigError(f'--kinds {kind}: {nearest(kind, KINDS, "there are")}')
    load_config(args.config)
    folder = Path(args.folder or tempfile.mkdtemp(prefix='kill_test_')).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    test = KillTest(find_config(args.config).resolve(), folder, args.cfg_options, args.timeout, args.limit)
    results = {}
    for kind in args.kinds or KINDS:
        for number in range(args.times):
            results.setdefault(kind, []).append(test.one(kind, number))
            if args.out:
                write_json(args.out, results)
        print('\n'.join(table_lines(*summarize({kind: results[kind]}))), flush=True)
    print('\n' + '\n'.join(table_lines(*summarize(results))))


if __name__ == '__main__':
    run_tool(main)
