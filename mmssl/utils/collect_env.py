# Copyright (c) mmssl contributors. All rights reserved.
"""What a bug report and a log need to know of the machine."""
import subprocess
from pathlib import Path


def collect_env():
    """Versions of the packages underneath, the devices and the compiler.

    Returns:
        dict[str, str]: Text by name.
    """
    from mmcv.utils import collect_env as collect_base_env

    from mmssl import __version__
    env = {key: str(value) for key, value in collect_base_env().items()}
    env['mmssl'] = f'{__version__}+{_commit()}'
    return env


def _commit():
    """The commit of this clone, wherever a tool is called from."""
    root = Path(__file__).resolve().parents[2]
    if not (root / '.git').exists():  # an installed package, perhaps within the clone of another project
        return 'unknown'
    try:
        return subprocess.run(['git', '-C', root, 'rev-parse', '--short=7', 'HEAD'],
                              capture_output=True,
                              text=True,
                              check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'


if __name__ == '__main__':
    for name, value in collect_env().items():
        print(f'{name}: {value}')
