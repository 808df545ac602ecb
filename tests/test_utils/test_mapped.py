# Copyright (c) mmssl contributors. All rights reserved.
import pickle

import numpy as np

from mmssl.datasets.data_sources.labels import read_labels
from mmssl.utils.mapped import MappedArray, map_array


def test_a_pickle_holds_the_path_alone(tmp_path):
    values = np.arange(100_000)
    np.save(tmp_path / 'values.npy', values)
    mapped = map_array(tmp_path / 'values.npy')
    assert isinstance(mapped, MappedArray) and not mapped.flags.writeable
    stored = pickle.dumps(mapped)
    assert len(stored) < 1000
    again = pickle.loads(stored)
    assert isinstance(again, MappedArray)
    np.testing.assert_array_equal(again, values)
    for part in (mapped[5:9], mapped + 1):  # these are not what the file holds
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(part)), np.array(part))
    assert len(pickle.dumps(read_labels(str(tmp_path / 'values.npy'), len(values), mmap=True))) < 1000
