"""Trackers of experiments: what they are told, under which names, when runs begin, go on and end."""
import importlib.util
import json
import random
import sys
from importlib.machinery import ModuleSpec
from unittest.mock import MagicMock

import mmcv
import numpy as np
import pytest
import torch
from mmcv.runner.hooks import Hook
from test_runner import plain_runner
from test_stages import Squares
from torch.utils.data import DataLoader

from mmssl.core.hooks.any_runner import log_evaluation
from mmssl.core.hooks.histogram_hook import histogram_of
from mmssl.core.hooks.trackers import send_to_trackers
from mmssl.core.hooks.trackers.base import as_number, flat, plain
from mmssl.utils.errors import ConfigError


class Evaluation(Hook):
    """A figure of an evaluation after each epoch, and one in the midst of the second; notes the losses."""

    def __init__(self, stop=None):
        self.stop, self.losses = stop, {}

    def after_train_iter(self, runner):
        self.losses[runner.iter + 1] = float(runner.outputs['loss'].detach())
        if runner.iter == 4:
            log_evaluation(runner, dict(score=0.4))
            if self.stop is not None:
                raise self.stop

    def after_train_epoch(self, runner):
        send_to_trackers(runner, 'write_histogram', 'parameters/a', histogram_of(torch.arange(9.), 4), runner.iter)
        send_to_trackers(runner, 'write_image', 'views', np.zeros((4, 5, 3), np.uint8), runner.iter)
        log_evaluation(runner, dict(score=0.1 * runner.iter, nothing=float('nan')), eval_iter_num=7)


def run(folder, stop=None, resume=None, rank=0, **tracker):
    torch.manual_seed(0)
    runner = plain_runner(folder, dict(type='EpochBasedRunner', max_epochs=2), Squares(),
                          dict(type='SGD', lr=0.1, momentum=0.8, weight_decay=0.01))
    runner._rank = rank
    runner.config = mmcv.Config(dict(model=dict(type='Squares'), optimizer=dict(lr=0.1), hooks=[dict(k=(1, 2))]))
    log = dict(interval=1, hooks=[dict(type='TextLoggerHook'), tracker])
    runner.register_training_hooks(None, dict(grad_clip=dict(max_norm=9.)), dict(interval=1, create_symlink=False), log)
    runner.register_hook(Evaluation(stop), 'LOW')
    if resume:
        runner.resume(resume)
    loader = DataLoader(torch.randn(12, 3, generator=torch.Generator().manual_seed(0)), 4)
    if stop is None:
        runner.run([loader], [('train', 1)])
    else:
        with pytest.raises(type(stop)):
            runner.run([loader], [('train', 1)])
    return runner


def _steps(calls):
    """What was logged, as {name: {step: value}}, of calls with a dict and a step."""
    found = {}
    for call in calls:
        for name, value in call.args[0].items():
            found.setdefault(name, {})[call.kwargs['step']] = value
    return found


def _single(calls, name, value, step):
    """The same of calls with one value; `name`, `value` and `step` take them out of a call."""
    found = {}
    for call in calls:
        found.setdefault(name(call), {})[step(call)] = value(call)
    return found


class _Series(dict):
    """What a run of Neptune is: series and fields by name."""

    def __missing__(self, key):
        self[key] = MagicMock()
        return self[key]

    stop = MagicMock()


def wandb(module):
    made = module.init.return_value
    made.id = 'id1'
    return dict(
        start=lambda: module.init.call_args.kwargs,
        config=lambda: module.init.call_args.kwargs['config'],
        goes_on=lambda: module.init.call_args.kwargs['id'],
        logged=lambda: _steps(made.log.call_args_list),
        end=lambda: {0: 'finished', 1: 'failed or stopped'}[made.finish.call_args.kwargs['exit_code']])  # yapf: disable


def mlflow(module):
    module.start_run.return_value.info.run_id = 'id1'
    states = dict(FINISHED='finished', FAILED='failed', KILLED='stopped')
    return dict(
        config=lambda: module.log_dict.call_args.args[0],
        goes_on=lambda: module.start_run.call_args.kwargs['run_id'],
        logged=lambda: _steps(module.log_metrics.call_args_list),
        end=lambda: states[module.end_run.call_args.args[0]])


def clearml(module):
    task = module.Task.init.return_value
    task.id = 'id1'
    logger = task.get_logger.return_value
    return dict(
        config=lambda: task.connect_configuration.call_args.args[0],
        goes_on=lambda: module.Task.init.call_args.kwargs['continue_last_task'],
        logged=lambda: _single(logger.report_scalar.call_args_list, lambda c: '/'.join(dict.fromkeys(c.args[:2])),
                               lambda c: c.args[2], lambda c: c.args[3]),
        end=lambda: task.close.called and ('failed' if task.mark_failed.called else 'finished or stopped'))


def neptune(module):
    made = _Series()
    module.init_run.return_value = made
    sys.modules['neptune.utils'].stringify_unsupported = lambda config: config
    return dict(
        config=lambda: made['config'],
        goes_on=lambda: module.init_run.call_args.kwargs['custom_run_id'],
        logged=lambda: {
            name: {c.kwargs['step']: c.args[0] for c in series.append.call_args_list}
            for name, series in made.items() if isinstance(series, MagicMock)},
        end=lambda: made['status'])  # yapf: disable


def comet_ml(module):
    made = module.start.return_value
    made.get_key.return_value = 'id1'
    return dict(
        config=lambda: made.log_parameters.call_args.args[0],
        goes_on=lambda: module.start.call_args.kwargs['experiment_key'],
        logged=lambda: _steps(made.log_metrics.call_args_list),
        end=lambda: made.end.called and made.log_other.call_args.args[1])


def aim(module):
    made = module.Run.return_value
    made.hash = 'id1'
    fields = {}
    made.__setitem__.side_effect = fields.__setitem__
    return dict(
        config=lambda: fields['config'],
        goes_on=lambda: module.Run.call_args.kwargs['run_hash'],
        logged=lambda: _single(made.track.call_args_list,
                               lambda c: '/'.join([*c.kwargs.get('context', {}).values(), c.kwargs['name']]),
                               lambda c: c.args[0], lambda c: c.kwargs['step']),
        end=lambda: made.close.called and fields['status'])  # yapf: disable


def dvclive(module):
    made = module.Live.return_value
    logged = {}
    made.log_metric.side_effect = lambda name, value: logged.setdefault(name, {}).update({made.step: value})
    return dict(
        config=lambda: made.log_params.call_args.args[0],
        goes_on=lambda: module.Live.call_args.kwargs['resume'] and 'id1',
        logged=lambda: logged,
        end=lambda: made.end.called and 'finished, failed or stopped')


TRACKERS = dict(
    WandbLoggerHook=wandb,
    MlflowLoggerHook=mlflow,
    ClearMLLoggerHook=clearml,
    NeptuneLoggerHook=neptune,
    CometLoggerHook=comet_ml,
    AimLoggerHook=aim,
    DvcliveLoggerHook=dvclive)


def _imitate(monkeypatch, name):
    """Put an imitation of a library in its place."""
    library = TRACKERS[name].__name__
    for module in (library, f'{library}.utils'):
        imitation = MagicMock()
        imitation.__spec__ = ModuleSpec(module, None)
        monkeypatch.setitem(sys.modules, module, imitation)
    return TRACKERS[name](sys.modules[library])


@pytest.mark.parametrize('name', TRACKERS)
def test_what_a_tracker_is_told(name, tmp_path, monkeypatch, caplog):
    told = _imitate(monkeypatch, name)
    runner = run(tmp_path, type=name)
    assert not [record for record in caplog.records if 'LoggerHook cannot' in record.getMessage()]
    config = told['config']()
    assert config.get('model.type') == 'Squares' or config['model']['type'] == 'Squares'
    logged = told['logged']()
    losses = next(hook for hook in runner.hooks if isinstance(hook, Evaluation)).losses
    assert logged['train/loss'] == pytest.approx(losses)
    assert logged['val/score'] == pytest.approx({3: 0.3, 5: 0.4, 6: 0.6})
    assert logged['learning_rate'] == {step: 0.1 for step in range(1, 7)}
    assert logged['momentum'][6] == 0.8 and logged['weight_decay'][6] == 0.01 and logged['epoch'][6] == 2
    for key in ('grad_norm', 'time', 'data_time', 'img_per_sec', 'data_share', 'memory', 'eta_hours'):
        assert list(logged[f'train/{key}']) == [1, 2, 3, 4, 5, 6], key
    assert logged['train/batch_size'][1] == 4
    assert not {'val/nothing', 'val/eval_iter_num', 'train/score', 'val/loss'} & set(logged)
    assert 'finished' in told['end']()
    told = _imitate(monkeypatch, name)
    run(tmp_path, resume=tmp_path / 'epoch_1.pth', type=name)
    state = next(hook for hook in runner.hooks if type(hook).__name__ == name).state_dict()
    assert told['goes_on']() == (state['run_id'] or 'id1')
    assert sorted(told['logged']()['train/loss']) == [4, 5, 6]
    for stop, status in ((RuntimeError('x'), 'failed'), (KeyboardInterrupt(), 'stopped')):
        told = _imitate(monkeypatch, name)
        run(tmp_path, stop, type=name)
        assert status in told['end']()


def test_names_that_a_library_draws(tmp_path, monkeypatch):
    """Comet's files of a resumed training had the name of the first ones, since the seed was that of the training."""
    _imitate(monkeypatch, 'CometLoggerHook')
    made, drawn = sys.modules['comet_ml'].start.return_value, []
    sys.modules['comet_ml'].start.side_effect = lambda **options: drawn.append(random.random()) or made
    for _ in range(2):
        random.seed(0)
        run(tmp_path, type='CometLoggerHook')
        after = random.random()
        random.seed(0)
        assert random.random() == after
    assert drawn[0] != drawn[1]


def test_only_rank_0_has_a_tracker(tmp_path, monkeypatch):
    told = _imitate(monkeypatch, 'MlflowLoggerHook')
    run(tmp_path, rank=1, type='MlflowLoggerHook')
    assert not sys.modules['mlflow'].start_run.called and told['logged']() == {}


def test_trackers_that_fail(tmp_path, monkeypatch, caplog):
    """A fault at the start is told with the way out; one in the midst of a training does not end it."""
    with pytest.raises(ConfigError, match='WandbLoggerHook needs a library that is not installed: pip install wandb'):
        monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
        run(tmp_path, type='WandbLoggerHook')
    monkeypatch.undo()
    _imitate(monkeypatch, 'WandbLoggerHook')
    sys.modules['wandb'].init.side_effect = RuntimeError('no key')
    with pytest.raises(ConfigError, match='WandbLoggerHook cannot begin: .*no key.*; without a network: .*WANDB_MODE'):
        run(tmp_path, type='WandbLoggerHook')
    _imitate(monkeypatch, 'WandbLoggerHook')
    sys.modules['wandb'].init.return_value.log.side_effect = ConnectionError('the server is away')
    sys.modules['wandb'].init.return_value.finish.side_effect = ConnectionError('the server is away')
    assert run(tmp_path, type='WandbLoggerHook').iter == 6
    assert len([r for r in caplog.records if 'the server is away' in r.getMessage()]) == 1


def _events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def test_tensorboard_files(tmp_path):
    """All that is logged is in the file; after a resume nothing is there twice that was written before."""
    runner = run(tmp_path, RuntimeError('x'), type='TensorboardLoggerHook')
    losses = next(hook for hook in runner.hooks if isinstance(hook, Evaluation)).losses
    assert [e.step for e in _events(tmp_path / 'tf_logs').Scalars('train/loss')] == [1, 2, 3, 4]
    run(tmp_path, resume=tmp_path / 'epoch_1.pth', type='TensorboardLoggerHook')
    events = _events(tmp_path / 'tf_logs')
    found = {e.step: e.value for e in events.Scalars('train/loss')}
    assert len(events.Scalars('train/loss')) == 6 and {k: found[k] for k in losses} == pytest.approx(losses)
    assert [(e.step, round(e.value, 6)) for e in events.Scalars('val/score')] == [(3, 0.3), (5, 0.4), (6, 0.6)]
    text = events.Tensors('config/text_summary')[0].tensor_proto.string_val[0].decode()
    assert json.loads(text.strip('`json\n'))['model'] == {'type': 'Squares'}
    histogram = events.Tensors('parameters/a')[0] if 'parameters/a' in events.Tags()['tensors'] else None
    histogram = histogram or events.Histograms('parameters/a')[0].histogram_value
    assert (histogram.num, histogram.sum, histogram.min, histogram.max) == (9, 36, 0, 8)
    assert sum(histogram.bucket) == 9
    image = events.Images('views')[0]
    assert (image.width, image.height) == (5, 4)


def test_configs_for_trackers():
    config = plain(mmcv.Config(dict(a=dict(b=[dict(c=1), dict(c=2)], d=(1, 2)), e=torch.float16, f=None))._cfg_dict)
    assert flat(config) == {'a.b.0.c': 1, 'a.b.1.c': 2, 'a.d': '[1, 2]', 'e': 'torch.float16', 'f': None}
    values = [1, True, 2.5, float('inf'), float('nan'), 'a', None, torch.tensor(3), torch.ones(2), 1j]
    assert [as_number(value) for value in values] == [1., 1., 2.5, None, None, None, None, 3., None, None]
