"""The whole way, with mmdet, mmseg and compiled operations; make test-downstream installs these and runs this.

A learning rate of zero leaves the weights as they were handed over, so that they can be compared to the bit.
"""
import importlib.util
import re
import sys

import pytest
import torch
import torchvision

from mmssl.utils.checkpoint import read_checkpoint, save_checkpoint

MISSING = [name for name in ('mmdet', 'mmseg', 'mim') if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f'not installed: {", ".join(MISSING)}; make test-downstream runs this'),
    pytest.mark.slow,
]
CONFIGS = 'configs/benchmarks'
FASTER = f'{CONFIGS}/mmdetection/toy/faster_rcnn_r18_c4_toy.py'
MASK = f'{CONFIGS}/mmdetection/toy/mask_rcnn_r18_fpn_toy.py'
FCN = f'{CONFIGS}/mmsegmentation/toy/fcn_r18-d8_toy.py'


def test_compiled_operations():
    """nms, RoIAlign and deformable convolution, and their gradients, are those of torchvision."""
    import mmcv.ops
    corners = torch.rand(200, 4) * 50
    corners[:, 2:] += corners[:, :2]
    scores = torch.rand(200)
    assert mmcv.ops.nms(corners, scores, 0.5)[1].equal(torchvision.ops.nms(corners, scores, 0.5))

    def with_gradients(func, *tensors):
        tensors = [t.clone().requires_grad_() for t in tensors]
        out = func(*tensors)
        return [out, *torch.autograd.grad(out.square().sum(), tensors)]

    maps = torch.randn(2, 4, 16, 20)
    regions = torch.cat([torch.randint(0, 2, (30, 1)), torch.rand(30, 2) * 6, 7 + torch.rand(30, 2) * 8], 1)
    torch.testing.assert_close(
        with_gradients(lambda x: mmcv.ops.RoIAlign(7, 1.0, 2)(x, regions), maps),
        with_gradients(lambda x: torchvision.ops.roi_align(x, regions, 7, 1.0, 2, aligned=True), maps))
    offsets, weight = torch.randn(2, 18, 16, 20), torch.randn(5, 4, 3, 3)
    torch.testing.assert_close(
        with_gradients(lambda x, o, w: mmcv.ops.deform_conv2d(x, o, w, 1, 1), maps, offsets, weight),
        with_gradients(lambda x, o, w: torchvision.ops.deform_conv2d(x, o, w, padding=1), maps, offsets, weight),
        rtol=1e-3,
        atol=1e-3)


@pytest.fixture(scope='module')
def toy(run_tool, tmp_path_factory):
    """Folder of the data sets."""
    out = tmp_path_factory.mktemp('toy')
    run_tool('tools/misc/make_toy_detection.py', out, '--train', 16, '--val', 4)
    return out


@pytest.fixture(scope='module')
def backbone():
    """Weights of torchvision's ResNet-18, of which none is a constant."""
    torch.manual_seed(3)
    weights = torchvision.models.resnet18().state_dict()
    del weights['fc.weight'], weights['fc.bias']
    return {
        key: value + 0.1 * torch.rand_like(value) if value.is_floating_point() else value
        for key, value in weights.items()
    }


@pytest.fixture(scope='module')
def pretrains(backbone, tmp_path_factory):
    """The weights by themselves, and in a checkpoint of a training."""
    folder = tmp_path_factory.mktemp('weights')
    save_checkpoint(dict(state_dict=backbone), folder / 'extracted.pth')
    whole = {f'backbone.{key}': value for key, value in backbone.items()}
    save_checkpoint(dict(state_dict={**whole, 'neck.fc.weight': torch.ones(2, 2)}), folder / 'whole.pth')
    return folder


def voc(toy):
    root = toy / 'VOCdevkit'
    lists = [f'{root}/VOC{year}/ImageSets/Main/trainval.txt' for year in (2007, 2012)]
    return [
        f'data.train.ann_file=[{",".join(lists)}]', f'data.train.img_prefix=[{root}/VOC2007/,{root}/VOC2012/]',
        f'data.val.ann_file={root}/VOC2007/ImageSets/Main/test.txt', f'data.val.img_prefix={root}/VOC2007/'
    ]


def coco(toy):
    root = toy / 'coco'
    return [
        f'data.{split}.{key}={root}/{path}' for split in ('train', 'val')
        for key, path in (('ann_file', f'annotations/instances_{split}2017.json'), ('img_prefix', f'{split}2017/'))
    ]


def segmentation(toy):
    return [f'data.{split}.data_root={toy}/VOCdevkit/VOC2012' for split in ('train', 'val')]


def run(run_tool, script, config, pretrain, processes, work_dir, port, *arguments, fails=False):
    """Output of a script, as one text; of a failure only the lines of processes, without those of their launchers."""
    done = run_tool(
        f'tools/benchmarks/{script}',
        config,
        pretrain,
        processes,
        '--work-dir',
        work_dir,
        '--seed',
        0,
        *arguments,
        env=dict(PYTHON=sys.executable, PORT=str(port())),
        check=False,
        timeout=1800)
    out = done.stdout + done.stderr
    assert bool(done.returncode) == fails, '\n'.join(line for line in out.splitlines() if line.startswith('[rank'))
    return out


def handed_over(checkpoint, prefix, backbone, keys):
    """Weights of a trained model that are not those of the backbone any more; running statistics do move."""
    found = read_checkpoint(checkpoint)['state_dict']
    return [
        key for key in keys
        if not ('running' in key or 'tracked' in key) and not found[prefix + key].equal(backbone[key])
    ]


@pytest.mark.parametrize('pretrain, processes', [('extracted', 2), ('whole', 1)])
def test_c4_detector(run_tool, toy, backbone, pretrains, tmp_path, free_port, pretrain, processes):
    out = run(run_tool, 'mmdetection/mim_dist_train.sh', FASTER, pretrains / f'{pretrain}.pth', processes, tmp_path,
              free_port, *voc(toy), 'optimizer.lr=0.', 'runner.max_iters=2', 'log_config.interval=1',
              'evaluation.interval=2', 'checkpoint_config.interval=2')  # yapf: disable
    counts = re.findall(r'mmdet - INFO - weights from .*: (\d+) matched, (\d+) missing, (\d+) unexpected, 0 mism', out)
    assert counts == [('90', '0', '30'), ('30', '4', '90')]
    assert 'missing, initial values are kept: norm.weight (512), norm.bias (512), norm.running_mean (512), ...' in out
    assert 'Distributed training: True' in out and re.search(r'Iter \[2/2\].*loss_bbox: ', out)
    assert re.search(r'Iter\(val\) \[\d+\]\s+mAP: ', out)
    last = [key for key in backbone if key.startswith('layer4')]
    trained = tmp_path / 'iter_2.pth'
    assert handed_over(trained, 'backbone.', backbone, [key for key in backbone if key not in last]) == []
    assert handed_over(trained, 'roi_head.shared_head.', backbone, last) == []


def test_fpn_detector(run_tool, toy, backbone, pretrains, tmp_path, free_port):
    out = run(run_tool, 'mmdetection/mim_dist_train_fpn.sh', MASK, pretrains / 'extracted.pth', 2, tmp_path, free_port,
              *coco(toy), 'optimizer.lr=0.', 'runner.max_epochs=1', 'log_config.interval=1', 'evaluation.interval=1')
    assert re.findall(r'weights from .*: (\d+ matched, .*)',
                      out) == ['120 matched, 0 missing, 0 unexpected, 0 mismatched']
    assert 'segm_mAP_50: ' in out and re.search(r'Epoch \[1\]\[4/4\].*loss_mask: ', out)
    assert handed_over(tmp_path / 'epoch_1.pth', 'backbone.', backbone, backbone) == []


def test_segmentor_and_its_resumption(run_tool, toy, backbone, pretrains, tmp_path, free_port):
    options = [*segmentation(toy), 'data.samples_per_gpu=4', 'log_config.interval=1', 'evaluation.interval=2',
               'checkpoint_config.interval=2', 'optimizer.lr=0.', 'lr_config.min_lr=0.']  # yapf: disable
    arguments = ['mmsegmentation/mim_dist_train.sh', FCN, pretrains / 'whole.pth', 2, tmp_path, free_port, *options]
    out = run(run_tool, *arguments, 'runner.max_iters=2')
    assert re.findall(r'weights from .*: (\d+ matched, .*)',
                      out) == ['120 matched, 0 missing, 0 unexpected, 0 mismatched']
    assert re.search(r'Iter\(val\) \[\d+\]\s+aAcc: .*mIoU: ', out)
    assert handed_over(tmp_path / 'iter_2.pth', 'backbone.', backbone, backbone) == []
    out = run(run_tool, *arguments, 'runner.max_iters=4', '--resume-from', tmp_path / 'iter_2.pth')
    # mmcv counts from the iteration that was saved, which it repeats
    assert 'resumed from epoch: 1, iter 1' in out and 'Iter [4/4]' in out and 'Iter [1/4]' not in out
    assert handed_over(tmp_path / 'iter_4.pth', 'backbone.', backbone, backbone) == []


def test_slurm(slurm, run_tool, toy, pretrains, tmp_path, free_port):
    """Two CPU tasks under srun train to the very weights of two processes under torchrun."""
    options = [*segmentation(toy), 'data.samples_per_gpu=4', 'runner.max_iters=2', 'log_config.interval=1',
               'checkpoint_config.interval=2', 'evaluation.interval=2']  # yapf: disable
    env = {**slurm, 'GPUS': '2', 'GPUS_PER_NODE': '0', 'CPUS_PER_TASK': '1', 'SRUN_ARGS': '--time=25',
           'PYTHON': sys.executable}  # yapf: disable
    done = run_tool('tools/benchmarks/mmsegmentation/mim_slurm_train.sh', 'debug', FCN, pretrains / 'whole.pth',
                    '--work-dir', tmp_path / 'slurm', '--seed', 0, *options, env=env, timeout=1800)  # yapf: disable
    assert '120 matched, 0 missing, 0 unexpected' in done.stdout + done.stderr
    out = run(run_tool, 'mmsegmentation/mim_dist_train.sh', FCN, pretrains / 'whole.pth', 2, tmp_path / 'torchrun',
              free_port, *options)  # yapf: disable
    assert '120 matched, 0 missing, 0 unexpected' in out
    ours, theirs = (read_checkpoint(tmp_path / name / 'iter_2.pth')['state_dict'] for name in ('slurm', 'torchrun'))
    assert ours.keys() == theirs.keys()
    assert [key for key, value in ours.items() if not value.equal(theirs[key])] == []


def test_mim_by_itself(toy, pretrains, tmp_path):
    """`mim train` in one process, without our scripts: the config is enough."""
    import subprocess
    done = subprocess.run([
        sys.executable, '-m', 'mim', 'train', 'mmseg', FCN, '--gpus', '1', '--work-dir', str(tmp_path), '--cfg-options',
        *segmentation(toy), 'runner.max_iters=1', 'model.backbone.init_cfg.checkpoint=' + str(pretrains / 'whole.pth'),
        'evaluation.interval=1', 'log_config.interval=1'
    ], capture_output=True, text=True)  # yapf: disable
    out = done.stdout + done.stderr
    assert done.returncode == 0, out[-4000:]
    assert '120 matched, 0 missing, 0 unexpected' in out and 'mIoU: ' in out


def test_weights_that_fit_nothing(run_tool, toy, tmp_path, free_port):
    save_checkpoint(dict(state_dict={'blocks.0.attn.qkv.weight': torch.ones(2)}), tmp_path / 'vit.pth')
    out = run(run_tool, 'mmsegmentation/mim_dist_train.sh', FCN, tmp_path / 'vit.pth', 1, tmp_path / 'out', free_port,
              *segmentation(toy), fails=True)  # yapf: disable
    assert f'nothing in {tmp_path}/vit.pth fits the model: the model has keys such as' in out
