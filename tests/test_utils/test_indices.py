# Copyright (c) mmssl contributors. All rights reserved.
import numpy as np
import pytest

from mmssl.utils import get_indices_sparse
from mmssl.utils.indices import rows_by_value


@pytest.mark.parametrize('dtype, low, high', [(np.int64, -1, 40), (np.int32, 0, 200_000), (np.uint8, 0, 255)])
def test_rows_are_those_of_a_search_for_each_value(dtype, low, high):
    data = np.random.default_rng(0).integers(low, high, (300, 3)).astype(dtype)
    found, rows = rows_by_value(data)
    np.testing.assert_array_equal(found, np.unique(data))
    for value, own in zip(found, rows):
        np.testing.assert_array_equal(own, np.flatnonzero(data == value))
    members = get_indices_sparse(data)
    assert len(members) == data.max() + 1
    for value in {0, 7, int(data.max()), *found[found >= 0][:50].tolist()}:
        np.testing.assert_array_equal(np.transpose(members[value]), np.argwhere(data == value))


def test_nothing_has_no_rows():
    assert rows_by_value([])[1] == [] == get_indices_sparse(np.zeros(0, int)) == get_indices_sparse(np.full(3, -1))
    with pytest.raises(ValueError, match='integers, got float64'):
        get_indices_sparse(np.zeros(3))
