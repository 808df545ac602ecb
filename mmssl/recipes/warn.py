# Copyright (c) mmssl contributors. All rights reserved.
"""What speaks against a training before it begins, and what helps."""
from .methods import NEGATIVES
from .networks import SMALL_SIZE


def look(plan, method, data, machine, images, batch):
    """Add the warnings that the facts give reason for.

    Args:
        plan (Plan): The whole config.
        method (str): One of methods.METHODS.
        data (DataFacts): The images.
        machine (MachineFacts): The machine.
        images (int): To train on.
        batch (int): Images of a step of a process.
    """
    if images < 500:
        plan.warn(f'{images} images are few: from some thousand on, learning without labels beats a network that was '
                  'trained on others. Begin with published weights (--set load_from=FILE.pth), or collect unlabelled '
                  'images of the same kind: any will do')
    if batch > images:
        plan.warn(f'a batch of {batch} is more than the {images} images there are: --set data.samples_per_gpu='
                  f'{max(2, images // 8)}')
    if data.sizes[1] < 24:
        plan.warn(
            f'half of the images have a shorter side of {data.sizes[1]} pixels or less: crops of them show little. '
            'Larger scans of the same things help more than anything here')
    if data.broken > 0.01:
        plan.warn(f'{data.broken:.0%} of the images cannot be read, such as {data.first_broken}: '
                  'tools/analysis_tools/find_broken_images.py lists them. A training ends at 1%, and --set '
                  'broken_images.max_share=0.5 lets more of them be')
    if data.alike > 0.2:
        harm, help = ('the negatives of an image hold copies of it',
                      ', or a method without negatives (--method byol)') if method in NEGATIVES else \
            ('they count several times and show nothing new', '')
        plan.warn(f'{data.alike:.0%} of the images have a near-duplicate among {data.looked} that were looked at: '
                  f'{harm}. Take every tenth frame of a video{help}')
    if data.classes == 1:
        plan.warn('all images have the same label, by which nothing can be measured: --labels none leaves it aside')
    if machine.gpus > machine.processes:
        plan.warn(f'{machine.gpus} GPUs are there and one is used: torchrun --nproc_per_node {machine.gpus} -m mmssl '
                  'train ... uses all')


def look_at_network(plan, name, shape, size):
    """Warn where a network of others is made for much larger images.

    Args:
        plan (Plan): The whole config.
        name (str): Of the network.
        shape (networks.Shape): What it makes of an image.
        size (int): Side of the images in pixels.
    """
    if ':' in name and size <= SMALL_SIZE and shape.side <= 2:
        plan.warn(
            f'{name} makes a map of {shape.side} x {shape.side} of an image of {size} pixels, which tells little of '
            f'what is where: one of ours (--model resnet18) looks closer at small images; or --set image_size='
            f'{4 * size}, which takes longer')
