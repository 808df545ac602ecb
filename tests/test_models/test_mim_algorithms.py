"""MoCo v3, MAE, SimMIM, CAE and MaskFeat against naive forward passes, in each precision, checkpointed and compiled."""
import copy
import functools

import pytest
import tiny
import torch
from torch import nn
from torch.nn import functional as F

from mmssl.core import build_optimizer
from mmssl.core.distributed import DistributedDataParallel
from mmssl.datasets import PrefetchLoader
from mmssl.datasets.loader import map_tensors
from mmssl.models import build_neck
from mmssl.models.utils.position_embedding import build_2d_sincos_position_embedding
from mmssl.utils.errors import ConfigError

NAMES = tiny.TRANSFORMERS


def build(name, seed=0, **changes):
    """A small model with values everywhere, so that nothing hides behind zeros and ones."""
    model = tiny.build(name, seed, **changes)
    torch.manual_seed(seed)
    for key, p in model.named_parameters():
        if p.requires_grad:
            nn.init.uniform_(p, -0.3, 0.3)
    if hasattr(model, 'momentum_encoder'):
        model.momentum_encoder.copy_from(model.backbone, model.neck)
    return model


def with_backbone(name, **changes):
    """Changes of a backbone's config."""
    return dict(backbone=dict(tiny.CONFIGS[name]['backbone'], **changes))


def gradients(model):
    return {name.removeprefix('module.'): p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_gradients(got, wanted, tolerance=1e-5):
    """Each up to the rounding of all: some are zero but for it, such as those of keys' biases."""
    assert set(got) == set(wanted)
    scale = max(grad.abs().max().item() for grad in wanted.values())
    for name, grad in wanted.items():
        torch.testing.assert_close(
            got[name], grad, rtol=1e-3, atol=tolerance * scale, msg=lambda text: f'{name}: {text}')


def timm_blocks(layers):
    """timm's blocks with the weights of ours, and the names of ours by theirs."""
    from timm.models.vision_transformer import Block
    layer = layers[0]
    dim, heads = layer.attn.proj.in_features, layer.attn.num_heads
    blocks = nn.ModuleList(
        Block(
            dim,
            heads,
            layer.ffn.layers[1].in_features / dim,
            qkv_bias=True,
            norm_layer=functools.partial(nn.LayerNorm, eps=1e-6)) for _ in layers)
    names = {}
    for key in layers.state_dict():
        renamed = key
        for ours, theirs in (('ln', 'norm'), ('ffn.layers.0.0', 'mlp.fc1'), ('ffn.layers.1', 'mlp.fc2')):
            renamed = renamed.replace(ours, theirs)
        names[renamed] = key
    blocks.load_state_dict({theirs: layers.state_dict()[ours] for theirs, ours in names.items()})
    return blocks, names


# ---- MAE


def naive_mae(model, img, noise, norm_pix):
    """Loss, and gradients by the names of the model: section 3 of the paper sample by sample, from timm's blocks."""
    model = copy.deepcopy(model)
    vit, neck = model.backbone, model.neck
    encoder, encoder_names = timm_blocks(vit.layers)
    decoder, decoder_names = timm_blocks(neck.decoder_blocks)
    batch, channels, height, width = img.shape
    rows, columns = height // 8, width // 8
    total, masked = 0, 0
    for b in range(batch):
        patches = [(r, c) for r in range(rows) for c in range(columns)]
        order = noise[b].argsort().tolist()
        visible = order[:int(len(patches) * 0.25)]
        positions = build_2d_sincos_position_embedding((rows, columns), 16)[0]
        tokens = [vit.cls_token[0, 0]]
        for i in visible:
            r, c = patches[i]
            patch = img[b, :, 8 * r:8 * r + 8, 8 * c:8 * c + 8]
            tokens.append((vit.patch_embed.projection.weight * patch).sum((1, 2, 3)) + vit.patch_embed.projection.bias +
                          positions[i])
        latent = vit.ln1(encoder[1](encoder[0](torch.stack(tokens)[None])))[0]
        latent = neck.decoder_embed(latent)
        tokens = [latent[0]]
        for i in range(len(patches)):
            seen = latent[1 + visible.index(i)] if i in visible else neck.mask_token[0, 0]
            tokens.append(seen + positions[i])
        pred = neck.decoder_pred(neck.ln1(decoder[0](torch.stack(tokens)[None])))[0, 1:]
        for i in set(range(len(patches))) - set(visible):
            r, c = patches[i]
            target = img[b, :, 8 * r:8 * r + 8, 8 * c:8 * c + 8].permute(1, 2, 0).flatten()
            if norm_pix:
                target = (target - target.mean()) / (target.var() + 1e-6)**0.5
            total, masked = total + (pred[i] - target).square().mean(), masked + 1
    loss = total / masked
    loss.backward()
    grads = gradients(model)
    grads.update({'backbone.layers.' + encoder_names[n]: g for n, g in gradients(encoder).items()})
    grads.update({'neck.decoder_blocks.' + decoder_names[n]: g for n, g in gradients(decoder).items()})
    return loss.detach(), grads


@pytest.mark.parametrize('norm_pix', [False, True])
@pytest.mark.parametrize('size', [(32, 32), (24, 40)])
def test_mae_step_by_step(norm_pix, size):
    config = tiny.CONFIGS['MAE']
    model = build(
        'MAE',
        backbone=dict(config['backbone'], img_size=size),
        neck=dict(config['neck'], num_patches=(size[0] // 8, size[1] // 8)),
        head=dict(config['head'], norm_pix=norm_pix))
    img = torch.randn(4, 3, *size)
    torch.manual_seed(3)
    expected, wanted = naive_mae(model, img, torch.rand(4, size[0] * size[1] // 64), norm_pix)
    torch.manual_seed(3)
    loss = model(img)['loss']
    loss.backward()
    torch.testing.assert_close(loss, expected)
    assert_gradients(gradients(model), wanted)


def test_decoder_of_mae_puts_patches_back():
    """Without its transformer, each patch has the prediction of its own token, or of the mask token, with the position
    of its own. The order is none that is its own inverse.
    """
    neck = build_neck(
        dict(
            type='MAEPretrainDecoder',
            num_patches=(2, 3),
            patch_size=2,
            embed_dim=4,
            decoder_embed_dim=8,
            decoder_num_heads=2,
            decoder_depth=0))
    nn.init.normal_(neck.mask_token)
    x = torch.randn(2, 4, 4)
    places = torch.tensor([[3, 0, 5, 1, 2, 4], [1, 2, 0, 4, 5, 3]])  # below 3: visible
    assert not places.equal(places.argsort(1))
    out = neck(x, places)
    assert out.shape == (2, 6, 12)
    positions = build_2d_sincos_position_embedding((2, 3), 8)[0]
    for b in range(2):
        for i in range(6):
            place = places[b, i]
            token = neck.decoder_embed(x[b, 1 + place]) if place < 3 else neck.mask_token[0, 0]
            torch.testing.assert_close(out[b, i], neck.decoder_pred(neck.ln1(token + positions[i])))


def test_reconstructions_of_mae():
    """In the scale of the images; patches where the mask says so."""
    model, data = tiny.build('MAE').eval(), tiny.batch('MAE')
    torch.manual_seed(3)
    out = model(data['img'], mode='test')
    torch.manual_seed(3)
    pred, mask = model.reconstruct(data['img'])
    assert out['reconstruction'].shape == out['mask'].shape == data['img'].shape
    for i in range(16):
        r, c = divmod(i, 4)
        where = (0, slice(None), slice(8 * r, 8 * r + 8), slice(8 * c, 8 * c + 8))
        patch = data['img'][where].permute(1, 2, 0)
        expected = pred[0, i].view(8, 8, 3) * (patch.var() + 1e-6).sqrt() + patch.mean()
        torch.testing.assert_close(out['reconstruction'][where].permute(1, 2, 0), expected)
        assert out['mask'][where].eq(mask[0, i]).all()


# ---- SimMIM and MaskFeat


def test_simmim_step_by_step():
    """mmcls's transformer on replaced tokens, pixels by pixel shuffle, the mean over masked pixels."""
    import mmcls.models
    model, data = build('SimMIM'), tiny.batch('SimMIM')
    cfg = tiny.CONFIGS['SimMIM']['backbone']
    naive = copy.deepcopy(model)
    swin = mmcls.models.SwinTransformer(
        copy.deepcopy(cfg['arch']), img_size=32, out_indices=(1, ), drop_path_rate=0., window_size=4)
    swin.load_state_dict({k: v for k, v in naive.backbone.state_dict().items() if k != 'mask_token'})
    img, mask = data['img']
    masked = mask.flatten(1)[..., None]
    swin.patch_embed.register_forward_hook(lambda module, args, out:
                                           (out[0] * (1 - masked) + naive.backbone.mask_token * masked, out[1]))
    conv = naive.neck.decoder[0]
    maps = swin(img)[0]
    pixels = torch.einsum('bdhw,od->bohw', maps, conv.weight[:, :, 0, 0]) + conv.bias[:, None, None]
    rec = pixels.view(8, 3, 8, 8, 4, 4).permute(0, 1, 4, 2, 5, 3).reshape(8, 3, 32, 32)
    hidden = mask.repeat_interleave(4, 1).repeat_interleave(4, 2)
    expected = sum((rec[b] - img[b]).abs().mean(0)[hidden[b].bool()].sum() for b in range(8)) / hidden.sum()
    expected.backward()
    loss = model(**data)['loss']
    loss.backward()
    torch.testing.assert_close(loss, expected)
    wanted = {f'backbone.{n}': g for n, g in gradients(swin).items()}
    assert_gradients(gradients(model), {**wanted, **gradients(naive)})


def test_maskfeat_step_by_step():
    """timm's blocks on replaced tokens; histograms gathered patch by patch, the mean over masked patches."""
    model, data = build('MaskFeat'), tiny.batch('MaskFeat')
    naive = copy.deepcopy(model)
    vit = naive.backbone
    blocks, names = timm_blocks(vit.layers)
    img, mask = data['img']
    tokens = vit.patch_embed.projection(img).flatten(2).transpose(1, 2)
    masked = mask.flatten(1)[..., None]
    tokens = torch.cat((vit.cls_token.expand(8, -1, -1), tokens * (1 - masked) + vit.mask_token * masked), 1)
    pred = naive.head.head(vit.ln1(blocks[1](blocks[0](tokens + vit.pos_embed))))
    hog = model.hog_layer(img)  # B x C x 9 x 8 x 8
    errors = []
    for b in range(8):
        for i in range(16):
            r, c = divmod(i, 4)
            if mask[b, r, c]:
                cells = hog[b, :, :, 2 * r:2 * r + 2, 2 * c:2 * c + 2]
                errors.append((pred[b, 1 + i] - cells.flatten()).square().mean())
    expected = sum(errors) / len(errors)
    expected.backward()
    loss = model(**data)['loss']
    loss.backward()
    torch.testing.assert_close(loss, expected)
    wanted = {f'backbone.layers.{names[n]}': g for n, g in gradients(blocks).items()}
    assert_gradients(gradients(model), {**wanted, **gradients(naive)})


@pytest.mark.parametrize('name', ['SimMIM', 'MaskFeat', 'CAE'])
def test_batches_without_masks_are_named(name):
    model, data = tiny.build(name), tiny.batch(name)
    for img in (data['img'][:1], data['img'][0], [*data['img'][:-1], data['img'][0]]):
        with pytest.raises(ConfigError, match='a mask of each image, the data gives .*mask generator'):
            model(img)


@pytest.mark.parametrize('name', ['SimMIM', 'MaskFeat', 'CAE'])
def test_masks_of_other_patches_are_named(name):
    model, data = tiny.build(name), tiny.batch(name)
    side = tiny.MASKS[name][0]
    data['img'][-1] = tiny.random_mask(0, 8, 2 * side, 6)
    shape = 4 * side**2 if name == 'CAE' else f'{2 * side} x {2 * side}'
    with pytest.raises(ConfigError, match=f'one of {shape} patches, the images have {side} x {side}: fit the mask'):
        model(**data)


@pytest.mark.parametrize('name', ['MaskFeat', 'CAE'])
def test_images_of_another_size(name):
    """The loss is that of a model of that size whose positions are interpolated."""
    small, large = build(name), build(name, seed=1, **with_backbone(name, img_size=(48, 32)))
    large.load_state_dict(small.state_dict())
    img = [torch.randn(4, 3, 48, 32), torch.randn(4, 3, 48, 32)][:2 if name == 'CAE' else 1]
    mask = (torch.rand(4, 24).argsort(1).argsort(1) < 6).view(4, 6, 4)
    losses = [model.eval()([*img, mask])['loss'] for model in (small, large)]
    assert losses[0].equal(losses[1])


# ---- CAE


def naive_cae(model, data):
    """Figure 2 of the paper, image by image: encoder of visible patches, regressor, decoder, both losses."""
    model = copy.deepcopy(model)
    vit, neck = model.backbone, model.neck
    img, img_target, mask = data['img']

    def encode(network, b, patches):
        tokens = [network.cls_token[0] + network.pos_embed[0, :1]]
        for i in patches:
            r, c = divmod(i, 4)
            patch = img[b:b + 1, :, 8 * r:8 * r + 8, 8 * c:8 * c + 8]
            tokens.append(network.patch_embed.projection(patch).flatten(1) + network.pos_embed[0, 1 + i])
        x = torch.cat(tokens)[None]
        for layer in network.layers:
            x = layer(x)
        return network.ln1(x)[:, 1:]

    std, mean = (torch.tensor(v).view(3, 1, 1) for v in ((0.229, 0.224, 0.225), (0.485, 0.456, 0.406)))
    main, align = [], []
    for b in range(len(img)):
        masked = [i for i in range(16) if mask[b, i // 4, i % 4]]
        visible = [i for i in range(16) if i not in masked]
        seen = encode(vit, b, visible)
        positions = [vit.pos_embed[:, [1 + i for i in ids]] for ids in (visible, masked)]
        x = neck.mask_token.expand(1, 6, -1)
        for layer in neck.regressors:
            x = layer(x, torch.cat((seen, x), 1), positions[1], torch.cat(positions, 1))
        x = neck.norm_regressor(x)
        with torch.no_grad():
            target = encode(model.teacher, b, masked)
            words = model.head.tokenizer(0.8 * (img_target[b:b + 1] * std + mean) + 0.1).argmax(1)
        align.append((x - target).square().mean())
        x = x + positions[1]
        for layer in neck.decoders:
            x = layer(x)
        scores = neck.head(neck.norm_decoder(x))[0].log_softmax(1)
        main += [-scores[j, words[0, i // 4, i % 4]] for j, i in enumerate(masked)]
    main, align = sum(main) / len(main), 2 * sum(align) / len(align)
    (main + align).backward()
    return main.detach(), align.detach(), gradients(model)


def test_cae_step_by_step():
    model, data = build('CAE'), tiny.batch('CAE')
    for p in model.teacher.parameters():  # away from the encoder
        p.mul_(1.1)
    model.is_update_iter = False
    main, align, wanted = naive_cae(model, data)
    losses = model(**data)
    losses['loss'].backward()
    torch.testing.assert_close(losses['main'], main)
    torch.testing.assert_close(losses['align'], align)
    torch.testing.assert_close(losses['loss'], main + align)
    assert_gradients(gradients(model), wanted)
    assert not any(name.startswith('teacher') for name in gradients(model))


@pytest.mark.parametrize('momentum', [0., 0.9])
def test_teacher_of_cae(momentum):
    """With 0 it is the current encoder, and what it gives for masked patches is that encoder's output for them. It
    moves in training only, and once for each change of the weights.
    """
    model, data = build('CAE', base_momentum=momentum), tiny.batch('CAE')
    before = [p.clone() for p in model.teacher.parameters()]

    def moved():
        return [not a.equal(b) for a, b in zip(model.teacher.parameters(), before)]

    model.eval()(**data)
    model.train()
    model.is_update_iter = False
    model(**data)
    assert not any(moved())
    model.is_update_iter = True
    model(**data)
    for now, was, online in zip(model.teacher.parameters(), before, model.backbone.parameters(), strict=True):
        torch.testing.assert_close(now, momentum * was + (1 - momentum) * online)
    if momentum == 0:
        latents = []
        model.head.forward = lambda img, logits, pred, target, mask: latents.append(target) or {}
        model(**data)
        hidden = data['img'][2].flatten(1).bool()
        assert latents[0].equal(model.backbone(data['img'][0], ~hidden)[:, 1:])


def test_data_that_cae_cannot_take_are_named():
    data = tiny.batch('CAE')
    img, img_target, mask = data['img']
    fewer = mask.clone()
    fewer[2] = tiny.random_mask(0, 1, 4, 5)
    with pytest.raises(ConfigError, match=r'mask_tokens_num of the neck is 6, .* masks \[5, 6\] patches'):
        tiny.build('CAE')([img, img_target, fewer])
    with pytest.raises(ConfigError, match='CAE takes images that the data normalises .*no negative values'):
        tiny.build('CAE')([img.abs(), img_target, mask])


# ---- MoCo v3


def test_mocov3_step_by_step():
    """Algorithm 1 of the paper: both views ask, the other's keys of all images answer, times 2 T."""
    model, data = build('MoCoV3'), tiny.batch('MoCoV3')
    for p in model.momentum_encoder.parameters():  # away from the encoder
        p.mul_(1.2)
    naive = copy.deepcopy(model)
    slow_backbone, slow_neck = naive.momentum_encoder
    class_tokens = [[network(view)[-1][1] for view in data['img']] for network in (naive.backbone, slow_backbone)]
    queries = [naive.head.predictor.project(naive.neck.project(tokens)) for tokens in class_tokens[0]]
    keys = [slow_neck.project(tokens).detach() for tokens in class_tokens[1]]
    expected = 0
    for q, k in ((queries[0], keys[1]), (queries[1], keys[0])):
        for i in range(8):
            scores = torch.stack([F.cosine_similarity(q[i], k[j], dim=0) / 0.2 for j in range(8)])
            expected = expected - 2 * 0.2 * scores.log_softmax(0)[i] / 8
    expected.backward()
    loss = model(**data)['loss']
    loss.backward()
    torch.testing.assert_close(loss, expected)
    assert_gradients(gradients(model), gradients(naive))


def test_patch_embedding_of_mocov3_stays_at_its_random_values():
    """Pitfall: weight decay, or a moving average, that moves what has no gradient."""
    model = tiny.build('MoCoV3')
    before = copy.deepcopy(model.state_dict())
    fixed = [name for name in before if 'patch_embed' in name or 'pos_embed' in name]
    assert len(fixed) == 6
    optimizer = build_optimizer(model, dict(type='AdamW', lr=0.1, weight_decay=0.5))
    for seed in range(2):
        optimizer.zero_grad()
        model.train_step(tiny.batch('MoCoV3', seed=seed))['loss'].backward()
        optimizer.step()
        model.momentum_update()
    after = model.state_dict()
    assert all(after[name].equal(before[name]) for name in fixed)
    assert not any(after[name].equal(before[name]) for name in before if '.layers.' in name and 'weight' in name)


@pytest.mark.parametrize('name, online, slow', [('MoCoV3', ('backbone', 'neck'), 'momentum_encoder'),
                                                ('CAE', ('backbone', ), 'teacher')])
def test_slow_networks_start_as_copies(name, online, slow):
    """Pitfall: the online half is initialised again after it was copied."""
    model = tiny.build(name)
    sources = [t for part in online for t in getattr(model, part).state_dict().values()]
    for a, b in zip(sources, getattr(model, slow).state_dict().values(), strict=True):
        assert a.equal(b) and a.data_ptr() != b.data_ptr()
    assert not any(p.requires_grad for p in getattr(model, slow).parameters())
    assert sources[0].std() > 0


# ---- switches


def loss_and_gradients(model, data, seed=0):
    model.zero_grad()
    torch.manual_seed(seed)  # masks, dropped paths
    loss = model.train_step(data, None)['loss']
    loss.backward()
    return loss.detach(), {name: grad.clone() for name, grad in gradients(model).items()}


@pytest.mark.parametrize('drop_path_rate', [0., 0.5])
@pytest.mark.parametrize('name', NAMES)
def test_layers_whose_insides_are_computed_again(name, drop_path_rate):
    """The loss and all gradients, with the same paths dropped the second time; the encoder runs twice."""
    results, calls = [], []
    for with_cp in (False, True):
        model = build(name, **with_backbone(name, with_cp=with_cp, drop_path_rate=drop_path_rate))
        norm = model.backbone.stages[-1].blocks[-1].norm1 if name == 'SimMIM' else model.backbone.layers[-1].ln1
        norm.register_forward_hook(lambda *args, with_cp=with_cp: calls.append(with_cp))
        results.append(loss_and_gradients(model, tiny.batch(name)))
    assert results[0][0].equal(results[1][0])
    assert_gradients(results[1][1], results[0][1])
    assert calls.count(True) == 2 * calls.count(False)


@pytest.mark.parametrize('name', NAMES)
def test_bfloat16(name):
    """The loss within 2 % of float32's, in float32, and the gradients as one vector in its direction.

    Many images that differ in colour: the norms over a batch of MoCo v3 enlarge the rounding of few or like ones.
    """
    plain, model, data = build(name), build(name), tiny.batch(name, 64)
    colours = 3 * torch.randn(64, 3, 1, 1)
    data['img'] = map_tensors(data['img'], lambda x: x + colours if x.dim() == 4 else x)
    expected, wanted = loss_and_gradients(plain, data)
    torch.manual_seed(0)
    with torch.autocast('cpu', torch.bfloat16):  # as the runner does
        losses = model(**data)
        loss, log_vars = model.parse_losses(losses)
    assert {t.dtype for t in (loss, *losses.values(), *log_vars.values())} == {torch.float32}
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=0.02)
    got = gradients(model)
    assert set(got) == set(wanted) and {grad.dtype for grad in got.values()} == {torch.float32}
    got, wanted = (torch.cat([grads[key].flatten() for key in sorted(wanted)]) for grads in (got, wanted))
    assert F.cosine_similarity(got, wanted, dim=0) > 0.99
    assert got.norm().item() == pytest.approx(wanted.norm().item(), rel=0.05)


@pytest.mark.parametrize('name', NAMES)
def test_channels_last(name):
    """Images of the loader's memory format; masks, which have no channels, as they are. The same loss and gradients."""
    plain = build(name)
    data = tiny.batch(name)
    single = tiny.VIEWS.get(name) == 0
    images = [data['img']] if single else data['img']
    images = [(x * 50 + 120).clamp(0, 255).byte() if x.dim() == 4 else x for x in images]
    data['img'] = images[0] if single else images
    results = []
    for channels_last in (False, True):
        model = copy.deepcopy(plain)
        if channels_last:
            model = model.to(memory_format=torch.channels_last)
        if name == 'CAE':
            tiny.give_tokenizer(model)
        batch, = PrefetchLoader([data], [0.5] * 3, [0.2] * 3, 'cpu', channels_last)
        parts = [batch['img']] if single else batch['img']
        for x, source in zip(parts, images, strict=True):
            if x.dim() == 4:
                assert x.is_contiguous(memory_format=torch.channels_last) == channels_last
                torch.testing.assert_close(x, (source / 255 - 0.5) / 0.2)
            else:
                assert x.equal(source)
        results.append(loss_and_gradients(model, batch))
    torch.testing.assert_close(results[1][0], results[0][0])
    assert_gradients(results[1][1], results[0][1])


# ---- compiled networks


def compiled(model, backend, **kwargs):
    """The networks of a model compiled in place, as `compile=True` does, and a counter of what is compiled."""
    from torch._dynamo.testing import CompileCounterWithBackend
    counter = CompileCounterWithBackend(backend)
    for part in model.compile_parts():
        part.compile(backend=counter, **kwargs)
    return counter


@pytest.mark.slow
@pytest.mark.parametrize('switch', ['float32', 'bfloat16', 'with_cp'])
@pytest.mark.parametrize('name', NAMES)
def test_networks_compile_whole(name, switch):
    """No graph breaks (`fullgraph`), and each part is compiled twice at most, for fixed and for other batch sizes. Loss
    and gradients are those without, with the same masks and dropped paths.
    """
    torch._dynamo.reset()
    changes = with_backbone(name, with_cp=switch == 'with_cp', drop_path_rate=0.5)
    plain, model = build(name, **changes), build(name, **changes)
    counter = compiled(model, 'aot_eager', fullgraph=True)
    for seed, size in enumerate((8, 8, 6, 5)):
        data = tiny.batch(name, size, seed)
        with torch.autocast('cpu', torch.bfloat16, switch == 'bfloat16'):
            loss, grads = loss_and_gradients(model, data, seed)
            expected, wanted = loss_and_gradients(plain, data, seed)
        tolerance = dict(rtol=1e-2, atol=1e-2) if switch == 'bfloat16' else {}
        torch.testing.assert_close(loss, expected, **tolerance)
        if switch != 'bfloat16':
            assert_gradients(grads, wanted)
        # views of two sizes, with masks and without, and any number of masked patches
        if name in ('DINOv2', 'IBOT', 'IJEPA', 'MSN'):
            assert counter.frame_count <= 3 * len(model.compile_parts())
        else:
            assert counter.frame_count == len(model.compile_parts()) * (1 if size == 8 else 2)


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_generated_code(name):
    """Inductor's loss and gradients over two steps are those without, with the same random numbers."""
    torch._dynamo.reset()
    plain, model = build(name), build(name)
    compiled(model, 'inductor', fullgraph=True)
    with torch._inductor.config.patch(fallback_random=True):
        for seed in range(2):
            data = tiny.batch(name, 8, seed)
            loss, grads = loss_and_gradients(model, data, seed)
            expected, wanted = loss_and_gradients(plain, data, seed)
            torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
            assert_gradients(grads, wanted, 1e-4)  # norms over a batch enlarge rounding


def compiled_rank(rank, world_size, names, backend):
    """Losses of two batches without and with compilation, and the gradients of the last."""
    results = {}
    for name in names:
        torch._dynamo.reset()
        plain, model = build(name), build(name)
        compiled(model, backend, fullgraph=True)
        runs = []
        for network in (plain, model):
            network = DistributedDataParallel(network) if world_size > 1 else network
            losses = []
            for seed in range(2):
                share = 8 // world_size
                data = tiny.batch(name, 8, seed, start=rank * share, stop=(rank + 1) * share)
                loss, grads = loss_and_gradients(network, data, seed)
                losses.append(loss)
            runs.append((torch.stack(losses), grads))
        results[name] = runs
    return results


@pytest.mark.slow
def test_compiled_in_two_processes(run_distributed):
    """MAE draws the masks of all processes inside its encoder, the norms of MoCo v3 gather inside the projector."""
    for rank in run_distributed(compiled_rank, ('MAE', 'MoCoV3'), 'aot_eager'):
        for (expected, wanted), (losses, grads) in rank.values():
            torch.testing.assert_close(losses, expected)
            assert_gradients(grads, wanted)


@pytest.mark.slow
def test_masks_of_two_compiled_processes_are_those_of_one(run_distributed):
    """Inductor's random numbers are others, but each process has its own rows of them too."""
    whole = compiled_rank(0, 1, ['MAE'], 'inductor')['MAE'][1][0]
    parts = [rank['MAE'][1][0] for rank in run_distributed(compiled_rank, ['MAE'], 'inductor')]
    torch.testing.assert_close(sum(parts) / 2, whole)
    assert not parts[0].equal(parts[1])


@pytest.mark.parametrize('name', tiny.MASKS)
def test_flattened_masks(name):
    """B x L instead of B x h x w, as some mask generators of MMSelfSup 0.x give them."""
    model, data = tiny.build(name), tiny.batch(name)
    *images, mask = data['img']
    flat = dict(data, img=[*images, mask.flatten(1)])
    torch.testing.assert_close(model(**flat), model(**data), rtol=0, atol=0)
    with pytest.raises(ConfigError, match='the mask is one of 7 patches'):
        model(**dict(data, img=[*images, mask.flatten(1)[:, :7]]))
    if name == 'SimMIM':
        predicted = model.reconstruct(images[0], mask)
        assert model.head(images[0], predicted,
                          mask.flatten(1))['loss'].equal(model.head(images[0], predicted, mask)['loss'])
