"""Gathering and collecting under MMSelfSup's names, in one process and two."""
import numpy as np
import pytest
import torch

from mmssl.models import build_algorithm
from mmssl.models.utils import ExtractProcess, MultiExtractProcess
from mmssl.utils import dist_forward_collect, gather_tensors, gather_tensors_batch, nondist_forward_collect


def gathered(rank, world_size):
    array = np.arange(6 * (rank + 1), dtype=np.float32).reshape(-1, 2) + 100 * rank
    whole, parts = gather_tensors(array), gather_tensors_batch(array, part_size=2)
    return whole, parts, gather_tensors_batch(array, part_size=4, ret_rank=1), array


def test_arrays_of_unequal_length(run_distributed):
    (whole, parts, nothing, first), (whole_1, parts_1, there, second) = run_distributed(gathered)
    assert nothing is None
    for found in (whole, parts, whole_1, parts_1, there):
        np.testing.assert_array_equal(found[0], first)
        np.testing.assert_array_equal(found[1], second)
    alone = gather_tensors_batch(first, part_size=2)
    assert len(alone) == 1 and (alone[0] == first).all()


def func(img, idx):
    return dict(double=2 * img, minus=-img[:, 0])


def batches(indices, size=2):
    indices = torch.tensor(indices)
    return [dict(img=torch.stack([part, part], 1).float(), idx=part) for part in indices.split(size)]


def collected(rank, world_size):
    mine = batches([[4, 0, 2], [1, 3, 0]][rank])  # sample 0 fills the second one's last batch
    return dist_forward_collect(func, mine, rank, 5), dist_forward_collect(func, mine, rank, 5, ret_rank=0)


def test_order_of_the_data_set(run_distributed):
    """Scrambled and repeated rows are a known fault of several processes."""
    expected = nondist_forward_collect(func, batches(range(5)), 5)
    assert expected['double'].shape == (5, 2) and (expected['minus'] == -np.arange(5)).all()
    (both, first), (both_1, nothing) = run_distributed(collected)
    assert nothing is None
    for found in (both, both_1, first):
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])


def test_wrong_numbers_of_samples():
    with pytest.raises(ValueError, match='double has 5 rows, expected 6'):
        nondist_forward_collect(func, batches(range(5)), 6)
    with pytest.raises(ValueError, match='5 samples from 0 to 4 were seen, expected 0 to 5'):
        dist_forward_collect(func, batches(range(5)), 0, 6)
    with pytest.raises(ValueError, match='batches must have idx'):
        dist_forward_collect(lambda img: dict(x=img), [dict(img=torch.ones(2))], 0, 2)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build_algorithm(
        dict(type='Classification', backbone=dict(type='ResNet', depth=18, out_indices=[0, 1, 2, 3, 4])))


def test_extract_process(model):
    images = torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    data = [dict(img=img, idx=i) for i, img in enumerate(images)]
    loader = torch.utils.data.DataLoader(data, batch_size=2)
    single, several = ExtractProcess(), MultiExtractProcess('adaptive', 'resnet18')
    found = {**single.extract(model, loader), **several.extract(model, loader)}
    with torch.no_grad():
        maps = model.eval().extract_feat(images)
    np.testing.assert_allclose(found['feat'], maps[-1].mean((2, 3)).numpy(), rtol=1e-4, atol=1e-6)
    for i, size in enumerate((12, 6, 4, 3, 2)):
        expected = torch.nn.functional.adaptive_avg_pool2d(maps[i], size).flatten(1).numpy()
        np.testing.assert_allclose(found[f'feat{i + 1}'], expected, rtol=1e-4, atol=1e-5)
