# Copyright (c) mmssl contributors. All rights reserved.
"""AdamW for the fine-tuning of a ViT: rates decay from layer to layer, norms and biases do not decay; 100 epochs."""
optimizer = dict(
    type='AdamW',
    lr=4e-3,
    betas=(0.9, 0.999),
    weight_decay=0.05,
    paramwise_options={
        'ln': dict(weight_decay=0.),
        # the norm behind the mean of the patches, whose factors the published config lets decay
        'fc_norm': dict(weight_decay=0.),
        'bias': dict(weight_decay=0.),
        'pos_embed': dict(weight_decay=0.),
        'cls_token': dict(weight_decay=0.)
    },
    constructor='TransformerFinetuneConstructor',
    model_type='vit',
    layer_decay=0.65)
optimizer_config = dict()

# the warm-up rises to the very base rate, and the cosine begins there
lr_config = dict(
    policy='StepFixCosineAnnealing',
    min_lr=1e-6,
    warmup='linear',
    warmup_iters=5,
    warmup_ratio=1e-4,
    warmup_by_epoch=True,
    by_epoch=False)

runner = dict(type='EpochBasedRunner', max_epochs=100)
