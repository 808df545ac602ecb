# Copyright (c) mmssl contributors. All rights reserved.
"""See that a training of mmdet or mmseg finds its packages and data, before many processes start to find out.

The scripts in mmdetection/ and mmsegmentation/ call it.
"""
import argparse
import os

from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('package', choices=['mmdet', 'mmseg'], help='that trains')
    parser.add_argument('config', help='of the package')
    parser.add_argument('options', nargs='*', metavar='KEY=VALUE', help='overrides of the config')
    args = parser.parse_args()
    for option in args.options:
        if '=' not in option:
            parser.error(f'options are KEY=VALUE, got {option!r}')
    return args


def main():
    args = parse_args()
    from importlib.util import find_spec

    from mmssl.utils.errors import ConfigError
    missing = [name for name in ('mim', args.package) if find_spec(name) is None]
    if missing:
        raise ConfigError(f'{" and ".join(missing)} cannot be imported: `make downstream` installs it, and '
                          '`source .venv-downstream/bin/activate` makes it the one that is used')
    from mmcv import Config

    from mmssl.downstream.data_files import data_files
    from mmssl.utils.config import override, parse_value
    from mmssl.utils.config_file import read_config

    if not os.path.isfile(args.config):
        raise FileNotFoundError(f'config file {args.config} does not exist')
    options = {key: parse_value(value) for key, _, value in (option.partition('=') for option in args.options)}
    cfg = Config(read_config(args.config)[0])
    override(cfg, options)
    for split in ('train', 'val'):
        absent = [path for path in data_files(cfg.data[split]) if not os.path.exists(path)]
        if absent:
            raise FileNotFoundError(f'data.{split} of {args.config} reads {", ".join(absent)}, which '
                                    f'{"do" if len(absent) > 1 else "does"} not exist here ({os.getcwd()})')


if __name__ == '__main__':
    run_tool(main)
