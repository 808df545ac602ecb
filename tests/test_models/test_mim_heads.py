"""Heads of masked image modelling and of MoCo v3 against naive references."""
import copy
import math

import pytest
import torch
from torch.nn import functional as F

from mmssl.models import Encoder, MaskFeatPretrainHead, build_head
from mmssl.utils.checkpoint import CheckpointError
from mmssl.utils.errors import ConfigError

PREDICTOR = dict(type='NonLinearNeck', in_channels=6, hid_channels=8, out_channels=6, with_avg_pool=False)


@pytest.mark.parametrize('norm_pix', [False, True])
def test_mae_head(norm_pix):
    """The published formula, on images with two channels that are no squares."""
    head = build_head(dict(type='MAEPretrainHead', norm_pix=norm_pix, patch_size=4))
    img, pred, mask = torch.rand(3, 2, 8, 12), torch.randn(3, 6, 32), torch.zeros(3, 6)
    mask[:, [0, 2, 3]] = 1
    total = 0
    for b in range(3):
        for i in (0, 2, 3):
            patch = img[b, :, i // 3 * 4:i // 3 * 4 + 4, i % 3 * 4:i % 3 * 4 + 4].permute(1, 2, 0).flatten().double()
            if norm_pix:
                patch = (patch - patch.mean()) / (patch.var() + 1e-6)**0.5
            total += ((pred[b, i] - patch)**2).mean()
    assert head(img, pred, mask)['loss'].item() == pytest.approx(total.item() / 9, rel=1e-5)


@pytest.mark.parametrize('norm_pix', [False, True])
def test_mae_head_makes_images(norm_pix):
    """Targets as predictions give the images back."""
    head = build_head(dict(type='MAEPretrainHead', norm_pix=norm_pix, patch_size=4))
    img = torch.rand(3, 2, 8, 12)
    patches = head.patchify(img)
    if norm_pix:
        patches = (patches - patches.mean(2, keepdim=True)) / (patches.var(2, keepdim=True) + 1e-6).sqrt()
    assert head(img, patches, torch.ones(3, 6))['loss'] < 1e-12
    torch.testing.assert_close(head.to_pixels(patches, img), img)
    assert head.unpatchify(head.patchify(img), (2, 3)).equal(img)
    mask = torch.tensor([[1., 0, 0, 0, 0, 1]]).expand(3, -1)
    pixels = torch.zeros(3, 2, 8, 12)
    pixels[:, :, :4, :4] = pixels[:, :, 4:, 8:] = 1
    assert head.mask_to_pixels(mask, img).equal(pixels)


def test_mae_head_names_predictions_of_other_patches():
    head = build_head(dict(type='MAEPretrainHead', patch_size=4))
    with pytest.raises(ConfigError, match=r'\(2, 4, 16\).*\(2, 4, 48\): patch_size and in_chans of the neck'):
        head(torch.zeros(2, 1, 8, 8), torch.zeros(2, 4, 48), torch.ones(2, 4))


def test_simmim_head():
    """The published formula: the mask repeated to pixels, its sum plus 1e-5, the number of channels."""
    head = build_head(dict(type='SimMIMHead', patch_size=2, encoder_in_channels=3))
    x, x_rec, mask = torch.randn(2, 3, 8, 6), torch.randn(2, 3, 8, 6), (torch.rand(2, 4, 3) < 0.6).int()
    pixels = mask.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, None]
    expected = ((x - x_rec).abs() * pixels).sum() / (pixels.sum() + 1e-5) / 3
    torch.testing.assert_close(head(x, x_rec, mask)['loss'], expected)
    for args in ((x, x_rec[..., :4], mask), (x, x_rec, mask[:, :3]), (x[:, :1], x_rec, mask)):
        with pytest.raises(ConfigError, match='patches of 2 pixels and 3 channels'):
            head(*args)


def test_maskfeat_head():
    head = build_head(dict(type='MaskFeatPretrainHead', embed_dim=6, hog_dim=8))
    assert list(head.state_dict()) == ['head.weight', 'head.bias']
    latent, hog, mask = torch.randn(2, 7, 6), torch.randn(2, 6, 8), torch.rand(2, 2, 3) < 0.5
    # the class token is the first of the seven
    errors = [
        F.mse_loss(head.head(latent[b, 1 + i]), hog[b, i]) for b in range(2) for i in range(6) if mask[b, i // 3, i % 3]
    ]
    torch.testing.assert_close(head(latent, hog, mask)['loss'], sum(errors) / len(errors))
    torch.testing.assert_close(
        head.loss(head.head(latent[:, 1:]), hog, mask.flatten(1))['loss'],
        sum(errors) / len(errors))
    head = MaskFeatPretrainHead()
    head.init_weights()
    assert head.head.weight.shape == (108, 768) and not head.head.bias.any()
    assert head.head.weight.std().item() == pytest.approx(0.02, rel=0.02)


def test_mocov3_head():
    head = build_head(dict(type='MoCoV3Head', predictor=PREDICTOR, temperature=0.2)).double()
    base, momentum = torch.randn(5, 6).double(), torch.randn(5, 6, requires_grad=True, dtype=torch.float64)
    q = head.predictor([base])[0]
    total = 0
    for i in range(5):
        weights = [math.e**(F.cosine_similarity(q[i], momentum[j], dim=0) / 0.2) for j in range(5)]
        total = total - torch.log(weights[i] / sum(weights))
    loss = head(base, momentum)['loss']
    torch.testing.assert_close(loss, 2 * 0.2 * total / 5)
    loss.backward()
    assert momentum.grad is None and head.predictor.fc0.weight.grad.norm() > 0
    with pytest.raises(ValueError, match='temperature must be positive, got 0'):
        build_head(dict(type='MoCoV3Head', predictor=PREDICTOR, temperature=0))


def test_autocast_does_not_round_the_loss_of_mocov3():
    head = build_head(dict(type='MoCoV3Head', predictor=dict(PREDICTOR, norm_cfg=dict(type='LN')), temperature=0.01))
    base, momentum = torch.randn(5, 6), torch.randn(5, 6).bfloat16()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        pred, loss = head.predictor([base])[0], head(base, momentum)['loss']
    scores = F.normalize(pred.double(), dim=1) @ F.normalize(momentum.double(), dim=1).T / 0.01
    expected = 2 * 0.01 * F.cross_entropy(scores, torch.arange(5))
    assert pred.dtype == torch.bfloat16 and loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.fixture(scope='module')
def tokenizer(tmp_path_factory):
    """A small random tokenizer of 16 tokens, in a file."""
    path = tmp_path_factory.mktemp('tokenizer') / 'encoder.pth'
    torch.manual_seed(0)
    torch.save(Encoder(n_hid=8, n_blk_per_group=1, vocab_size=16).state_dict(), path)
    return str(path)


def cae_batch():
    """Two images with 2 x 3 tokens, of which two are masked."""
    mask = torch.tensor([[0, 1, 0, 0, 0, 1], [1, 1, 0, 0, 0, 0]])
    return torch.rand(2, 3, 16, 24), torch.randn(4, 16), torch.randn(2, 2, 5), torch.randn(2, 2, 5), mask


@pytest.mark.parametrize('shape', [(2, 2, 3), (2, 6)])
def test_cae_head(tokenizer, shape):
    head = build_head(dict(type='CAEHead', tokenizer_path=tokenizer, lambd=3))
    img, outputs, latent_pred, latent_target, mask = cae_batch()
    for t in (img, outputs, latent_pred, latent_target):
        t.requires_grad_()
    encoder = Encoder(n_hid=8, n_blk_per_group=1, vocab_size=16)
    encoder.load_state_dict(torch.load(tokenizer))
    tokens = encoder(img * 0.8 + 0.1).argmax(1)
    assert len(tokens.unique()) > 1
    masked = [(0, 0, 1), (0, 1, 2), (1, 0, 0), (1, 0, 1)]  # image, row, column
    main = sum(-outputs[i].log_softmax(0)[tokens[where]] for i, where in enumerate(masked)) / 4
    align = 3 * ((latent_pred - latent_target)**2).mean()

    losses = head(img, outputs, latent_pred, latent_target, mask.view(shape))
    assert list(losses) == ['loss', 'main', 'align']
    torch.testing.assert_close(losses['main'], main)
    torch.testing.assert_close(losses['align'], align)
    torch.testing.assert_close(losses['loss'], main + align)
    torch.testing.assert_close(
        head(img, outputs.view(2, 2, 16), latent_pred, latent_target,
             mask.view(shape).bool())['loss'], main + align)
    losses['loss'].backward()
    assert latent_target.grad is None and img.grad is None
    torch.testing.assert_close(latent_pred.grad, 6 * (latent_pred - latent_target).detach() / 20)
    assert not any(p.requires_grad for p in head.tokenizer.parameters())


def test_tokenizer_is_no_part_of_the_head(tokenizer):
    """Neither trained, nor counted, nor in a checkpoint; in evaluation mode; of the images' device and dtype."""
    head = build_head(dict(type='CAEHead', tokenizer_path=tokenizer, lambd=2))
    head.init_weights()
    batch = cae_batch()
    head(*batch)
    head.train()
    assert not head.tokenizer.training
    assert not head.state_dict() and not list(head.parameters()) and not list(head.buffers())
    tokens = head.tokens(batch[0])
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert head.tokens(batch[0]).equal(tokens)
        losses = head(batch[0], *(t.bfloat16() for t in batch[1:4]), batch[4])
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    assert copy.deepcopy(head).tokens(batch[0]).equal(tokens)
    assert head.tokens(batch[0].double()).equal(tokens) and head.tokenizer.blocks.input.w.dtype == torch.float64
    assert head.tokens(batch[0].bfloat16().float()).equal(head.tokens(batch[0].bfloat16()))
    assert head.tokens(batch[0]).equal(tokens)  # its weights were never rounded


def test_absent_tokenizer_is_an_error_in_training_only(tmp_path):
    path = tmp_path / 'dalle_encoder.pth'
    head = build_head(dict(type='CAEHead', tokenizer_path=str(path), lambd=2))
    head.init_weights()
    head.load_state_dict(head.state_dict())
    head.to(torch.float64).eval()
    message = r'dalle_encoder.pth does not exist\. CAE predicts .*a file of yours.*set model.head.tokenizer_path'
    with pytest.raises(FileNotFoundError, match=message):
        head(*cae_batch())


def test_foreign_tokenizers_are_named(tokenizer, tmp_path):
    weights = torch.load(tokenizer)
    weights['more'] = weights['other'] = weights.pop('blocks.input.b')
    fewer, whole, other = (str(tmp_path / name) for name in ('fewer.pth', 'encoder.pkl', 'other.pth'))
    torch.save(weights, fewer)
    torch.save(Encoder(n_hid=8, n_blk_per_group=1, vocab_size=16), whole)
    torch.save({'fc.weight': torch.zeros(2, 3)}, other)
    for path, message in ((fewer, '1 missing, 2 unexpected'), (whole, r'object of type torch.*'
                                                               r'torch.save\(encoder.state_dict\(\), PATH\)'),
                          (other, "nothing .* fits the model: .*'fc.weight'.*tokenizer_path is '.*other.pth'")):
        with pytest.raises(CheckpointError, match=message):
            build_head(dict(type='CAEHead', tokenizer_path=path, lambd=2))(*cae_batch())


def test_tokens_that_do_not_fit_are_named(tokenizer):
    head = build_head(dict(type='CAEHead', tokenizer_path=tokenizer, lambd=2))
    img, outputs, latent_pred, latent_target, mask = cae_batch()
    for wrong in (mask.view(2, 3, 2), mask[:, :4]):
        with pytest.raises(ConfigError, match=r'mask is .*second images of \(16, 24\) pixels .*second_size'):
            head(img, outputs, latent_pred, latent_target, wrong)
    with pytest.raises(ConfigError, match='scores of 15 tokens .* has 16: set model.neck.num_classes'):
        head(img, outputs[:, :15], latent_pred, latent_target, mask)
