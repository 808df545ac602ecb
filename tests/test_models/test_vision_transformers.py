"""Vision transformers against timm and mmcls with the same weights, and the encoders of MAE, CAE and MaskFeat against
transformers that are run on the tokens themselves."""
import copy

import pytest
import tiny
import torch
from torch import nn
from torch.nn import functional as F

from mmssl.models import build_backbone
from mmssl.models.utils.position_embedding import build_2d_sincos_position_embedding
from mmssl.utils.checkpoint import load_weights
from mmssl.utils.errors import ConfigError

KINDS = ['VisionTransformer', 'MIMVisionTransformer', 'MAEViT', 'MaskFeatViT', 'CAEViT']
VIT = dict(tiny.VIT, type='VisionTransformer')  # 4 x 4 patches of 8 pixels, 2 layers of 16 dimensions


def build(seed=0, **changes):
    """A small backbone with values everywhere, so that nothing hides behind zeros and ones."""
    torch.manual_seed(seed)
    model = build_backbone({**VIT, **changes})
    for p in model.parameters():
        nn.init.uniform_(p, -0.4, 0.4)
    return model


def images(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def cut_out(img, size=8):
    """Patches in row order, each as a list of numbers; B x L x C*p*p."""
    return F.unfold(img, size, stride=size).transpose(1, 2)


def naive_tokens(model, img):
    """Patches of an image with their positions, B x L x D, without the class token."""
    embed = model.patch_embed.projection
    return cut_out(img) @ embed.weight.flatten(1).T + embed.bias + model.pos_embed[:, 1:]


def naive_encode(model, tokens, norm=True):
    """The transformer on given tokens, behind the class token."""
    first = (model.cls_token + model.pos_embed[:, :1]).expand(len(tokens), -1, -1)
    x = torch.cat((first, tokens), 1)
    for layer in model.layers:
        x = layer(x)
    return model.ln1(x) if norm else x


# ---- against timm and mmcls


def to_timm(key):
    """The name that timm has for a parameter."""
    for ours, timms in (('patch_embed.projection', 'patch_embed.proj'), ('layers.', 'blocks.'), ('.ln', '.norm'),
                        ('ffn.blocks.0.0', 'mlp.fc1'), ('ffn.blocks.1', 'mlp.fc2'), ('ln1', 'norm')):
        key = key.replace(ours, timms)
    return key


def test_timm():
    """DeiT-Ti: outputs, class token and gradients."""
    import timm
    reference = timm.create_model('deit_tiny_patch16_224', img_size=(64, 48), num_classes=0)
    for p in reference.parameters():
        nn.init.trunc_normal_(p, std=0.05)
    model = build_backbone(dict(type='VisionTransformer', arch='deit-tiny', img_size=(64, 48)))
    weights = reference.state_dict()
    model.load_state_dict({key: weights[to_timm(key)] for key in model.state_dict()})
    assert len(weights) == len(model.state_dict())
    model.pos_embed.requires_grad_()
    img = images(2, 3, 64, 48)
    maps, cls_token = model(img)[0]
    out, expected = torch.cat((cls_token[:, None], maps.flatten(2).transpose(1, 2)), 1), reference.forward_features(img)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
    weights = torch.randn_like(expected)
    (expected * weights).sum().backward()
    (out * weights).sum().backward()
    theirs = dict(reference.named_parameters())
    for name, p in model.named_parameters():
        grad = theirs[to_timm(name)].grad
        torch.testing.assert_close(p.grad, grad, rtol=1e-3, atol=1e-3 * grad.abs().max().item())


@pytest.mark.parametrize('kwargs', [
    dict(),
    dict(out_indices=[0, 1], final_norm=False),
    dict(out_indices=[0, -1], output_cls_token=False, patch_cfg=dict(bias=False), norm_cfg=dict(type='LN')),
])
def test_mmcls(kwargs):
    """The very same state dict; outputs for images of the size and of another one."""
    import mmcls.models
    model = build(**kwargs)
    arguments = {k: v for k, v in {**VIT, **kwargs}.items() if k != 'type'}
    reference = mmcls.models.VisionTransformer(**copy.deepcopy(arguments))
    reference.load_state_dict(model.state_dict(), strict=True)
    assert list(reference.state_dict()) == list(model.state_dict())
    for img in (images(2, 3, 32, 32), images(2, 3, 48, 40)):
        got, wanted = model(img), reference(img)
        assert len(got) == len(wanted)
        for a, b in zip(got, wanted):
            if kwargs.get('output_cls_token', True):
                torch.testing.assert_close(a[1], b[1], rtol=1e-4, atol=1e-5)
                a, b = a[0], b[0]
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


# Parameters without a classifier of 1000 classes; those of timm's models of that name
@pytest.mark.parametrize('arch, patch_size, parameters', [
    ('deit-tiny', 16, 5717416 - 192 * 1000 - 1000),
    ('deit-small', 16, 22050664 - 384 * 1000 - 1000),
    ('mocov3-small', 16, 22050664 - 384 * 1000 - 1000),
    ('base', 16, 86567656 - 768 * 1000 - 1000),
    ('large', 16, 304326632 - 1024 * 1000 - 1000),
    ('huge', 14, 632045800 - 1280 * 1000 - 1000),
])
def test_architectures(arch, patch_size, parameters):
    with torch.device('meta'):
        model = build_backbone(dict(type='VisionTransformer', arch=arch, patch_size=patch_size))
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_the_giant_of_dinov2():
    """As many parameters as timm's, which has 518 px (37 x 37 positions) and LayerScale, and no mask token."""
    import timm
    with torch.device('meta'):
        theirs = timm.create_model('vit_giant_patch14_dinov2')
        model = build_backbone(
            dict(
                type='DINOViT',
                arch='giant',
                patch_size=14,
                img_size=518,
                ffn='swiglu',
                init_values=1e-5,
                layer_cfgs=dict(drop_path_rate=0.4),
                drop_path_subset=True))
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in theirs.parameters()) > 1.1e9
    assert all(layer.drop_path_subset and layer.drop_path.drop_prob == 0.4 for layer in model.layers)


def test_other_architectures():
    """All names build, and wrong ones are named; the small one is timm's of 2020, which had no bias of qkv."""
    from mmssl.models import VisionTransformer
    sizes = {}
    for arch in VisionTransformer.arch_zoo:
        with torch.device('meta'):
            model = VisionTransformer(arch=arch.upper())
        sizes[arch] = sum(p.numel() for p in model.parameters())
        assert model.layers[0].attn.num_heads == VisionTransformer.arch_zoo[arch]['num_heads']
    assert sizes['s'] == sizes['small'] == 48754408 - 768 * 1000 - 1000 + 8 * 3 * 768
    assert sizes['b'] == sizes['base'] == sizes['deit-b'] == sizes['deit-base']
    assert sizes['deit-t'] == sizes['deit-tiny'] < sizes['deit-s'] == sizes['deit-small'] == sizes['mocov3-small']
    with pytest.raises(ConfigError, match="VisionTransformer has no architecture 'hug'; .*huge"):
        VisionTransformer(arch='hug')
    with pytest.raises(ConfigError, match='a dict with embed_dims, num_layers, .*, got'):
        VisionTransformer(arch=dict(embed_dims=16))
    with pytest.raises(ConfigError, match=r'numbers from -2 to 1 .-1 is the last layer., got \[2\]'):
        build(out_indices=2)
    with pytest.raises(ConfigError, match='layer_cfgs is one dict for all 2, or a list of 2, got 3'):
        build(layer_cfgs=[dict()] * 3)
    with pytest.raises(ConfigError, match="no argument 'atn_drop_rate' .* did you mean 'attn_drop_rate'"):
        build(layer_cfgs=dict(atn_drop_rate=0.1))


# ---- positions


def test_fixed_positions_are_not_trained():
    model = build_backbone(VIT)
    model.init_weights()
    assert model.pos_embed.equal(build_2d_sincos_position_embedding(4, 16, cls_token=True))
    assert not model.pos_embed.requires_grad
    learned = build_backbone(dict(VIT, type='MIMVisionTransformer'))
    learned.init_weights()
    assert learned.pos_embed.requires_grad and learned.pos_embed.std().item() == pytest.approx(0.02, rel=0.2)


def test_native_size_leaves_positions_alone():
    model = build()
    assert model.positions((4, 4)) is model.pos_embed
    img = images(2, 3, 32, 32)
    out = model(img)[0]
    x = naive_encode(model, naive_tokens(model, img))
    torch.testing.assert_close(out[0].flatten(2).transpose(1, 2), x[:, 1:])
    torch.testing.assert_close(out[1], x[:, 0])
    with_same = build(img_size=(32, 32))
    with_same.load_state_dict(model.state_dict())
    assert with_same(img)[0][0].equal(out[0])


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('size', [(48, 40), (64, 64)])
def test_other_sizes(kind, size, tmp_path):
    """A model of another size that loads a checkpoint is the model that interpolates at each image. With load_weights
    the positions count as matched.
    """
    small, large = build(type=kind), build(seed=1, type=kind, img_size=size)
    large.load_state_dict(small.state_dict())
    positions = small.pos_embed[0, 1:].view(4, 4, 16).permute(2, 0, 1)[None]
    positions = F.interpolate(positions, (size[0] // 8, size[1] // 8), mode='bicubic', align_corners=False)
    torch.testing.assert_close(large.pos_embed[0, 1:], positions[0].flatten(1).T)
    assert large.pos_embed[:, 0].equal(small.pos_embed[:, 0]) and small.pos_embed.shape[1] == 17
    img = images(2, 3, *size)
    out, expected = small.extract_feat(img)[0], large.extract_feat(img)[0]
    assert out[0].equal(expected[0]) and out[1].equal(expected[1]) and out[0].shape[2:] == (size[0] // 8, size[1] // 8)
    torch.save(dict(state_dict={f'backbone.{k}': v for k, v in small.state_dict().items()}), tmp_path / 'small.pth')
    again = build(seed=2, type=kind, img_size=size)
    report = load_weights(again, tmp_path / 'small.pth', prefix='backbone.', strict=True)
    assert report.matched == list(small.state_dict())
    assert all(a.equal(b) for a, b in zip(again.state_dict().values(), large.state_dict().values()))


@pytest.mark.parametrize('kind', KINDS)
def test_rectangles(kind):
    """Images of another shape with the same number of patches have their own positions too."""
    model, img = build(type=kind), images(2, 3, 16, 64)
    tall = model.extract_feat(img)[0]
    positions = F.interpolate(
        model.pos_embed[0, 1:].view(4, 4, 16).permute(2, 0, 1)[None], (2, 8), mode='bicubic')[0].flatten(1).T
    with torch.no_grad():
        model.pos_embed[0, 1:] = positions
    x = naive_encode(model, naive_tokens(model, img))
    torch.testing.assert_close(tall[0], x[:, 1:].transpose(1, 2).unflatten(2, (2, 8)))
    torch.testing.assert_close(tall[1], x[:, 0])


def test_positions_of_no_square_are_named():
    model = build(type='MaskFeatViT', img_size=(16, 24))
    with pytest.raises(RuntimeError, match='size mismatch for pos_embed'):
        build(type='MaskFeatViT').load_state_dict(model.state_dict())
    again = build(seed=1, type='MaskFeatViT', img_size=(16, 24))
    again.load_state_dict(model.state_dict())
    assert again.pos_embed.equal(model.pos_embed)


def test_windows_are_of_one_size():
    model = build(type='MIMVisionTransformer', use_window=True)
    with pytest.raises(ConfigError, match=r'one of \(4, 4\) patches, the images have \(5, 4\): set img_size'):
        model(images(2, 3, 40, 32))


# ---- what trains


def trained(model):
    """Parameters that get a gradient in a step."""
    model.train()
    model.zero_grad()
    out = model.forward(images(2, 3, 32, 32))[-1]
    sum(t.square().sum() for t in (out if isinstance(out, tuple) else (out, ))).backward()
    return {name for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize('frozen_stages', [-1, 0, 1, 2])
def test_frozen_stages(frozen_stages):
    """No gradient, and no dropout even in training: what is frozen gives the same twice."""
    model = build(frozen_stages=frozen_stages, drop_rate=0.3, drop_path_rate=0.3)
    expected = {name for name, p in model.named_parameters() if name != 'pos_embed'}
    if frozen_stages >= 0:
        frozen = ['patch_embed', 'cls_token', *[f'layers.{i}.' for i in range(frozen_stages)]]
        frozen += ['ln1.'] if frozen_stages == 2 else []
        expected -= {name for name in expected if name.startswith(tuple(frozen))}
    if expected:
        assert trained(model) == expected
    model.train()
    img = images(2, 3, 32, 32)
    for part in range(3):
        results = []
        for _ in range(2):
            x = model.embed(img)[0]
            for layer in model.layers[:part]:
                x = layer(x)
            results.append(x)
        assert results[0].equal(results[1]) == (frozen_stages >= part)
    model.eval().train()
    assert not model.patch_embed.training == (frozen_stages >= 0)
    assert [layer.training for layer in model.layers] == [i >= frozen_stages for i in range(2)]


def test_stop_grad_conv1():
    model = build(stop_grad_conv1=True)
    names = {name for name, _ in model.named_parameters()}
    assert trained(model) == names - {'pos_embed', 'patch_embed.projection.weight', 'patch_embed.projection.bias'}


def test_initialisation():
    """Of MoCo v3: queries, keys and values are three matrices; the patch embedding is one of a fan-in of all pixels."""
    model = build_backbone(dict(type='VisionTransformer', arch='deit-tiny', img_size=32))
    model.init_weights()

    def bound(weight, fan_in, fan_out):
        limit = (6 / (fan_in + fan_out))**0.5
        assert 0.99 * limit < weight.abs().max().item() <= limit
        assert weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.02)

    bound(model.patch_embed.projection.weight, 3 * 16 * 16, 192)
    for layer in model.layers:
        bound(layer.attn.qkv.weight, 192, 192)
        bound(layer.ffn.layers[0][0].weight, 192, 768)
        for name in ('attn.qkv', 'attn.proj', 'ffn.layers.1'):
            assert not layer.get_submodule(name).bias.any()
    assert model.cls_token.std() < 2e-6


# ---- MIMVisionTransformer


@pytest.mark.parametrize('final_norm', [True, False])
def test_classification_after_masked_image_modelling(final_norm):
    """The class token behind the norm, or the mean of the patches behind a norm of its own."""
    model, img = build(type='MIMVisionTransformer', final_norm=final_norm, init_values=0.1), images(2, 3, 32, 32)
    x = naive_encode(model, naive_tokens(model, img), norm=False)
    if final_norm:
        expected = F.layer_norm(x[:, 0], (16, ), model.ln1.weight, model.ln1.bias, 1e-6)
    else:
        expected = F.layer_norm(x[:, 1:].mean(1), (16, ), model.fc_norm.weight, model.fc_norm.bias, 1e-6)
    out = model(img)
    assert isinstance(out, tuple) and len(out) == 1
    torch.testing.assert_close(out[0], expected)
    assert ('ln1.weight' in model.state_dict(), 'fc_norm.weight' in model.state_dict()) == (final_norm, not final_norm)
    unused = set() if final_norm else {'fc_norm.weight', 'fc_norm.bias'}
    assert unused <= trained(model) == {name for name, _ in model.named_parameters()}


def test_linear_probe():
    """Nothing trains and nothing is dropped; with fine-tuning the same weights do."""
    model = build(type='MIMVisionTransformer', finetune=False, drop_rate=0.5, drop_path_rate=0.5)
    model.requires_grad_().train()  # as a runner does before each epoch
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    assert not any(module.training for module in model.modules())
    img = images(2, 3, 32, 32)
    assert model(img)[0].equal(model(img)[0])
    tuned = build(type='MIMVisionTransformer', drop_rate=0.5).train()
    assert not tuned(img)[0].equal(tuned(img)[0])
    tuned.load_state_dict(model.state_dict())
    assert tuned.eval()(img)[0].equal(model(img)[0])


@pytest.mark.parametrize('use_window', [False, True])
def test_attention_maps(use_window):
    """Of the last layer, for all tokens; its output follows from them."""
    model = build(type='MIMVisionTransformer', use_window=use_window)
    maps, grid = model.attention_maps(images(2, 3, 32, 32))
    assert grid == (4, 4) and maps.shape == (2, 2, 17, 17)
    torch.testing.assert_close(maps.sum(3), torch.ones(2, 2, 17))
    seen = []
    attn = model.layers[-1].attn
    attn.register_forward_hook(lambda module, args, out: seen.append((args[0], out)))
    model(images(2, 3, 32, 32))
    (x, out), = seen
    torch.testing.assert_close(attn.proj((maps @ attn.project(x)[2]).transpose(1, 2).flatten(2)), out)


# ---- encoders that mask


def naive_visible(model, img, visible):
    """The transformer on the patches of these indices alone, B x K."""
    tokens = naive_tokens(model, img)
    return naive_encode(model, torch.stack([tokens[b, ids] for b, ids in enumerate(visible)]))


@pytest.mark.parametrize('ratio, size', [(0.75, (32, 32)), (0.6, (32, 32)), (0.4, (24, 40))])
def test_mae_sees_visible_patches_only(ratio, size):
    """Outputs and gradients; the numbers are exact: L * (1 - ratio), rounded down, without the class token."""
    model, img = build(type='MAEViT', mask_ratio=ratio, img_size=size), images(4, 3, *size)
    count = size[0] * size[1] // 64
    latent, mask, places = model(img)
    visible = [[i for _, i in sorted((p, i) for i, p in enumerate(row)) if not hidden[i]]
               for row, hidden in zip(places.tolist(), mask.tolist())]
    kept = int(count * (1 - ratio))
    assert {len(ids) for ids in visible} == {kept} and latent.shape == (4, kept + 1, 16)
    assert mask.sum(1).tolist() == [count - kept] * 4 and mask.eq((places >= kept).float()).all()
    assert places.sort(1).values.equal(torch.arange(count).expand(4, -1)) and len({tuple(ids) for ids in visible}) == 4
    expected = naive_visible(model, img, visible)
    torch.testing.assert_close(latent, expected)
    names, parameters = zip(*[(n, p) for n, p in model.named_parameters() if n != 'pos_embed'])
    weights = torch.randn_like(latent)
    for name, got, want in zip(names, torch.autograd.grad(latent, parameters, weights),
                               torch.autograd.grad(expected, parameters, weights)):
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3 * want.abs().max().item(), msg=name)


def test_mae_without_masks_is_a_vision_transformer():
    model, img = build(type='MAEViT', mask_ratio=0.), images(4, 3, 32, 32)
    latent, mask, places = model(img)
    assert not mask.any() and latent.shape == (4, 17, 16)
    maps, cls_token = model.extract_feat(img)[0]
    torch.testing.assert_close(latent[:, 0], cls_token)
    for b in range(4):
        torch.testing.assert_close(latent[b, 1 + places[b]], maps[b].flatten(1).T)


def test_masks_of_mae_are_uniform():
    """Each patch is masked as often as any other, and so is each pair; the order of the visible ones is random."""
    model = build(type='MAEViT')
    x, mask, places = model.random_masking(torch.arange(16.).view(1, 16, 1).expand(8000, -1, -1), 0.75)
    assert mask.sum(1).eq(12).all()
    assert (mask.mean(0) - 0.75).abs().max() < 5 * (0.75 * 0.25 / 8000)**0.5
    pairs = mask.T @ mask / 8000
    expected = 0.75 * 11 / 15  # the second is drawn from what is left
    assert (pairs - torch.diag(pairs.diag()) - expected * (1 - torch.eye(16))).abs().max() < 5 * (0.25 / 8000)**0.5
    counts = torch.bincount(x[:, 0, 0].long(), minlength=16) / 8000
    assert (counts - 1 / 16).abs().max() < 5 * (1 / 16 * 15 / 16 / 8000)**0.5
    torch.manual_seed(5)
    first = model.random_masking(torch.zeros(4, 16, 1))[1]
    second = model.random_masking(torch.zeros(4, 16, 1))[1]
    torch.manual_seed(5)
    assert model.random_masking(torch.zeros(4, 16, 1))[1].equal(first) and not first.equal(second)


@pytest.mark.parametrize('ratio', [1, 0.95, -0.1])
def test_mae_leaves_a_patch_visible(ratio):
    with pytest.raises(ConfigError, match=f'mask_ratio={ratio} of 16 patches'):
        build(type='MAEViT', mask_ratio=ratio)


@pytest.mark.parametrize('size', [(32, 32), (24, 40)])
def test_cae_sees_visible_patches_only(size):
    """In row order, behind the class token; with the mask turned around the others."""
    model, img = build(type='CAEViT', qkv_bias=False, init_values=0.1, img_size=size), images(4, 3, *size)
    mask = tiny.random_mask(0, 4, 4, 6).flatten(1).bool()[:, :size[0] * size[1] // 64]
    mask[:, 0] = False
    mask = mask & (mask.cumsum(1) <= 4)  # four in each
    assert mask.sum(1).tolist() == [4] * 4
    for hidden in (mask, ~mask):
        visible = [[i for i in range(mask.shape[1]) if not row[i]] for row in hidden]
        expected = naive_visible(model, img, visible)
        torch.testing.assert_close(model(img, hidden), expected)
        torch.testing.assert_close(model(img, hidden, len(visible[0])), expected)


def test_maskfeat_replaces_masked_patches():
    """A token stands in for them before the positions are added; nothing of their pixels is seen."""
    model, img = build(type='MaskFeatViT'), images(4, 3, 32, 32)
    mask = tiny.random_mask(0, 4, 4, 6)
    tokens = naive_tokens(model, img) - model.pos_embed[:, 1:]
    for b in range(4):
        for i in range(16):
            if mask[b, i // 4, i % 4]:
                tokens[b, i] = model.mask_token[0, 0]
    expected = naive_encode(model, tokens + model.pos_embed[:, 1:])
    for kind in (int, bool, float):
        torch.testing.assert_close(model(img, mask.to(kind)), expected)
    noise = mask[:, None].repeat_interleave(8, 2).repeat_interleave(8, 3) * torch.randn_like(img)
    torch.testing.assert_close(model(img + noise, mask), expected)
    maps, cls_token = model.extract_feat(img)[0]
    unmasked = model(img, torch.zeros_like(mask))
    torch.testing.assert_close(unmasked[:, 0], cls_token)
    torch.testing.assert_close(unmasked[:, 1:].transpose(1, 2).unflatten(2, (4, 4)), maps)
    assert torch.autograd.grad(unmasked.sum(), model.mask_token)[0].eq(0).all()
    assert torch.autograd.grad(model(img, mask).square().sum(), model.mask_token)[0].ne(0).all()


# ---- masked, left out, and more tokens


def test_registers_have_no_position_and_no_output():
    """They stand between class token and patches; at zero attention to them the network is the one without."""
    model = build(num_registers=3, output_cls_token=True).eval()
    model.init_weights()
    img = images(2, 3, 32, 48)
    tokens, grid = model.embed(img)
    assert grid == (4, 6) and tokens.shape == (2, 1 + 3 + 24, 16)
    assert model.pos_embed.shape[1] == 17  # class token and 4 x 4 patches
    torch.testing.assert_close(tokens[:, 1:4], model.register_tokens.expand(2, -1, -1))
    assert 0 < model.register_tokens.std() < 3e-6
    maps, cls_token = model(img)[0]
    out = model.tokens(img)
    torch.testing.assert_close(maps.flatten(2).transpose(1, 2), out[:, 4:])
    torch.testing.assert_close(cls_token, out[:, 0])
    attention, _ = model.attention_maps(img)
    assert attention.shape[-1] == 28
    plain = build(output_cls_token=True).eval()
    missing = model.load_state_dict(plain.state_dict(), strict=False)
    assert missing.missing_keys == ['register_tokens'] and not missing.unexpected_keys
    assert not model(img)[0][1].allclose(plain(img)[0][1])  # they take part


def test_mask_token_takes_the_place_of_patches_before_their_positions():
    model = build(with_mask_token=True).eval()
    torch.nn.init.normal_(model.mask_token)
    img, mask = images(2, 3, 32, 32), torch.rand(2, 4, 4) < 0.5
    tokens, plain = model.embed(img, mask)[0], model.embed(img)[0]
    assert tokens[:, 0].equal(plain[:, 0])
    hidden = mask.flatten(1)
    assert tokens[:, 1:][~hidden].equal(plain[:, 1:][~hidden])
    expected = (model.mask_token + model.pos_embed[:, 1:]).expand(2, -1, -1)
    torch.testing.assert_close(tokens[:, 1:][hidden], expected[hidden])
    # what a masked patch shows changes nothing
    changed = torch.where(mask.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None], images(2, 3, 32, 32), img)
    torch.testing.assert_close(model(changed, mask)[0][0], model(img, mask.flatten(1))[0][0])
    # a mask that hides nothing gives a gradient too, of zeros: DDP waits for it
    model(img, torch.zeros(2, 4, 4, dtype=torch.bool))[0][0].sum().backward()
    assert model.mask_token.grad.eq(0).all()


@pytest.mark.parametrize('with_cls_token', [True, False])
def test_visible_patches_are_those_of_an_image_cut_after_the_embedding(with_cls_token):
    """In any order, on any size, with registers."""
    model = build(num_registers=2, with_cls_token=with_cls_token).eval()
    img = images(2, 3, 32, 48)
    visible = torch.stack([torch.randperm(24)[:7] for _ in range(2)])
    everything, first = model.embed(img)[0], model.num_extra_tokens
    kept = everything[:, first:].gather(1, visible[..., None].expand(-1, -1, 16))
    expected = model.encode(torch.cat((everything[:, :first], kept), 1))
    torch.testing.assert_close(model.tokens(img, visible=visible), expected)


def test_masks_that_cannot_be():
    img, mask = images(2, 3, 32, 32), torch.zeros(2, 4, 4, dtype=torch.bool)
    with pytest.raises(ConfigError, match='with_mask_token=True'):
        build()(img, mask)
    with pytest.raises(ConfigError, match='one of mask and visible'):
        build(with_mask_token=True).tokens(img, mask, torch.zeros(2, 3, dtype=torch.long))
    with pytest.raises(ConfigError, match='3 x 4 patches'):
        build(with_mask_token=True)(img, mask[:, 1:])
    with pytest.raises(ConfigError, match='num_registers'):
        build(num_registers=-1)
    with pytest.raises(ConfigError, match='use_window'):
        build(num_registers=1, use_window=True)


# ---- rotary positions


@pytest.mark.parametrize('size', [(32, 48), (48, 32)])
def test_dinov3_of_transformers(size):
    """The whole network with the same weights: rotary positions, registers, LayerScale, no bias of the keys."""
    transformers = pytest.importorskip('transformers')
    config = transformers.DINOv3ViTConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        patch_size=8,
        image_size=32,
        num_register_tokens=3,
        layer_norm_eps=1e-6)
    theirs = transformers.DINOv3ViTModel(config).eval()
    for p in theirs.parameters():
        nn.init.uniform_(p, -0.4, 0.4)
    model = build_backbone(
        dict(
            type='VisionTransformer',
            arch=dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64),
            img_size=32,
            patch_size=8,
            num_registers=3,
            init_values=1.,
            with_mask_token=True,
            rope=dict(base=config.rope_theta, rescale=config.pos_embed_rescale))).eval()
    found, weights = theirs.state_dict(), {}
    for name in model.state_dict():
        key = name.replace('layers.', 'model.layer.' if 'model.layer.0.norm1.weight' in found else 'layer.', 1)
        for ours, other in (('patch_embed.projection', 'embeddings.patch_embeddings'), ('.ln1', '.norm1'),
                            ('.ln2', '.norm2'), ('attn.proj', 'attention.o_proj'), ('ffn.layers.0.0', 'mlp.up_proj'),
                            ('ffn.layers.1', 'mlp.down_proj'), ('gamma_', 'layer_scale'),
                            ('cls_token', 'embeddings.cls_token'), ('mask_token', 'embeddings.mask_token'),
                            ('register_tokens', 'embeddings.register_tokens'), ('ln1.', 'norm.')):
            key = key.replace(ours, other, 1)
        key += '.lambda1' if 'gamma' in name else ''
        if 'qkv' in name:
            parts = [found.get(key.replace('attn.qkv', f'attention.{part}_proj')) for part in 'qkv']
            weights[name] = torch.cat([torch.zeros_like(parts[0]) if part is None else part for part in parts])
        else:
            weights[name] = found[key]
    model.load_state_dict(weights)
    img, mask = images(2, 3, *size), torch.rand(2, size[0] // 8, size[1] // 8) < 0.4
    torch.testing.assert_close(model.tokens(img), theirs(img).last_hidden_state, rtol=1e-4, atol=1e-4)
    masked = theirs(img, bool_masked_pos=mask.flatten(1)).last_hidden_state
    torch.testing.assert_close(model.tokens(img, mask), masked, rtol=1e-4, atol=1e-4)
    map_, cls_token = model(img, mask)[0]
    torch.testing.assert_close(cls_token, masked[:, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(map_.flatten(2).transpose(1, 2), masked[:, 4:], rtol=1e-4, atol=1e-4)


def test_rotary_positions_of_visible_patches():
    """Of patches that stay, in any order, tokens are those of the whole image in which the others cannot be seen; the
    attention that is drawn is that of the forward pass; there are no other positions in the checkpoint."""
    model = build(rope=dict(rescale=2.), num_registers=2, with_mask_token=True).eval()
    assert 'pos_embed' not in model.state_dict() and not any('rope' in key for key in model.state_dict())
    img = images(2, 3, 32, 40)
    everything = model.tokens(img)
    order = torch.stack([torch.randperm(20) for _ in range(2)])
    shuffled = model.tokens(img, visible=order)
    torch.testing.assert_close(shuffled[:, 3:], everything[:, 3:].gather(1, order[..., None].expand(-1, -1, 16)))
    torch.testing.assert_close(shuffled[:, :3], everything[:, :3])
    moved = torch.cat((img[..., 8:], img[..., :8]), 3)  # the same patches elsewhere
    assert (model.tokens(moved)[:, 0] - everything[:, 0]).abs().max() > 1e-3
    x, grid = model.embed(img)
    layer = model.layers[0]
    maps = model.attention_maps(img, 0)[0]
    values = layer.attn.project(layer.ln1(x))[2]
    out = layer.attn.proj((maps @ values).transpose(1, 2).flatten(2))
    torch.testing.assert_close(out, layer.attn(layer.ln1(x), model.waves(grid, x)))
    few = model.train().tokens(img, visible=order[:, :5])
    few.sum().backward()
    assert few.shape == (2, 8, 16) and model.layers[0].attn.qkv.weight.grad.isfinite().all()


@pytest.mark.parametrize('kind', ['VisionTransformer', 'DINOViT', 'MAEViT', 'MIMVisionTransformer', 'MaskFeatViT'])
def test_kinds_with_rotary_positions(kind):
    model = build_backbone(dict(VIT, type=kind, rope=dict(), frozen_stages=1))
    model.init_weights()
    model.load_state_dict(model.state_dict())
    out = model.extract_feat(images(1, 3, 32, 32))
    assert torch.as_tensor(out[0][0]).isfinite().all()


def test_wrong_rotary_positions():
    with pytest.raises(ConfigError, match='not both'):
        build(rope=dict(), use_window=True)
    with pytest.raises(ConfigError, match="no argument 'bas'.*did you mean 'base'"):
        build(rope=dict(bas=10.))
    with pytest.raises(ConfigError, match='positions of its own'):
        build(type='CAEViT', rope=dict())
