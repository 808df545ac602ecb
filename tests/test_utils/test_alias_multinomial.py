"""The alias method: exact tables, and draws as often as they should be."""
import time

import pytest
import torch
from scipy.stats import chisquare

from mmssl.utils import AliasMethod

WEIGHTS = {
    'ascending': torch.tensor([1., 2., 3., 4.]),
    'random': torch.rand(1000, generator=torch.Generator().manual_seed(0)),
    'a few far above': torch.rand(1000, generator=torch.Generator().manual_seed(1))**20,
    'equal': torch.ones(7),
    'equal, of a sum with rounding': torch.full((11, ), 0.1),
    'zeros between': torch.tensor([0., 1.] * 50),
    'one alone': torch.tensor([0., 0., 5., 0.]),
    'one': torch.tensor([3.]),
    'integers': torch.arange(10),
    'very rare ones': torch.cat([torch.full((10000, ), 1e-12), torch.ones(3)]),
}


@pytest.mark.parametrize('name', WEIGHTS)
def test_tables_hold_the_distribution_exactly(name):
    """Column i is i up to prob[i], and alias[i] above."""
    weights = WEIGHTS[name]
    table, n = AliasMethod(weights), len(weights)
    assert ((0 <= table.prob) & (table.prob <= 1)).all()
    found = (table.prob / n).index_add(0, table.alias, (1 - table.prob) / n)
    expected = weights.double() / weights.double().sum()
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-14)
    assert not found[weights == 0].any()


@pytest.mark.parametrize('name', ['ascending', 'a few far above', 'zeros between'])
def test_draws_pass_a_chi_square_test(name):
    weights = WEIGHTS[name].double()
    drawn = AliasMethod(weights).draw(200000)
    assert drawn.dtype == torch.int64 and drawn.shape == (200000, )
    counts, expected = torch.bincount(drawn, minlength=len(weights)).double(), weights / weights.sum() * 200000
    assert not counts[weights == 0].any()
    rare = expected < 5  # the test needs five of each
    observed = [*counts[~rare].tolist(), *([counts[rare].sum().item()] if expected[rare].sum() else [])]
    wanted = [*expected[~rare].tolist(), *([expected[rare].sum().item()] if expected[rare].sum() else [])]
    assert chisquare(observed, wanted).pvalue > 1e-3


def test_a_million_outcomes_take_about_a_second():
    weights, start = torch.rand(10**6), time.process_time()
    AliasMethod(weights)
    assert time.process_time() - start < 4  # 0.3 s on an idle core


@pytest.mark.parametrize('weights, message', [
    (torch.zeros(3), 'not all zero; got values from 0'),
    (torch.tensor([1., -1.]), 'got values from -1.0 to 1.0'),
    (torch.tensor([1., torch.nan]), 'must be finite'),
    (torch.ones(2, 2), r'shape \(2, 2\)'),
    (torch.ones(0), r'shape \(0,\)'),
])
def test_weights_that_are_none(weights, message):
    with pytest.raises(ValueError, match=message):
        AliasMethod(weights)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_draws_on_the_device_of_the_tables():
    table = AliasMethod(WEIGHTS['random'])
    assert table.draw(5).device.type == 'cpu'
    table.cuda()
    assert table.draw(5).is_cuda and AliasMethod(WEIGHTS['random'].cuda()).draw(5).is_cuda
