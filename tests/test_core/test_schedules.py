# Copyright (c) mmssl contributors. All rights reserved.
"""Shapes of schedules against their formulas, and chains of them."""
import copy
import logging
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmssl.core import schedules
from mmssl.core.hooks import CompositeLrUpdaterHook, MomentumUpdateHook, ScheduleHook
from mmssl.core.hooks.group_schedules import check_schedules
from mmssl.core.optimizer import build_optimizer
from mmssl.core.optimizer.state import load_optimizer
from mmssl.core.runner import EpochBasedRunner
from mmssl.core.schedule_preview import describe_curves, preview
from mmssl.core.schedules import Chain
from mmssl.utils.errors import ConfigError

TOTAL, EPOCH = 1000, 100


def curve(*parts, total=TOTAL, epoch=EPOCH):
    value = Chain(parts).fit(total, epoch)
    return [value(i) for i in range(total)]


def half(w, start, end):
    return end + .5 * (start - end) * (1 + math.cos(math.pi * w))


@pytest.mark.parametrize('part, formula', [
    (dict(type='constant', value=.3), lambda w: .3),
    (dict(type='linear', start=.6, end=4.8), lambda w: 4.8 * w + .6 * (1 - w)),
    (dict(type='cosine', start=.15, end=.0), lambda w: .075 * (1 + math.cos(math.pi * w))),
    (dict(type='exponential', start=.2, end=.002), lambda w: .2 * .01**w),
    (dict(type='polynomial', start=.1, power=2.), lambda w: .1 * (1 - w)**2),
    (dict(type='step', values=[.1, .01, .001, .5]), lambda w: [.1, .01, .001, .5][int(4 * w + 1e-9)]),
    (dict(type='step', values=[.01, .001], milestones=[.3]), lambda w: .01 if w < .3 else .001),
    (dict(type='step', values=[.01, .3, .001], milestones=[1, 4], epochs=10), lambda w: .01 if w < .1 else .3
     if w < .4 else .001),
    (dict(type='step', values=[.01, .001], milestones=[7], iterations='rest'), lambda w: .01 if w < .007 else .001),
    (dict(type='inverse_sqrt', start=4.8, hold=.1), lambda w: 4.8 * math.sqrt(.1 / max(w, .1))),
    (dict(type='cosine_restart', start=.15, end=.00015, period=.5), lambda w: half(w % .5 / .5, .15, .00015)),
    (dict(type='cosine_restart', start=.15, end=.00015, period=.25,
          multiplier=.5), lambda w: half(w % .25 / .25, .15 * .5**int(w / .25), .00015)),
    (dict(type='cosine_restart', start=.15, end=.00015, period=2, epochs=10,
          adaptive=True), lambda w: half(w % .2 / .2, half(int(w / .2 + 1e-9) * .2, .15, .00015), .00015)),
    (dict(type='cosine_restart', start=4.8, end=.0048, period=.334, wave='full'), lambda w: half(w / .334, 4.8, .0048)),
    (dict(type='cosine_restart', start=4.8, end=.0048, period=.2, wave='full',
          multiplier=.5), lambda w: half(w / .2, 4.8 * .5**int((w + .2) / .4 + 1e-9), .0048)),
    (dict(type='cosine_restart', start=4.8, end=.0048, period=.2, wave='full', adaptive=True),
     lambda w: half(w / .2, 4.8 if w < .2 else half(.2, 4.8, .0048) if w < .6 - 1e-9 else half(.6, 4.8, .0048), .0048)),
])
def test_shapes(part, formula):
    found = curve(part)
    assert found == pytest.approx([formula(i / TOTAL) for i in range(TOTAL)], abs=1e-12)


def test_a_shape_of_ones_own(monkeypatch):
    """A function that a user registers is checked, counted and drawn as ours."""
    monkeypatch.setattr(schedules, 'SHAPES', dict(schedules.SHAPES))

    @schedules.register_shape
    def sawtooth(share, start, end, period):
        return start + (end - start) * (share % period) / period

    found = curve(
        dict(type='constant', value=2., epochs=4), dict(type='sawtooth', start=1., end=3., period=2, epochs='rest'))
    assert found == pytest.approx([2.] * 400 + [1 + 2 * (i % 200) / 200 for i in range(600)], abs=1e-9)
    with pytest.raises(ConfigError, match="takes no 'perod'.*'period'"):
        Chain([dict(type='sawtooth', start=1., end=3., perod=.5)])
    with pytest.raises(ConfigError, match='from 0 on, got -1'):
        Chain([dict(type='sawtooth', start=1., end=-1, period=.5)], lowest=0)
    with pytest.raises(ConfigError, match="there is a shape 'cosine' already"):

        @schedules.register_shape
        def cosine(share):
            return share


def test_restarts_of_vissl():
    """Three kinds of restart, at half of the training and from 0.15 (VISSL's figures)."""
    part = dict(type='cosine_restart', start=.15, end=.00015, period=.5)
    found = [curve({**part, **kind}) for kind in ({}, dict(multiplier=.5), dict(adaptive=True))]
    assert [values[499] for values in found] == pytest.approx([.00015] * 3, abs=1e-5)
    assert [values[500] for values in found] == pytest.approx([.15, .075, .075075])


def test_chain_of_a_billion_images():
    """Two warm-ups and two cosines, whose shares make 1.00008: the second warm-up is as written, not overwritten."""
    lengths = [.0256, .48722, .0256, .46166]
    value = Chain([
        dict(type='linear', start=.6, end=4.8, length=lengths[0]),
        dict(type='cosine', start=4.8, end=.0048, length=lengths[1]),
        dict(type='linear', start=.0048, end=2.114, length=lengths[2]),
        dict(type='cosine', start=2.114, end=.0048, length=lengths[3]),
    ]).fit(100000, 100000)
    assert [value(i) for i in (0, 1280, 2560, 26921, 51282, 52562, 53842)
            ] == pytest.approx([.6, 2.7, 4.8, 2.4024, .0048, (.0048 + 2.114) / 2, 2.114], rel=1e-4)
    assert value(99999) == pytest.approx(.0048, rel=.02)


def test_warm_up_and_inverse_root():
    """The usual rate of transformers: up along a line, then one over the root of all iterations."""
    found = curve(dict(type='linear', start=0., end=2., iterations=40), dict(type='inverse_sqrt', start=2.))
    assert found == pytest.approx([2 * min(i / 40, math.sqrt(40 / max(i, 1))) for i in range(TOTAL)])


def test_times_within_a_part():
    """Counted from the begin of the part, in its own unit; the first iteration of a part has its first value."""
    parts = [
        dict(type='constant', value=.5, epochs=2),
        dict(type='step', values=[3., 2.], milestones=[1], epochs=4),
        dict(type='cosine_restart', start=1., end=0., period=50, iterations=100),
        dict(type='step', values=[.4, .1], milestones=[.5])
    ]
    expected = [.5] * 200 + [3.] * 100 + [2.] * 300 + 2 * [half(i / 50, 1., 0.) for i in range(50)]
    assert curve(*parts) == pytest.approx(expected + [.4] * 150 + [.1] * 150)


def test_position_in_the_training():
    """VISSL's interval "fixed": the cosine after a tenth of warm-up begins at 97.6 % of its height."""
    parts = dict(type='linear', start=.6, end=4.8, length=.1), dict(type='cosine', start=4.8, end=.0048)
    assert curve(*parts)[100] == pytest.approx(4.8)
    fixed = curve(parts[0], dict(parts[1], position='training'))
    assert fixed[100:] == pytest.approx([half(i / TOTAL, 4.8, .0048) for i in range(100, TOTAL)])
    assert fixed[100] == pytest.approx(.976 * 4.8, rel=1e-3)


@pytest.mark.parametrize('parts, words', [
    ([], 'parts is a list'),
    ([dict(type='lineal', start=0, end=1)], "did you mean 'linear'"),
    ([dict(type='linear', start=0)], "linear needs the argument 'end'"),
    ([dict(type='linear', start=0, end='1')], 'linear'),
    ([dict(type='linear', start=0, end=-1)], 'finite numbers from 0 on, got -1'),
    ([dict(type='constant', value=1, lenght=.1)], "did you mean 'length'"),
    ([dict(type='constant', value=1, length=.1, epochs=1)], 'one of length, epochs, iterations'),
    ([dict(type='constant', value=1, length=2)], 'a share of the training'),
    ([dict(type='constant', value=1), dict(type='constant', value=1)], 'the rest is for one'),
    ([dict(type='step', values=[1, 2], milestones=[.1, .2])], 'one value more than milestones'),
    ([dict(type='exponential', start=1, end=0)], 'above 0'),
    ([dict(type='cosine_restart', start=1, end=0, period=.1, adaptive=True, multiplier=2.)], 'no multiplier'),
    ([dict(type='constant', value=1, length=.9)], 'take 900 of 1000 iterations'),
    ([dict(type='constant', value=1, epochs=10),
      dict(type='constant', value=1)], 'leaves nothing'),
    ([dict(type='inverse_sqrt', start=1)], 'needs `hold`'),
])
def test_refused(parts, words):
    with pytest.raises(ConfigError, match=words):
        Chain(parts, lowest=0).fit(TOTAL, EPOCH)


def fake_runner(epochs=4, length=5, lr=2.):
    model = nn.Linear(2, 2)
    model.temperature = .5
    groups = [dict(params=[model.weight]), dict(params=[model.bias], lr=lr / 10, weight_decay=.5)]
    return SimpleNamespace(
        model=model,
        optimizer=torch.optim.SGD(groups, lr=lr, weight_decay=.1),
        data_loader=range(length),
        iter=0,
        epoch=0,
        max_epochs=epochs,
        max_iters=epochs * length,
        logger=SimpleNamespace(info=lambda *args: None),
        hooks=[])


def run(hook, runner, start=0):
    hook.before_run(runner)
    for runner.iter in range(start, runner.max_iters):
        runner.epoch, batch = divmod(runner.iter, 5)
        if batch == 0 or runner.iter == start:
            hook.before_train_epoch(runner)
        hook.before_train_iter(runner)
        yield [(group['lr'], group['weight_decay']) for group in runner.optimizer.param_groups]


def test_rates_of_groups():
    parts = [dict(type='linear', start=.5, end=2., epochs=1), dict(type='cosine', start=2., end=0.)]
    expected = curve(*parts, total=20, epoch=5)
    rates = list(run(CompositeLrUpdaterHook(parts), fake_runner()))
    assert [first for (first, _), _ in rates] == pytest.approx(expected)
    assert [second for _, (second, _) in rates] == pytest.approx([value / 10 for value in expected])
    factors = [dict(type='linear', start=.25, end=1., epochs=1), dict(type='cosine', start=1., end=0.)]
    assert [r for r, _ in rates
            ] == [pytest.approx(r) for r, _ in run(CompositeLrUpdaterHook(factors, relative=True), fake_runner())]
    by_epoch = list(run(CompositeLrUpdaterHook(parts, by_epoch=True), fake_runner()))
    assert [r for (r, _), _ in by_epoch] == pytest.approx([expected[i // 5 * 5] for i in range(20)])

    # from the checkpoint of iteration 7, whose groups have the rates of that time
    runner, resumed = fake_runner(), fake_runner()
    steps = run(CompositeLrUpdaterHook(parts), runner)
    for _ in range(7):
        next(steps)
    resumed.optimizer.load_state_dict(runner.optimizer.state_dict())
    assert list(run(CompositeLrUpdaterHook(parts), resumed, 7)) == rates[7:]
    with pytest.raises(ConfigError, match='set it to the highest'):
        next(run(CompositeLrUpdaterHook(parts), fake_runner(lr=0.)))


def test_other_numbers_follow_chains():
    parts = [dict(type='constant', value=.2, epochs=1), dict(type='exponential', start=.2, end=.8)]
    expected = curve(*parts, total=20, epoch=5)
    decays = run(ScheduleHook('optimizer.weight_decay', parts=parts), fake_runner())
    assert [(a, b) for (_, a), (_, b) in decays] == [pytest.approx((v, 5 * v)) for v in expected]
    runner = fake_runner()
    temperatures = [runner.model.temperature for _ in run(ScheduleHook('temperature', parts=parts), runner)]
    assert temperatures == pytest.approx(expected)
    for wrong in (dict(start=1), dict(parts=parts, start=1, end=2), dict(parts=parts, epochs=3), {}):
        with pytest.raises(ConfigError, match='ScheduleHook'):
            ScheduleHook('temperature', **wrong)


def of_groups(cfg, hooks=(), **runner_settings):
    """A runner of ours with a backbone and a head, which has its rate, decay and schedule by paramwise_options."""
    model = nn.ModuleDict(dict(backbone=nn.Linear(2, 2), head=nn.Linear(2, 2), predictor=nn.Linear(2, 2)))
    optimizer = build_optimizer(
        model,
        dict(
            type='SGD',
            lr=2.,
            weight_decay=.1,
            paramwise_options={
                'backbone.bias': dict(lr_mult=.5),
                'head': dict(lr=.4, weight_decay=.3, schedule='head'),
                'head.bias': dict(weight_decay=0.),
                'predictor': dict(fix_lr=True),
            }))
    model.train_step = None
    logger = logging.getLogger('groups')
    runner = EpochBasedRunner(model=model, optimizer=optimizer, logger=logger, max_epochs=4, **runner_settings)
    runner._max_iters, runner.data_loaders, runner.data_loader = 20, [range(5)], range(5)
    runner.register_lr_hook(cfg)
    for hook in hooks:
        runner.register_hook_from_cfg(hook)
    return runner


def follow(runner, start=0):
    """Rate and decay of each group by its first parameter, in each iteration."""
    check_schedules(runner)
    runner.call_hook('before_run')
    found = []
    for runner._iter in range(start, 20):
        runner._epoch = runner._iter // 5
        if runner._iter % 5 == 0:
            runner.call_hook('before_train_epoch')
        runner.call_hook('before_train_iter')
        found.append({g['names'][0]: (g['lr'], g['weight_decay']) for g in runner.optimizer.param_groups})
    return found


def test_schedule_of_its_own():
    """The head follows a chain, the backbone mmcv's cosine with a warm-up, each as it would alone."""
    parts = [dict(type='step', values=[.4, .04], milestones=[2], epochs='rest')]
    main = dict(policy='CosineAnnealing', min_lr_ratio=.1, by_epoch=False, warmup='linear', warmup_iters=6)
    hooks = [
        dict(type='SimSiamHook', fix_pred_lr=True, lr=.7),
        dict(type='ScheduleHook', target='optimizer.weight_decay', start=.1, end=.2),
        dict(type='ScheduleHook', target='optimizer.weight_decay', schedule='head', start=.3, end=.6),
    ]
    cfg = dict(main, schedules=dict(head=dict(policy='Composite', parts=parts)))
    runner = of_groups(cfg, hooks)
    found = follow(runner)
    alone = follow(of_groups(dict(main, schedules=dict(head=dict(policy='fixed'))), hooks[:1]))
    for i, (groups, single) in enumerate(zip(found, alone)):
        assert groups['backbone.weight'][0] == single['backbone.weight'][0] > 0
        assert groups['backbone.bias'][0] == pytest.approx(groups['backbone.weight'][0] / 2)
        assert groups['head.weight'][0] == groups['head.bias'][0] == (.4 if i < 10 else .04)
        assert single['head.weight'][0] == .4 and groups['predictor.weight'][0] == .7
        assert [decay for _, decay in groups.values()
                ] == pytest.approx([.1 + .005 * i] * 2 + [.3 + .015 * i, 0.] + [.1 + .005 * i])
    by_epoch = follow(
        of_groups(dict(policy='step', step=[2], schedules=dict(head=dict(policy='step', step=[3], gamma=.5)))))
    assert [groups['backbone.weight'][0] for groups in by_epoch] == pytest.approx([2.] * 10 + [.2] * 10)
    assert [groups['head.weight'][0] for groups in by_epoch] == [.4] * 15 + [.2] * 5

    # a resume from the checkpoint of the end, at an earlier iteration
    resumed = of_groups(cfg, hooks)
    state = copy.deepcopy(runner.optimizer.state_dict())
    load_optimizer(resumed.optimizer, state, runner._optimizer_settings[''], resumed._optimizer_settings[''], 'x')
    assert follow(resumed, 10) == found[10:]

    # and from a checkpoint of earlier versions, which noted the base of a schedule as a share of the optimizer's
    for group in state['param_groups']:
        group['weight_decay_share'] = group.pop('initial_weight_decay') / .1
    resumed = of_groups(cfg, hooks)
    load_optimizer(resumed.optimizer, state, runner._optimizer_settings[''], resumed._optimizer_settings[''], 'x')
    assert follow(resumed, 10) == found[10:]

    for wrong, words in ((main, "schedule='head', and there is no such schedule"),
                         (dict(main, schedules=dict(heed=dict(policy='fixed'))), "groups 'heed'.*did you mean 'head'"),
                         (dict(main, schedules=['head']), 'schedules has a schedule by the name'),
                         (dict(main, schedules=dict(head=dict(policy='cosin'))), "'cosin' is no policy")):
        with pytest.raises(ConfigError, match=words):
            follow(of_groups(wrong))
    with pytest.raises(ConfigError, match='schedule is a name'):
        build_optimizer(nn.Linear(2, 2), dict(type='SGD', lr=1., paramwise_options=dict(weight=dict(schedule=1))))


def test_preview():
    """What the log says at the start is what the hooks then do, and saying it changes nothing."""
    cfg = dict(
        policy='CosineAnnealing',
        min_lr_ratio=.1,
        warmup='linear',
        warmup_iters=1,
        warmup_by_epoch=True,
        schedules=dict(head=dict(policy='Composite', parts=[dict(type='linear', start=.4, end=.04)])))
    hooks = [
        dict(type='ScheduleHook', target='optimizer.weight_decay', start=.1, end=.2, mode='cosine'),
        dict(type='ScheduleHook', target='head.temperature', parts=[dict(type='step', values=[.2, .5, .1])]),
    ]
    runner = of_groups(cfg, hooks)
    runner.model['head'].temperature = 1.
    check_schedules(runner)
    runner.call_hook('before_run')
    before, hooks = copy.deepcopy(runner.optimizer.state_dict()), [dict(vars(hook)) for hook in runner.hooks]
    positions, curves = preview(runner, 5)
    assert [vars(hook) for hook in runner.hooks] == hooks
    assert runner.optimizer.state_dict() == before and runner.model['head'].temperature == 1.
    followed = follow(runner)
    assert positions == list(range(20))
    found = {(curve.name, curve.parts): curve.values for curve in curves}
    assert found['lr', ('backbone', 'predictor')] == [groups['backbone.weight'][0] for groups in followed]
    assert found['lr', ('head', )] == [groups['head.weight'][0] for groups in followed]
    assert found['weight_decay', ('backbone', 'predictor')] == [groups['backbone.weight'][1] for groups in followed]
    assert found['model.head.temperature', ()] == [.2] * 7 + [.5] * 7 + [.1] * 6
    lines = describe_curves(positions, curves, 5)
    assert 'lr of head: 0.4 at first, 0.058 at last' in lines
    assert 'model.head.temperature: 0.2 at first, 0.5 after 7 iterations (epoch 1.40), 0.1 at last' in lines

    # of a long training, the end of the warm-up and of the parts is met nevertheless
    runner = of_groups(dict(policy='Composite', parts=[dict(type='linear', start=0., end=2., iterations=3337),
                                                       dict(type='cosine', start=2., end=0.)],
                            schedules=dict(head=dict(policy='fixed'))))  # yapf: disable
    runner._max_iters = 100000
    runner.call_hook('before_run')
    positions, curves = preview(runner, 5, count=50)
    assert {0, 3336, 3337, 99999} <= set(positions) and len(positions) < 60
    assert curves[0].values[positions.index(3337)] == max(curves[0].values) == 2.

    runner = of_groups(dict(policy='CosineRestart', periods=[2, 1], restart_weights=[1, 1], min_lr=0.,
                            schedules=dict(head=dict(policy='fixed'))))  # yapf: disable
    runner.call_hook('before_run')
    with pytest.raises(ConfigError, match='CosineRestartLrUpdaterHook fails at iteration 16 of 20'):
        preview(runner, 5)


def test_momentum_of_a_teacher_follows_a_chain():
    parts = [dict(type='constant', value=.9, epochs=1), dict(type='cosine', start=.9, end=1.)]
    runner = fake_runner()
    runner.model.base_momentum = runner.model.momentum = .5
    runner.model.momentum_update = None
    hook = MomentumUpdateHook(parts=parts)
    assert [runner.model.momentum for _ in run(hook, runner)] == pytest.approx(curve(*parts, total=20, epoch=5))
    for wrong in (dict(parts=[dict(type='constant', value=1.1)]), dict(parts=parts, mode='linear')):
        with pytest.raises(ConfigError, match='MomentumUpdateHook.parts'):
            MomentumUpdateHook(**wrong)


def test_a_schedule_of_a_user_is_not_played_before_the_training():

    class Counting(CompositeLrUpdaterHook):
        calls = 0

        def before_train_iter(self, runner):
            Counting.calls += 1
            super().before_train_iter(runner)

    runner = of_groups(None)
    hook = Counting([dict(type='constant', value=1.)])
    runner.register_hook(hook)
    runner.data_loaders = [range(5)]
    runner.call_hook('before_run')
    lr, = {tuple(curve.values) for curve in preview(runner, 5)[1] if curve.parts == ('head', )}
    assert not Counting.calls and lr == (.4, ) * 20
    lr, = {tuple(curve.values) for curve in preview(runner, 5, foreign=True)[1] if curve.parts == ('head', )}
    assert Counting.calls and lr == (.2, ) * 20
