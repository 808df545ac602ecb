"""Histograms against numpy, gradients as the optimizer gets them, and pictures of views as they were stored."""
import numpy as np
import pytest
import torch
from mmcv.runner.hooks import Hook
from PIL import Image
from test_runner import plain_runner
from torch import nn

from mmssl.core.hooks.histogram_hook import HistogramHook, histogram_of
from mmssl.core.hooks.trackers import TrackerHook
from mmssl.core.hooks.views_hook import ViewsHook, sheet, to_pixels
from mmssl.core.optimizer.master_weights import keep_master_weights
from mmssl.datasets import PrefetchLoader
from mmssl.utils.errors import ConfigError


class Squares(nn.Module):

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3 * 4 * 6, 1)

    def train_step(self, data, optimizer):
        loss = sum((self.layer(view.flatten(1)[:, :72])**2).mean() for view in data['img'])
        return dict(loss=loss, log_vars=dict(loss=loss.detach()), num_samples=len(data['img'][0]))


class Keeper(TrackerHook):
    """A tracker that keeps what it is sent."""
    module = 'json'

    def start(self, runner, config):
        self.histograms, self.images = [], []

    def write(self, values, step):
        pass

    def write_histogram(self, name, histogram, step):
        self.histograms.append((name, histogram, step))

    def write_image(self, name, image, step):
        self.images.append((name, image, step))

    def finish(self, status):
        pass


class Gradients(Hook):

    def __init__(self):
        self.of_steps = {}

    def before_step(self, runner):
        self.of_steps[runner.iter + 1] = runner.model.layer.weight.grad.clone()


def train(folder, hooks, tracker=True, batches=5, **optimizer_config):
    torch.manual_seed(0)
    model = Squares()
    runner = plain_runner(folder, dict(type='EpochBasedRunner', max_epochs=2), model)
    runner.register_training_hooks(None, optimizer_config)
    if tracker:
        runner.register_hook(Keeper(), 'VERY_LOW')
    for hook in hooks:
        runner.register_hook(hook)
    stored = torch.randint(0, 256, (batches, 2, 2, 3, 4, 6), dtype=torch.uint8)

    class Loader(list):
        dataset = range(2 * batches)

        def set_epoch(self, epoch, start):
            pass

    views = [dict(img=[stored[i, :, 0], stored[i, :, 1, :, :, :4].contiguous()]) for i in range(batches)]
    loader = PrefetchLoader(Loader(views), mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.25])
    loader.stored = True
    for batch in views:  # views of another size, so that the network takes what both have
        batch['img'][1] = stored.new_tensor(np.tile(batch['img'][1], (1, 1, 2, 2)))
    runner.run([loader], [('train', 1)])
    return runner, next((hook for hook in runner.hooks if isinstance(hook, Keeper)), None), stored


def test_a_histogram():
    values = torch.randn(3, 1000)
    values[0, :3] = torch.tensor([float('nan'), float('inf'), -float('inf')])
    found = histogram_of(values, 30)
    kept = values[values.isfinite()].double().numpy()
    counts, edges = np.histogram(kept.astype(np.float32), 30)
    assert found.total == 2997 and np.abs(found.counts - counts).sum() <= 4  # edges in float32
    np.testing.assert_allclose(found.edges, edges, atol=1e-6)
    np.testing.assert_allclose([found.sum, found.sum_squares], [kept.sum(), (kept**2).sum()])
    assert (found.low, found.high) == (pytest.approx(kept.min()), pytest.approx(kept.max()))
    samples = np.array(found.samples(500))
    assert 450 < len(samples) < 550 and abs(samples.mean() - kept.mean()) < 0.1
    one = histogram_of(torch.full((5, ), 2.))
    assert one.total == 5 and one.low < 2 < one.high
    assert histogram_of(torch.full((5, ), float('nan'))) is None and histogram_of(torch.ones(0)) is None


@pytest.mark.parametrize('scale', [None, 256.])
def test_histograms_of_a_training(tmp_path, scale):
    gradients = Gradients()
    options = dict(loss_scale=scale) if scale else {}
    runner, keeper, _ = train(
        tmp_path, [HistogramHook(interval=3, include='weight', bins=8), gradients], update_interval=2, **options)
    sent = [(name, step) for name, _, step in keeper.histograms]
    # steps of the optimizer are in iterations 2, 4, 5 and 7, 9, 10; what is due in 3, 6 and 9 comes in the next of them
    expected = [('parameters', 0)]
    for step in (4, 5, 7, 9, 10):
        pair = [('gradients', step), ('parameters', step)]
        expected += pair if step % 5 else pair[::-1]
    assert sent == [(f'{kind}/layer.weight', step) for kind, step in expected]
    for name, histogram, step in keeper.histograms:
        if name.startswith('gradients'):
            reference = histogram_of(gradients.of_steps[step], 8)
            assert histogram.sum == pytest.approx(reference.sum) and (histogram.counts == reference.counts).all()
    last = keeper.histograms[-2]
    assert last[1].sum == pytest.approx(float(runner.model.layer.weight.detach().double().sum()))


class Halve(Hook):

    def before_run(self, runner):
        keep_master_weights(runner.model, runner.optimizer, torch.bfloat16)
        runner.amp_dtype = torch.bfloat16


def test_histograms_of_what_is_stepped(tmp_path):
    """Beside weights in half precision that is in float32; and the last iteration of an epoch has each once."""
    runner, keeper, _ = train(tmp_path, [Halve(), HistogramHook(interval=1, include='weight')])
    sent = [(name, step) for name, _, step in keeper.histograms]
    assert sent[1:] == [(f'{kind}/layer.weight', i) for i in range(1, 11) for kind in ('gradients', 'parameters')]
    stepped = runner.optimizer.param_groups[0]['params'][0]
    assert stepped.dtype == torch.float32 and runner.model.layer.weight.dtype == torch.bfloat16
    assert keeper.histograms[-1][1].sum == pytest.approx(float(stepped.detach().double().sum()))


@pytest.mark.parametrize('options, tracker, message', [
    (dict(include='no.such'), True, "no trained parameter has 'no.such' in its name"),
    (dict(include='('), True, 'no regular expression'),
    (dict(interval=0), True, 'interval is at least 1'),
    (dict(bins=0), True, 'bins is at least 1'),
    (dict(parameters=False, gradients=False), True, 'neither parameters nor gradients'),
    ({}, False, 'needs a tracker that draws histograms'),
])
def test_histograms_that_cannot_be(tmp_path, options, tracker, message):
    with pytest.raises(ConfigError, match=message):
        train(tmp_path, [HistogramHook(**options)], tracker)


def test_pictures_of_views(tmp_path):
    """Each pixel is that which was stored, in the file and in the tracker."""
    _, keeper, stored = train(tmp_path, [ViewsHook(samples=5, interval=1)])
    assert [(name, step) for name, _, step in keeper.images] == [('views', 1), ('views', 6)]
    picture = np.array(Image.open(tmp_path / 'views_iter_1.png'))
    assert (picture == keeper.images[0][1]).all() and picture.shape == (2 * 8 + 2, 6 + 8 + 2, 3)
    first = stored[0].permute(0, 1, 3, 4, 2).numpy()
    assert (picture[:4, :6] == first[0, 0]).all() and (picture[10:14, :6] == first[1, 0]).all()
    assert (picture[:4, 8:12] == first[0, 1][:, :4]).all() and (picture[4:8][:, :6] == 255).all()


def test_images_without_statistics():
    image = torch.tensor([[[-2., 0.], [1., 3.]]])
    assert to_pixels(image)[..., 0].tolist() == [[0, 102], [153, 255]]
    assert sheet([[np.zeros((2, 3, 3), np.uint8)]]).shape == (2, 3, 3)
