# Copyright (c) mmssl contributors. All rights reserved.
"""AdamW for the fine-tuning of a Swin transformer, as SimMIM does it; 100 epochs in half precision."""
optimizer = dict(
    type='AdamW',
    lr=5e-3,
    betas=(0.9, 0.999),
    weight_decay=0.05,
    # `norm` is in the name of each norm of Swin, and `bias` in that of the table of relative positions
    paramwise_options={
        'norm': dict(weight_decay=0.),
        'bias': dict(weight_decay=0.),
        'absolute_pos_embed': dict(weight_decay=0.),
        'relative_position_bias_table': dict(weight_decay=0.)
    },
    constructor='TransformerFinetuneConstructor',
    model_type='swin',
    layer_decay=0.9)
optimizer_config = dict(grad_clip=dict(max_norm=5.0))

# the warm-up is counted into the cosine
lr_config = dict(
    policy='CosineAnnealing',
    min_lr=1e-6,
    warmup='linear',
    warmup_iters=20,
    warmup_ratio=2e-4,
    warmup_by_epoch=True,
    by_epoch=False)

runner = dict(type='EpochBasedRunner', max_epochs=100)
fp16 = dict(loss_scale='dynamic')
