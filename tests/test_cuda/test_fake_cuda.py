"""What would fail on a GPU, or keep it waiting, found without one; see fake.py and intended.py."""
import fake
import intended
import numpy as np
import pytest
import test_resume_algorithms as trainings
import tiny
import torch
from fake import FakeCuda
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves, tree_map

from mmssl import evaluation
from mmssl.apis import set_random_seed, train_model
from mmssl.core.hooks.optimizer_hook import clip_gradients
from mmssl.core.optimizer import build_optimizer
from mmssl.datasets import build_dataset
from mmssl.datasets.loader import map_tensors
from mmssl.evaluation.meters import AccuracyListMeter, MeanAPListMeter
from mmssl.models import ALGORITHMS, algorithms, build_algorithm, build_backbone
from mmssl.utils.kmeans import distributed_kmeans, nearest_centroids

pytestmark = pytest.mark.long  # about a minute together
BATCH = 120  # two iterations an epoch
PRECISIONS = dict(
    float32={},
    bfloat16=dict(amp=dict(dtype='bfloat16')),
    float16=dict(amp=dict(dtype='float16')),
    channels_last=dict(channels_last=True))


def test_the_fake_is_as_strict_as_a_gpu():
    """Mixtures of devices are errors, and each way of waiting is counted."""
    host = torch.arange(6.).view(2, 3)

    def model_step():  # stands for code of mmssl
        return None

    with FakeCuda() as device:
        x = host.to('cuda', non_blocking=True)
        assert x.is_cuda and x.device == torch.device('cuda:0') and not device.syncs
        for wrong in (lambda: x + host, lambda: torch.cat([x, host]), lambda: x @ host.T, lambda: x[:, 0] * host[:, 0],
                      lambda: host[torch.zeros(1, dtype=torch.long, device='cuda')],
                      lambda: torch.stack([x[0, 0], host[0, 0]]),
                      lambda: torch.rand(2, device='cuda', generator=torch.Generator())):
            with pytest.raises(RuntimeError, match='same device|indices|generator'):
                wrong()
        with pytest.raises(TypeError, match='cuda'):
            np.asarray(x)
        assert (x + host[0, 0]).is_cuda and (x.relu_() is x) and x.view(3, 2)[0].is_cuda
        waits = dict(
            item=lambda: x.sum().item(),
            truth=lambda: bool(x.any()),
            mask=lambda: x[x > 0],
            nonzero=lambda: x.nonzero(),
            tolist=lambda: x.tolist(),
            cpu=lambda: x.cpu(),
            list_index=lambda: x[[1, 0]],
            copy=lambda: x.copy_(host),
            tensor=lambda: torch.tensor([1.], device='cuda'),
            to=lambda: host.to('cuda'),
            equal=lambda: torch.equal(x, x),
            unique=lambda: x.unique(),
            repeat=lambda: x[0].repeat_interleave(x[0].long()),
            host_mask=lambda: x[host > 0],
            fill=lambda: torch.masked_select(x, x > 0))
        runs_on = dict(
            masked_fill=lambda: x.masked_fill(x > 9, 1.),
            set_mask=lambda: x.clone().__setitem__(x > 9, 0.),
            where=lambda: torch.where(x > 0, x, 0.),
            full=lambda: torch.full((2, ), 3., device='cuda'),
            gather=lambda: x[torch.zeros(2, dtype=torch.long, device='cuda')],
            slice=lambda: x[1:, :2].sum(),
            pinned=lambda: torch.empty(2, 3, pin_memory=True).copy_(x, non_blocking=True),
            new=lambda: x.new_zeros(3),
            late=lambda: host.to('cuda', non_blocking=True),
            sort=lambda: x.sort(),
            step=model_step)
        for cases, count in ((waits, 1), (runs_on, 0)):
            for name, case in cases.items():
                device.waits = 0
                case()
                assert (device.waits > 0) == count, name


def test_gradients_of_the_fake_are_those_of_the_cpu():
    x = torch.randn(4, 3)
    layer = torch.nn.Linear(3, 2)
    layer(x).square().sum().backward()
    expected, layer.weight.grad = layer.weight.grad, None
    with FakeCuda():
        layer = layer.to('cuda')
        layer(x.to('cuda')).square().sum().backward()
        assert layer.weight.grad.is_cuda and torch.equal(layer.weight.grad.value, expected)


def step(model, name, device, dtype=None):
    """Loss and gradients of a training step."""
    data = map_tensors(tiny.batch(name), lambda t: t.to(device, non_blocking=True))
    torch.manual_seed(3)
    model.zero_grad()
    with torch.autocast(device, dtype, enabled=dtype is not None):
        loss = model.train_step(data, None)['loss']
    loss.backward()
    return [loss.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]


@pytest.mark.parametrize('name', tiny.CONFIGS)
def test_training_step(name):
    """The numbers are those of the CPU, and nothing waits; half precision mixes no types that a GPU does not mix."""
    model, plain = tiny.build(name), tiny.build(name)
    with sdpa_kernel(SDPBackend.MATH):  # by which the fake device computes
        expected = step(plain, name, 'cpu')
    with FakeCuda() as device:
        model = model.to('cuda')
        found = [x.value for x in step(model, name, 'cuda')]
        dtype = (torch.bfloat16, torch.float16)[list(tiny.CONFIGS).index(name) % 2]
        assert step(model, name, 'cuda', dtype)[0].isfinite().value
    if name == 'CAE':  # whose tokenizer computes in float16 on a GPU, so that the targets differ
        torch.testing.assert_close(found[0], expected[0], rtol=1e-2, atol=0)
    else:
        torch.testing.assert_close(found, expected)
    assert not intended.unintended(device)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('fake_cuda')
    torch.save(trainings.TOKENIZER, path / 'tokenizer.pth')
    torch.save(build_backbone(trainings.TEACHER['backbone']).state_dict(), path / 'teacher.pth')
    return path


def all_hooks(name, number, folder):
    """The config of a training on real images with all that runs in the iteration, its precision by turns."""
    cfg = trainings.config(name, folder)
    cfg.data.samples_per_gpu = BATCH
    if 'teacher' in cfg.model:
        cfg.model.teacher.checkpoint = folder / 'teacher.pth'
    if name == 'CAE':
        cfg.model.head.tokenizer_path = folder / 'tokenizer.pth'
    cfg.optimizer_config = {'grad_clip': dict(max_norm=1.), **cfg.optimizer_config}
    cfg.log_config = dict(interval=2, hooks=[dict(type='TextLoggerHook')])
    cfg.checkpoint_config = None
    hooks = [hook for hook in cfg.custom_hooks if hook['type'] != 'CheckpointHook']
    for hook in hooks:
        for key, value in dict(batch_size=BATCH, queue_length=BATCH, start_iters=1, evaluate_interval=2).items():
            if key in hook:
                hook[key] = value
    if name != 'Jigsaw':  # whose neck joins patches
        hooks.append(dict(type='CollapseMonitorHook', interval=2))
    cfg.custom_hooks = hooks + [dict(type='EMAHook', momentum=0.1)]
    cfg.update(PRECISIONS[list(PRECISIONS)[number % len(PRECISIONS)]])
    return cfg


@pytest.mark.parametrize('name', trainings.MODELS)
def test_training(name, folder):
    """Two epochs through the data loader, with all hooks; between log lines no iteration waits."""
    cfg = all_hooks(name, list(trainings.MODELS).index(name), folder)
    set_random_seed(1)
    dataset = build_dataset(cfg.data.train)
    model = build_algorithm(cfg.model)
    model.init_weights()
    with FakeCuda() as device:
        runner = train_model(model, dataset, cfg, meta={})
        assert runner.iter == 4 and all(p.is_cuda and p.isfinite().all() for p in runner.model.parameters())
    assert not intended.unintended(device)


def test_no_algorithm_is_forgotten():
    built = {ALGORITHMS.get(cfg['type']) for cfg in tiny.CONFIGS.values()}
    trained = {ALGORITHMS.get(cfg.get('type', name)) for name, cfg in trainings.MODELS.items()}
    every = {getattr(algorithms, name) for name in algorithms.__all__}
    abstract = {algorithms.BackboneNeckHead, algorithms.BaseModel, algorithms.Distillation}
    assert built == trained == every - abstract


OPTIMIZERS = dict(
    LARS=dict(type='LARS', lr=0.1, momentum=0.9, eta=1., weight_decay=1e-4, paramwise_options={
        'bn|bias': dict(lars_exclude=True, weight_decay=0.)}),
    nesterov=dict(type='LARS', lr=0.1, momentum=0.9, eta=1., nesterov=True),
    LARC=dict(type='LARC', lr=0.1, trust_coefficient=1., weight_decay=1e-4, base=dict(type='SGD', momentum=0.9)),
    SGD=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4),
    AdamW=dict(type='AdamW', lr=1e-3))  # yapf: disable


@pytest.mark.parametrize('name, per', zip(OPTIMIZERS, ['model', 'part', 'tensor'] * 2))
def test_optimizers_and_clipping(name, per):
    """The steps of a GPU, which go over many tensors at once, are those of the CPU, and none waits."""

    def train(device):
        model = tiny.build('SimSiam').to(device)
        optimizer = build_optimizer(model, OPTIMIZERS[name])
        for number in range(2):
            for i, p in enumerate(model.parameters()):
                made = torch.randn(p.shape, generator=torch.Generator().manual_seed(100 * number + i))
                p.grad = made.to(device, non_blocking=True)
            norm = clip_gradients(model, 0.5, per=per)
            optimizer.step()
        return [norm, *(p.detach() for p in model.parameters())]

    expected = train('cpu')
    with FakeCuda() as device:
        found = [x.value for x in train('cuda')]
    torch.testing.assert_close(found, expected)
    assert not intended.unintended(device)


# each by features and labels of a training and a test set on a device, the same on the CPU, and the name of the device
EVALUATIONS = dict(
    knn=lambda d, host, to: evaluation.knn.run(*d, k=(3, 10)),
    knn_there=lambda d, host, to: evaluation.knn.run(*host, k=(3, 10), device=to, memory_limit=0.02),
    knn_by_faiss=lambda d, host, to: evaluation.knn.run(*d, k=(3, 10), index='Flat'),
    knn_classify=lambda d, host, to: evaluation.knn.classify(*d, k=5),
    bounds=lambda d, host, to: evaluation.neighbours.search(
        d[0], d[2], 5, memory_limit=0.02, dims=4, dtype=torch.bfloat16).index,
    best_nn=lambda d, host, to: evaluation.best_nn.run(*d, max_k=5),
    linear=lambda d, host, to: evaluation.linear.run(*d, lrs=(0.1, 1.), epochs=3, batch_size=50),
    linear_there=lambda d, host, to: evaluation.linear.run(*host, lrs=(0.1, ), epochs=3, val_fraction=0., device=to),
    few_label=lambda d, host, to: evaluation.few_label.run(*d, labels_per_class=5, draws=2),
    svm=lambda d, host, to: evaluation.svm.run(*d, costs=(0.1, 1.), n_jobs=1),
    clustering=lambda d, host, to: evaluation.clustering.run(*d[:2], restarts=2),
    quality=lambda d, host, to: evaluation.quality.run(d[0]),
    representation=lambda d, host, to: evaluation.representation.run(d[0], d[0].flip(0)),
    intra_class=lambda d, host, to: evaluation.representation.intra_class_alignment(*d[:2]),
    retrieval=lambda d, host, to: evaluation.retrieval.run(
        d[2], d[0], evaluation.retrieval.labels_to_ground_truth(host[3], host[1])),
    whitening=lambda d, host, to: evaluation.whitening.Whitening.learn(d[0], 4).apply(d[2]),
    views=lambda d, host, to: evaluation.view_statistics.run(d[0], [d[0].flip(0), d[0].roll(1, 0)], d[1]),
    instances=lambda d, host, to: evaluation.instance_discrimination.run(d[0], [d[0] + 0.1, d[0].roll(1, 0)]),
    kmeans=lambda d, host, to: vars(distributed_kmeans(d[0], 5, 3, reseed_empty=True)),
    kmeans_there=lambda d, host, to: vars(distributed_kmeans(host[0], 5, 3, spherical=True, device=to)),
    nearest_centroids=lambda d, host, to: nearest_centroids(d[2], d[0][:5]),
    clusterfit=lambda d, host, to: vars(
        evaluation.clusterfit.run(host[0].numpy(), range(150), 5, 3, pca_dim=4, device=to)),
    accuracy=lambda d, host, to: measured(AccuracyListMeter(2, (1, 2)), d),
    mean_ap=lambda d, host, to: measured(MeanAPListMeter(num_meters=2), [*d[:3], (d[3][:, None] == d[3][:16]).long()]),
)


def measured(meter, data):
    """The value of a meter of two outputs after two batches."""
    for part in (slice(0, 40), slice(40, None)):
        meter.update([data[2][part], -data[2][part]], data[3][part])
    return meter.value


@pytest.fixture(scope='module')
def features():
    """Features and labels of a training and a test set, of five classes that overlap."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(5, 16, generator=generator)
    return [
        x for count in (150, 60) for y in (torch.arange(count) % 5, )
        for x in (centres[y] + 1.5 * torch.randn(count, 16, generator=generator), y)
    ]


def numbers(tree):
    """What can be compared by value."""
    tree = tree_map(lambda x: x.value if isinstance(x, fake.DeviceTensor) else x, tree)
    return [x for x in tree_leaves(tree) if isinstance(x, (torch.Tensor, np.ndarray, int, float))]


@pytest.mark.parametrize('name', EVALUATIONS)
def test_evaluation(name, features):
    """Figures of features on the device are those of features on the CPU."""
    expected = EVALUATIONS[name](features, features, 'cpu')
    with FakeCuda():
        found = EVALUATIONS[name]([x.to('cuda') for x in features], features, 'cuda')
    torch.testing.assert_close(numbers(found), numbers(expected), equal_nan=True)


def test_evaluation_does_not_wait_for_each_batch(features):
    waits = {}
    with FakeCuda() as device:
        there = [x.to('cuda') for x in features]
        for size in (150, 10):
            device.waits = 0
            evaluation.linear.train_classifiers(there[0][None], there[1], [(0.1, 0.)], 5, epochs=3, batch_size=size)
            waits[size] = device.waits
        assert waits[150] == waits[10] <= 2
        device.waits = 0
        measured(AccuracyListMeter(2, (1, 2, 3)), there)
        assert device.waits == 2 * 3  # batches; each looks at the labels of both outputs, and has one result
        for rows in (500, 3000):
            x = torch.randn(rows, 4).to('cuda')
            device.waits = 0
            evaluation.quality.cluster_learnability(x, 4)
            waits[rows] = device.waits
        assert waits[500] == waits[3000]


def test_every_intended_wait_is_met(request):
    """An entry of intended.py that nothing waits at any more is left over."""
    if len(request.session.items) < 100:
        pytest.skip('some of the cases only')
    assert not intended.left_over()
