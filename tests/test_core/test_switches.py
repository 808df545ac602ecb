"""Trainings with the switches of a config are those without, up to rounding."""
import pytest
import torch
from test_resume_algorithms import TOKENIZER, config

from mmssl.apis import set_random_seed, train_model
from mmssl.datasets import build_dataset
from mmssl.models import build_algorithm


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def train(name, folder, **switches):
    """The weights after two epochs, as one vector, and those before."""
    cfg = config(name, folder)
    cfg.merge_from_dict(switches)
    set_random_seed(0)
    model = build_algorithm(cfg.model)
    model.init_weights()
    before = weights(model)
    if name == 'CAE':
        torch.save(TOKENIZER, folder / 'tokenizer.pth')
        model.head.tokenizer_path = folder / 'tokenizer.pth'
    train_model(model, build_dataset(cfg.data.train), cfg, meta={})
    return weights(model), before


@pytest.mark.slow
@pytest.mark.parametrize('name', ['MoCoV3', 'MAE', 'SimMIM', 'CAE', 'MaskFeat'])
def test_switches(name, tmp_path):
    """Memory format and layers that are computed again change nothing, compiled code rounds differently. In bfloat16
    the weights go the same way up to a tenth; of MoCo v3, whose norms over a batch enlarge rounding, up to a third.
    """
    from torch._inductor import config as inductor
    plain, before = train(name, tmp_path)
    way = (plain - before).norm()
    checkpointed, half = {'model.backbone.with_cp': True}, dict(dtype='bfloat16')
    tolerances = ((dict(channels_last=True), 1e-6), (checkpointed, 1e-6), (dict(compile=True), 1e-4),
                  (dict(compile=True, amp=half), 0.33 if name == 'MoCoV3' else 0.1))
    with inductor.patch(fallback_random=True):  # its own random numbers are others
        for switches, tolerance in tolerances:
            torch._dynamo.reset()
            after, start = train(name, tmp_path, **switches)
            assert start.equal(before) and (after - plain).norm() < tolerance * way, switches
