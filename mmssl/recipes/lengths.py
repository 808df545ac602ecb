# Copyright (c) mmssl contributors. All rights reserved.
"""Queues, banks, prototypes and clusters that fit the number of images."""


def power_of_two(number):
    """int: The largest power of two that is not above a number, 1 at least."""
    return 1 << max(0, int(number).bit_length() - 1)


def _queue(plan, images, batch):
    length = max(batch, min(plan.get('model.queue_len'), power_of_two(images / 2)))
    plan.choose('queue', 'negatives of earlier batches: at most half as many as there are images',
                {'model.queue_len': length - length % batch if length > batch else length})


def _negatives(plan, images, batch):
    number = min(plan.get('model.neg_num'), power_of_two(images / 3))
    values = {'model.neg_num': number}
    for name in ('semihard_neg_pool_num', 'semieasy_neg_pool_num'):
        if plan.get(f'model.{name}'):
            values[f'model.{name}'] = min(plan.get(f'model.{name}'), images // 2)
    plan.choose('negatives', 'drawn from the bank: fewer than half of the images', values)


def _prototypes(plan, images, batch):
    wanted = max(10, images // 24)
    now = plan.get('model.head.num_prototypes', 0)
    published = max(now) if isinstance(now, (list, tuple)) else now
    most = 1024 if plan.get('model.type') == 'MSN' else max(3000, published)
    plan.choose('prototypes', 'about 24 images for each', {'model.head.num_prototypes': min(most, wanted)})


def _outputs(plan, images, batch):
    number = max(256, min(65536, power_of_two(images / 4)))
    values = {'model.neck.out_channels': number}
    if plan.get('model.patch_neck.out_channels'):
        values['model.patch_neck.out_channels'] = number
    plan.choose('prototypes', 'a quarter of the number of images, from 256 to 65,536', values)


def _clusters(plan, images, width):
    odc = plan.get('model.memory_bank.type') == 'ODCMemory'
    number = max(10, min(10000, images // (70 if odc else 30)))
    hooks = plan.get('custom_hooks', [])
    values = {}
    if plan.get('model.memory_bank.num_clusters'):
        number = max(10, min(3000, images // 24))
        values['model.memory_bank.num_clusters'] = [number] * len(plan.get('model.memory_bank.num_clusters'))
    else:
        if plan.get('model.type') in ('DeepCluster', 'ODC'):
            values['model.head.num_classes'] = number
        for key in ('model.num_classes', 'model.memory_bank.num_classes'):
            if plan.get(key):
                values[key] = number
        for i, hook in enumerate(hooks):
            if 'clustering' in hook:
                values[f'custom_hooks.{i}.clustering.k'] = number
                if hook['clustering'].get('pca_dim', -1) > 0:
                    # as many directions as images would leave all of them equally far from each other
                    most = max(2, min(width, images // 4))
                    values[f'custom_hooks.{i}.clustering.pca_dim'] = min(hook['clustering']['pca_dim'], most)
        if plan.get('model.memory_bank.min_cluster'):
            values['model.memory_bank.min_cluster'] = max(2, min(20, images // number // 3))
    reason = f'about {images // number} images in each'
    plan.choose('clusters', reason, values, number)


def fit_lengths(plan, images, batch, width):
    """Fit the sizes that depend on the number of images.

    Args:
        plan (Plan): With a model.
        images (int): To train on.
        batch (int): Images of one step of one process.
        width (int): Channels of the features of the backbone.
    """
    kind = plan.get('model.type')
    if plan.get('model.queue_len'):
        _queue(plan, images, batch)
    if plan.get('model.neg_num'):
        _negatives(plan, images, batch)
    if kind in ('SwAV', 'SwAVMomentum', 'MSN'):
        _prototypes(plan, images, batch)
    if kind in ('DINO', 'IBOT', 'DINOv2'):
        _outputs(plan, images, batch)
    if kind in ('DeepCluster', 'DeepClusterV2', 'ODC', 'InterCLRMoCo'):
        _clusters(plan, images, width)
