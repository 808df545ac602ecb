"""The torch profiler as a setting: what it records of which iterations, and that old settings still work."""
import gzip
import json
from types import SimpleNamespace

import pytest
from mmcv.runner.hooks import ProfilerHook as MMCVProfilerHook
from test_runner import Linear, numbers, plain_runner
from torch.autograd import DeviceType

from mmssl.utils.errors import ConfigError
from mmssl.utils.recording import Recording


class Asking(Linear):
    """A model that wants numbers in each iteration, and ten times as many in the first two."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, data):
        self.seen += 1
        loss = super().forward(data)
        for _ in range(10 if self.seen < 3 else 1):
            loss = loss + data.sum().item() * 0 + data.max().item() * 0
        return loss


def train(folder, setting, start=0, model=None):
    runner = plain_runner(folder, dict(type='EpochBasedRunner', max_epochs=2), model or Asking())
    messages = []
    runner.logger = SimpleNamespace(
        info=lambda text, *args: messages.append(text % args), warning=lambda text, *args: messages.append(text % args))
    runner.register_optimizer_hook({})
    runner.register_profiler_hook(setting)
    runner._iter = start
    runner.run([numbers(4)], [('train', 1)])
    return runner, messages


@pytest.mark.parametrize('start', [2, 1])
def test_trace_and_table(tmp_path, start):
    """Exactly the iterations that were asked for are recorded, also over the end of an epoch."""
    _, messages = train(tmp_path, dict(start=start, iterations=4, rows=100))
    path = tmp_path / 'profile' / f'iter_{start + 1}-{start + 4}_rank0.json.gz'
    names = [event.get('name') for event in json.loads(gzip.open(path).read())['traceEvents']]
    assert sum(name.startswith('ProfilerStep#') for name in names) == 4
    asked = 4 if start == 2 else 10 + 1 + 1 + 1
    for phase, times in (('wait for data', 4), ('forward and loss', 4), ('backward', 4), ('optimizer', 4), ('hooks',
                                                                                                            12)):
        assert names.count(phase) == times, phase
    assert names.count('aten::max') == asked and names.count('aten::linear') == 4
    table, = [text for text in messages if text.startswith('4 iterations of')]
    rows = {line.rsplit(maxsplit=3)[0]: line.rsplit(maxsplit=3) for line in table.splitlines()[2:-1]}
    assert rows['aten::max'][3] == f'{asked / 4:.1f}' and rows['aten::linear'][3] == '1.0'
    shares = [float(row[1].rstrip('%')) for row in rows.values()]
    assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 100.5
    assert table.endswith(f'what ran when is in {path}: open it at https://ui.perfetto.dev or chrome://tracing')


def test_what_cannot_be_recorded(tmp_path):
    with pytest.raises(ConfigError, match='records 5 iterations behind the first 4, and the training has 8: lower'):
        train(tmp_path, dict(start=4, iterations=5))
    runner, messages = train(tmp_path, dict(start=4, iterations=4), start=3)
    assert runner.iter == 8 + 3 and not (tmp_path / 'profile').exists()
    assert any(text.endswith('and the training has 5 left: nothing is recorded') for text in messages)
    with pytest.raises(ConfigError, match='profiler_config.iterations .* 0'):
        train(tmp_path, dict(iterations=0))

    class Failing(Linear):
        fails = 3

        def forward(self, data):
            self.fails -= 1
            if self.fails < 0:
                raise RuntimeError('no')
            return super().forward(data)

    with pytest.raises(RuntimeError, match='no'):
        train(tmp_path, dict(start=1, iterations=4), model=Failing())
    assert not (tmp_path / 'profile').exists()
    train(tmp_path, dict(start=1, iterations=4))  # that profiler has ended, else torch refuses another
    assert (tmp_path / 'profile').exists()


def test_settings_of_mmcv(tmp_path):
    trace = tmp_path / 'trace.json'
    runner, _ = train(tmp_path, dict(by_epoch=False, profile_iters=2, activities=['cpu'], json_trace_path=str(trace)))
    assert isinstance(runner.hooks[-1], MMCVProfilerHook)
    assert sum(event.get('name') == 'aten::linear' for event in json.loads(trace.read_text())['traceEvents']) == 2


def event(key, device=0., host=0., count=1, kind=DeviceType.CPU, annotation=False):
    return SimpleNamespace(
        key=key,
        count=count,
        device_type=kind,
        is_user_annotation=annotation,
        self_device_time_total=device,
        self_cpu_time_total=host,
        cpu_time_total=host)


def test_of_a_gpu():
    """Shares are those of kernels, which count once; ranges on the GPU's own line are no kernels."""
    gpu = dict(kind=DeviceType.CUDA)
    found = Recording([
        event('ProfilerStep*', host=4000., count=2, annotation=True),
        event('ProfilerStep*', device=3500., count=2, annotation=True, **gpu),
        event('aten::mm', device=2000., host=300., count=8),
        event('aten::add', device=1000., host=900., count=4),
        event('gemm_kernel', device=2000., count=8, **gpu),
        event('add_kernel', device=900., count=4, **gpu),
        event('Memcpy DtoH (Device -> Pageable)', device=100., count=4, **gpu),
        event('cudaStreamSynchronize', host=50., count=6),
        event('cudaDeviceSynchronize', host=50., count=1),
        event('aten::_local_scalar_dense', host=50., count=4),
    ], 2)
    assert found.seconds == pytest.approx(2e-3) and found.device_share == pytest.approx(0.75)
    first, second = found.top(2)
    assert (first['name'], first['calls']) == ('aten::mm', 4.) and first['milliseconds'] == pytest.approx(1.)
    assert first['share'] == pytest.approx(2 / 3) and second['share'] == pytest.approx(1 / 3)
    assert found.waits() == {'cudaStreamSynchronize': 3., 'copies to pageable memory': 2.}
    assert found.table(1).startswith('2 iterations of 2.0 ms; the GPU computes in 75% of that time')
