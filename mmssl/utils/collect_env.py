# Copyright (c) mmssl contributors. All rights reserved.
"""What a bug report and a log need to know of the machine."""


def collect_env():
    """Versions of the packages underneath, the devices and the compiler.

    Returns:
        dict[str, str]: Text by name.
    """
    from mmcv.utils import collect_env as collect_base_env
    from mmcv.utils import get_git_hash

    from mmssl import __version__
    env = {key: str(value) for key, value in collect_base_env().items()}
    env['mmssl'] = f'{__version__}+{get_git_hash()[:7]}'
    return env


if __name__ == '__main__':
    for name, value in collect_env().items():
        print(f'{name}: {value}')
