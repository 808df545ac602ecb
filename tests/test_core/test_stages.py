"""The stages within a training iteration: their order, and what holds at each."""
import copy

import torch
from mmcv.runner.hooks import Hook
from test_runner import plain_runner
from torch import nn
from torch.utils.data import DataLoader


class Squares(nn.Module):

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def train_step(self, data, optimizer):
        loss = (self.layer(data)**2).mean()
        return dict(loss=loss, log_vars=dict(loss=loss.detach()), num_samples=len(data))


class Watch(Hook):
    """Notes each stage with what can be seen in it."""

    def __init__(self, model):
        self.model, self.seen, self.gradients = model, [], []

    def _note(self, stage, runner):
        grad = self.model.layer.weight.grad
        self.seen.append((runner.iter, stage, runner._stage, grad is None))
        if stage == 'before_step':
            self.before = self.model.layer.weight.detach().clone()
            self.gradients.append(grad.clone())
        if stage == 'after_step':
            torch.testing.assert_close(self.model.layer.weight, self.before - 0.1 * grad)
        if stage == 'after_forward':
            assert torch.isfinite(runner.outputs['loss'])

    def before_train_iter(self, runner):
        self._note('before_train_iter', runner)

    def after_forward(self, runner):
        self._note('after_forward', runner)

    def before_backward(self, runner):
        self._note('before_backward', runner)

    def after_backward(self, runner):
        self._note('after_backward', runner)

    def before_step(self, runner):
        self._note('before_step', runner)

    def after_step(self, runner):
        self._note('after_step', runner)

    def after_train_iter(self, runner):  # of priority NORMAL: behind the optimizer's
        self._note('after_train_iter', runner)


def _run(folder, model, **optimizer_config):
    runner = plain_runner(folder, dict(type='EpochBasedRunner', max_epochs=1), model)
    runner.register_training_hooks(None, optimizer_config, dict(interval=1))
    watch = Watch(model)
    runner.register_hook(watch)
    data = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    runner.run([DataLoader(data, 4)], [('train', 1)])
    return runner, watch


def test_stages(tmp_path):
    """In their order, the step's only where there is a step, with gradients as the optimizer gets them."""
    model = Squares()
    other = copy.deepcopy(model)
    runner, watch = _run(tmp_path, model, update_interval=2, grad_clip=dict(max_norm=0.05))
    step = ['before_step', 'after_step']
    each = ['before_train_iter', 'after_forward', 'before_backward', 'after_backward']
    expected = [(i, stage) for i in range(4) for stage in each + (step if i % 2 else []) + ['after_train_iter']]
    assert [entry[:2] for entry in watch.seen] == expected
    assert all(stage == inner for _, stage, inner, _ in watch.seen)
    assert [none for _, stage, _, none in watch.seen if stage == 'before_backward'] == [True, False, True, False]
    assert all(gradient.norm() <= 0.05 for gradient in watch.gradients)
    assert 'before_step: Watch' in runner.get_hook_info()
    # a loss scale is undone before the stage, whether or not something is clipped
    _, scaled = _run(tmp_path / 'scaled', other, update_interval=2, loss_scale=1024., grad_clip=dict(max_norm=0.05))
    torch.testing.assert_close(scaled.gradients, watch.gradients)


def test_unclipped_gradients_have_no_scale(tmp_path):
    model = Squares()
    other = copy.deepcopy(model)
    plain, scaled = (_run(tmp_path, m, **options)[1] for m, options in ((model, {}), (other, dict(loss_scale=1024.))))
    torch.testing.assert_close(scaled.gradients, plain.gradients)
