"""The tests of tests/gpu run on a GPU. `--device fake` tries them on an imitation, see tests/test_cuda/fake.py, and
`--device cpu` those marked `real`, which it cannot run; make test does both with a few."""
import os
import sys
from pathlib import Path

os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # sums of matrix products in one order

import pytest  # noqa: E402
import torch  # noqa: E402

from mmssl.utils import dist  # noqa: E402

HERE = Path(__file__).resolve().parent
for folder in ('test_core', 'test_cuda', 'test_datasets', 'test_evaluation', 'test_models'):  # whose helpers are taken
    sys.path.append(str(HERE.parent / folder))


def pytest_generate_tests(metafunc):
    if 'device' in metafunc.fixturenames:
        metafunc.parametrize('device', ['cuda', 'fake', 'cpu'], indirect=True, scope='function')


def wanted(item, device, chosen):
    """Whether a test shall run on a device: the one that was asked for, else a GPU, and where it is rehearsed."""
    if device == 'fake' and item.get_closest_marker('real') is not None:
        return False
    if chosen or device == 'cuda':
        return device == (chosen or 'cuda')
    rehearsal = 'cpu' if item.get_closest_marker('real') is not None else 'fake'
    return device == rehearsal and item.get_closest_marker('rehearsed') is not None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    left_out = []
    for item in items:
        if HERE in item.path.parents:
            device = item.callspec.params['device']
            if device == 'cuda':
                item.add_marker('gpu')
            if not wanted(item, device, config.getoption('--device')):
                left_out.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


@pytest.fixture
def device(request, monkeypatch):
    """Where the toolbox computes in this test, without TF32 and with kernels whose sums have one order."""
    if request.param == 'cuda' and not torch.cuda.is_available():
        pytest.skip('needs an NVIDIA GPU, and torch finds none here')
    device = torch.device('cpu') if request.param == 'cpu' else torch.device('cuda', 0)
    monkeypatch.setattr(dist, '_device', device)
    if request.param == 'fake':
        from fake import FakeCuda
        monkeypatch.setattr(torch.cuda, '_sleep', lambda cycles: None)
        with FakeCuda():
            yield device
        return
    torch.cuda.manual_seed_all(0)  # which is for later where there is no GPU
    # products of matrices are in full float32 by torch's default, convolutions are not
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield device
