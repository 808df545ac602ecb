"""What a training of mmdet or mmseg gets from mmssl. Nothing here needs them: mmcv's own parts are what is mended."""
import logging

import pytest
import torch
import torch.distributed as dist
from mmcv.cnn import build_norm_layer
from mmcv.parallel import DataContainer, MMDataParallel
from mmcv.runner import BaseModule
from torch import nn

from mmssl.downstream import mend
from mmssl.models.utils.pretrained import PretrainedInit
from mmssl.utils.checkpoint import read_checkpoint


class Detector(BaseModule):
    """Calls itself in train_step, as the models of mmdet and mmseg do, and is given lists of unequal tensors."""

    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.conv = nn.Conv2d(3, 6, 3)
        self.norm = build_norm_layer(dict(type='SyncBN'), 6)[1]
        self.last = nn.Conv2d(6, 2, 3)

    def forward(self, img, boxes, return_loss=True):
        x = self.last(self.norm(self.conv(img)).relu())
        if not return_loss:
            return x
        return torch.stack([(x[i].mean((1, 2)) * box.sum()).sum() for i, box in enumerate(boxes)]).mean()

    def train_step(self, data, optimizer):
        return dict(loss=self(**data), num_samples=len(data['img']))

    def val_step(self, data, optimizer=None):
        return dict(loss=2 * self(**data))


def batch(start, stop):
    """Samples as mmcv's collate function gives them: one image tensor, a list of tensors of different lengths."""
    draw = torch.Generator().manual_seed(0)
    img = torch.randn(4, 3, 8, 8, generator=draw)
    boxes = [torch.randn(n, 4, generator=draw) for n in (1, 3, 2, 2)]
    return dict(img=DataContainer([img[start:stop]], stack=True), boxes=DataContainer([boxes[start:stop]], stack=False))


def train(wrap, start=0, stop=4):
    """Loss, gradients and output after one step, and what val_step gives."""
    torch.manual_seed(1)
    model = Detector()
    wrapped = wrap(model)
    out = wrapped.train_step(batch(start, stop), None)
    out['loss'].backward()
    grads = {name: p.grad.clone() for name, p in model.named_parameters()}
    wrapped.eval()
    with torch.no_grad():
        test = wrapped(**batch(start, stop), return_loss=False)
        val = wrapped.val_step(batch(start, stop))['loss']
    return dict(loss=out['loss'].detach(), grads=grads, test=test, val=val, mean=model.norm.running_mean)


def one_rank(rank, world_size):
    return train(lambda model: mend.build_ddp(model, 'cpu', device_ids=[rank], broadcast_buffers=False), 2 * rank,
                 2 * rank + 2)


def test_two_processes_equal_one(run_distributed):
    """Loss, gradients and statistics of two gloo processes are those of mmcv's own wrapper around the whole batch."""
    ranks, whole = run_distributed(one_rank), train(MMDataParallel)
    torch.testing.assert_close(sum(rank['loss'] for rank in ranks) / 2, whole['loss'])
    torch.testing.assert_close(sum(rank['val'] for rank in ranks) / 2, whole['val'])
    torch.testing.assert_close(torch.cat([rank['test'] for rank in ranks]), whole['test'])
    for rank in ranks:
        torch.testing.assert_close(rank['mean'], whole['mean'])
        for name, grad in whole['grads'].items():
            torch.testing.assert_close(rank['grads'][name], grad)


def test_a_group_of_one_process(tmp_path):
    """torch's SyncBatchNorm refuses a CPU where there is a process group, though it be of one process."""
    dist.init_process_group('gloo', init_method=f'file://{tmp_path}/rendezvous', rank=0, world_size=1)
    try:
        found = train(lambda model: mend.build_ddp(model, 'cpu', device_ids=[0]))
    finally:
        dist.destroy_process_group()
    whole = train(MMDataParallel)
    assert found['loss'] == whole['loss'] and found['mean'].equal(whole['mean'])


def test_stream_for_the_number_of_a_gpu():
    """mmcv hands over numbers, torch asks a device for its type."""
    torchs, = mend.get_stream.__defaults__
    asked = []
    for device in (1, torch.device('cpu')):
        mend.get_stream(device, of=asked.append)
    assert asked == [torch.device('cuda', 1), torch.device('cpu')]
    with pytest.raises(AttributeError):
        torchs(0)


def test_counts_go_to_the_log_of_the_toolbox(tmp_path, monkeypatch, caplog):
    """A whole checkpoint and extracted weights both load; a file that fits nowhere is an error, not a bad result."""
    torch.manual_seed(1)
    source = Detector()
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'backbone.pth')
    keys = {f'backbone.{key}': value for key, value in source.state_dict().items()}
    torch.save(dict(state_dict={**keys, 'head.fc.weight': torch.ones(2)}), tmp_path / 'whole.pth')
    torch.save(dict(state_dict={f'encoder.{key}': value for key, value in keys.items()}), tmp_path / 'foreign.pth')
    log = logging.getLogger('toolbox')
    log.setLevel('INFO')
    monkeypatch.setattr(PretrainedInit, 'logger', log)
    for name in ('backbone', 'whole'):
        caplog.clear()
        model = Detector(dict(type='Pretrained', checkpoint=str(tmp_path / f'{name}.pth')))
        model.init_weights()
        assert all(a.equal(b) for a, b in zip(model.state_dict().values(), source.state_dict().values()))
        assert f'{len(keys)} matched, 0 missing, 0 unexpected, 0 mismatched' in caplog.text
        assert f'{name}.pth' in caplog.text
    model = Detector(dict(type='Pretrained', checkpoint=str(tmp_path / 'foreign.pth')))
    with pytest.raises(ValueError, match='nothing in .*foreign.pth fits the model'):
        model.init_weights()


def test_weights_of_zoos(monkeypatch, tmp_path):
    """torchvision://NAME, the default of the configs, are the weights that the published figures began from; configs of
    mmdet name others, by lists of mmcv."""
    addresses = []

    def download(address, folder):
        addresses.append(address)
        torch.save(dict(w=torch.ones(1)), tmp_path / 'a.pth')
        return tmp_path / 'a.pth'

    monkeypatch.setattr('mmssl.utils.checkpoint.download', download)
    assert read_checkpoint('torchvision://resnet50')['w'] == 1
    assert addresses == ['https://download.pytorch.org/models/resnet50-0676ba61.pth']
    with pytest.raises(FileNotFoundError, match='torchvision://resnet5 does not exist: Unknown model'):
        read_checkpoint('torchvision://resnet5')
    read_checkpoint('open-mmlab://detectron2/resnet50_caffe')
    read_checkpoint('open-mmlab://resnet50_caffe')  # an old name
    read_checkpoint('mmcls://resnet18')
    assert [address.rpartition('/')[2].partition('-')[0] for address in addresses[1:]] == [
        'resnet50_msra', 'resnet50_caffe', 'resnet18_8xb32_in1k_20210831']  # yapf: disable
    with pytest.raises(FileNotFoundError, match='open-mmlab://detectron2/resnet50_cafe does not exist; did you mean '):
        read_checkpoint('open-mmlab://detectron2/resnet50_cafe')
