"""The tests of tests/gpu run on a GPU. `--device cpu` tries the tests themselves, and make test does so with a few."""
import os
import sys
from pathlib import Path

os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # sums of matrix products in one order

import pytest  # noqa: E402
import torch  # noqa: E402

from mmssl.utils import dist  # noqa: E402

HERE = Path(__file__).resolve().parent
for folder in ('test_core', 'test_datasets', 'test_evaluation', 'test_models'):  # whose helpers are taken
    sys.path.append(str(HERE.parent / folder))


def pytest_generate_tests(metafunc):
    if 'device' in metafunc.fixturenames:
        metafunc.parametrize('device', ['cuda', 'cpu'], indirect=True, scope='function')


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Of each test that on the GPU, marked gpu; of those marked rehearsed that on the CPU; or what --device says."""
    chosen, left_out = config.getoption('--device'), []
    for item in items:
        if HERE not in item.path.parents:
            continue
        device = item.callspec.params['device']
        if device == 'cuda':
            item.add_marker('gpu')
        if device != chosen if chosen else device == 'cpu' and item.get_closest_marker('rehearsed') is None:
            left_out.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


@pytest.fixture
def device(request, monkeypatch):
    """Where the toolbox computes in this test, without TF32 and with kernels whose sums have one order."""
    if request.param == 'cuda' and not torch.cuda.is_available():
        pytest.skip('needs an NVIDIA GPU, and torch finds none here')
    device = torch.device('cuda', 0) if request.param == 'cuda' else torch.device('cpu')
    monkeypatch.setattr(dist, '_device', device)
    torch.cuda.manual_seed_all(0)  # which is for later where there is no GPU
    # products of matrices are in full float32 by torch's default, convolutions are not
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield device
