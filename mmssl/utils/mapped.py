# Copyright (c) mmssl contributors. All rights reserved.
"""Arrays that stay in their file and are read where they are looked at."""
import os
import os.path as osp

import numpy as np


class MappedArray(np.memmap):
    """A .npy file as a read-only array. A pickle of it holds the path alone, so that a spawned worker maps it as well.

    What is made of it (a slice, a sum) is pickled with its values, as any array.

    Attributes:
        path (str | None): The file, of the whole array.
    """
    path = None

    def __reduce__(self):
        return super().__reduce__() if self.path is None else (map_array, (self.path, ))


def map_array(path):
    """Map a .npy file.

    Args:
        path (str | Path): The file.

    Returns:
        MappedArray: Read-only.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no .npy file, or one of Python objects.
    """
    path = osp.abspath(osp.expanduser(os.fspath(path)))
    array = np.load(path, mmap_mode='r', allow_pickle=False).view(MappedArray)
    array.path = path
    return array


class ConstantArray(np.ndarray):
    """One value many times, in the memory of one. A pickle of it holds the value alone."""
    length = None

    def __reduce__(self):
        return super().__reduce__() if self.length is None else (constant_array, (int(self[0]), self.length))


def constant_array(value, length):
    """An int32 array of one value that takes no memory.

    Args:
        value (int): The value.
        length (int): How often it stands there, once at least.

    Returns:
        ConstantArray: Read-only.
    """
    array = np.broadcast_to(np.int32(value), length).view(ConstantArray)
    array.length = length
    return array
