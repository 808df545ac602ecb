"""Layers that an algorithm does not have are told by name, not by an error of the network."""
import pytest
import tiny
import torch

from mmssl.evaluation import extract_features
from mmssl.models import build_algorithm

IMAGES = [dict(img=torch.rand(3, 32, 32), idx=0)]


@pytest.mark.parametrize('name', ['MAE', 'SimMIM', 'CAE'])
def test_necks_that_rebuild_give_no_features(name):
    """They take what was hidden besides; this was a TypeError of the decoder."""
    with pytest.raises(ValueError, match=f'the neck of {name}, .*, rebuilds what is hidden and gives no features'):
        extract_features(build_algorithm(tiny.CONFIGS[name]), IMAGES, layers='neck')


@pytest.mark.parametrize('name, count', [('SimCLR', 5), ('MAE', 2)])
def test_a_stage_that_is_not_there(name, count):
    message = f'has no stage7, only stage0 to stage{count - 1}'
    with pytest.raises(ValueError, match=message):
        extract_features(build_algorithm(tiny.CONFIGS[name]), IMAGES, layers='stage7')
