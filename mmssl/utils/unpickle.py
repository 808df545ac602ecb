# Copyright (c) mmssl contributors. All rights reserved.
"""Unpickling that runs no code: known classes of tensors and arrays, inert placeholders, and nothing else."""
import codecs
import os
import pickle
import sys
from argparse import Namespace
from collections import OrderedDict

import numpy as np
import torch


def _latin1(text, encoding):
    """What pickles of numpy arrays call for their bytes: codecs.encode, for this encoding alone."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'bytes encoded as {encoding!r}')
    return codecs.encode(text, 'latin1')


def _path(*parts):
    """What pickles of pathlib's paths call for them: a text."""
    return os.path.join(*map(str, parts)) if parts else ''


_ARRAY = np.zeros(0).__reduce__()[0]  # numpy's maker of empty arrays, whatever its module is called
_FROM_BUFFER = np.zeros(1).__reduce_ex__(5)[0]
_SCALAR = np.float32(0).__reduce__()[0]
_ARRAYS = {
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): np.dtype,
    ('collections', 'OrderedDict'): OrderedDict,
    ('_codecs', 'encode'): _latin1,
    **{(module, name): _path
       for module in ('pathlib', 'pathlib._local') for name in ('PosixPath', 'PurePosixPath')},
    **{(f'numpy.{core}.{module}', name): maker
       for core in ('core', '_core')
       for module, name, maker in (('multiarray', '_reconstruct', _ARRAY), ('multiarray', 'scalar', _SCALAR),
                                   ('numeric', '_frombuffer', _FROM_BUFFER))},
}  # yapf: disable
_TENSORS = {
    **_ARRAYS,
    **{('torch._utils', name): getattr(torch._utils, name)
       for name in ('_rebuild_tensor_v2', '_rebuild_parameter')},
    ('torch', 'Size'): torch.Size,
    ('torch', 'device'): torch.device,
    **{('torch', str(kind).removeprefix('torch.')): kind
       for kind in vars(torch).values() if isinstance(kind, torch.dtype)},
    ('argparse', 'Namespace'): Namespace,
    # a defaultdict calls what it is given at a key that it lacks; a plain dict calls nothing
    ('collections', 'defaultdict'): lambda *args: {},
    # methods in the logs of MMEngine are pickled as getattr(class, name)
    ('builtins', 'getattr'): lambda *args: Placeholder(),
    ('builtins', 'set'): set,
    ('builtins', 'slice'): slice,
    ('builtins', 'complex'): complex,
}  # yapf: disable


def _refuse(module, name):
    raise pickle.UnpicklingError(f'it holds an object of type {module}.{name}, and loading it could run foreign code')


class ArrayUnpickler(pickle.Unpickler):
    """Reads numpy arrays, numbers, text and plain containers, and paths as texts; whatever else is named is refused."""

    def find_class(self, module, name):
        return _ARRAYS.get((module, name)) or _refuse(module, name)


class Placeholder:
    """Stands for an object of a package that is not imported: it takes any state and does nothing."""

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)

    def __init__(self, *args, **kwargs):
        pass

    def _ignore(self, *args, **kwargs):
        pass

    __setstate__ = __setitem__ = append = extend = add = _ignore


class _Unpickler(pickle.Unpickler):
    """Besides arrays and tensors, puts placeholders for the classes of other packages.

    What a pickle calls to run code stands in Python's own library, in numpy or in torch: all of it that is not known
    here is refused. Packages are not imported, so that nothing of theirs can run.
    """

    def find_class(self, module, name):
        found = _TENSORS.get((module, name))
        if found is not None:
            return found
        if module.partition('.')[0] in sys.stdlib_module_names | {'numpy', 'torch', '__main__'}:
            _refuse(module, name)
        return type(name, (Placeholder, ), dict(__module__=module))


class InertPickle:
    """The `pickle_module` of torch.load for files with objects of other packages, such as the log of MMEngine."""
    Unpickler = _Unpickler
    UnpicklingError = pickle.UnpicklingError
