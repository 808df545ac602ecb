# Copyright (c) mmssl contributors. All rights reserved.
"""Self-supervised learning on images, OpenMMLab style.

    run = mmssl.train('photos')                 # chooses a method and a network, and trains
    run = mmssl.load('work_dirs/NAME')          # what a training has left
    run.features('photos'), run.search('photo.jpg'), run.backbone(), run.report()

Importing this package imports neither torch nor mmcv; it only looks at which versions are installed.
"""
import importlib
import logging
import re
import warnings
from importlib import metadata
from typing import TYPE_CHECKING

from . import old_places
from .version import __version__, version_info

# distribution -> (lowest that works, first that does not); torch 2.6 brings what safe loading of checkpoints needs
_STACK = {'torch': ((2, 6), None), 'torchvision': ((0, 21), None), 'mmcv': ((1, 7), (2, ))}


def _installed(package):
    """Version of an installed distribution as a tuple of ints, or None."""
    try:
        return tuple(int(n) for n in re.findall(r'\d+', metadata.version(package))[:3])
    except metadata.PackageNotFoundError:
        return None


def check_stack():
    """See that the packages underneath are there in versions that work.

    Raises:
        ImportError: One message that names everything missing or unfit, and the command that mends it.
    """
    problems = []
    for package, (lowest, below) in _STACK.items():
        found = _installed(package)
        if package == 'mmcv':  # two distributions give the module mmcv
            full = _installed('mmcv-full')
            if found and full:
                problems.append('mmcv and mmcv-full are both installed and overwrite each other: '
                                'pip uninstall mmcv mmcv-full, then install one')
                continue
            found = found or full
        wanted = f'>={".".join(map(str, lowest))}' + (f',<{".".join(map(str, below))}' if below else '')
        if found is None:
            problems.append(f'{package}{wanted} is not installed')
        elif found < lowest or (below and found >= below):
            problems.append(f'{package} {".".join(map(str, found))} does not fit, {package}{wanted} does')
    if problems:
        raise ImportError('mmssl cannot run on what is installed here:\n  ' + '\n  '.join(problems) +
                          '\nThis installs what was tried together (from a clone of mmssl):\n'
                          '  export PIP_CONSTRAINT=$PWD/requirements/constraints.txt\n'
                          '  pip install "setuptools<80" wheel -r requirements/runtime.txt\n'
                          '  pip install --no-build-isolation -r requirements/mminstall.txt')


check_stack()

# mmcv 1.x announces its successor on every import; our users chose 1.x knowingly.
warnings.filterwarnings('ignore', message='On January 1, 2023, MMCV will release')
warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')
# torch reports the absence of a GPU on a machine with nvcc; mmssl runs on the CPU then, and says so itself.
logging.getLogger('torch.utils.cpp_extension').setLevel(logging.ERROR)

old_places.install()

if TYPE_CHECKING:
    from mmcv.utils import digit_version

    from .apis.pretrain import train
    from .apis.run import Run, load
    from .recipes import fit

# name -> the module that has it, imported when the name is first used
_HOME = dict(Run='mmssl.apis.run', fit='mmssl.recipes', load='mmssl.apis.run', train='mmssl.apis.pretrain')

__all__ = ['Run', '__version__', 'check_stack', 'digit_version', 'fit', 'load', 'train', 'version_info']

if not TYPE_CHECKING:  # a type checker is to see which names there are not

    def __getattr__(name):
        if name in _HOME:
            return getattr(importlib.import_module(_HOME[name]), name)
        return old_places.lookup(__name__, name)


def __dir__():
    return sorted({*globals(), *__all__})
