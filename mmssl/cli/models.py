# Copyright (c) mmssl contributors. All rights reserved.
"""List the networks: ours, those of timm (timm:NAME) and those of torchvision (torchvision:NAME).

  mmssl models
  mmssl models timm vit small
  mmssl models resnet --parameters
"""


def add_arguments(parser):
    parser.add_argument('words', nargs='*', metavar='WORD', help='list those whose name has all of these')
    parser.add_argument('--parameters', action='store_true', help='count the weights of each')
    parser.add_argument('--all', action='store_true', help='list them all where there are hundreds')


def run(args):
    from mmssl.utils.errors import ConfigError, nearest
    names, absent = model_names()
    found = {
        package: [name for name in some if all(word.lower() in f'{package} {name}'.lower() for word in args.words)]
        for package, some in names.items()
    }
    total = sum(map(len, found.values()))
    if not total:
        known = [name for some in names.values() for name in some]
        raise ConfigError(f'no network has {" ".join(args.words)!r} in its name; '
                          f'{nearest(args.words[-1], known, "networks")}')
    if args.parameters and total > 40 and not args.all:
        raise ConfigError(f'--parameters builds each of {total} networks: give words that less of them have, or --all')
    for package, some in found.items():
        if not some:
            continue
        print(f'{package}:')
        shown = some if args.all or args.words else some[:20]
        if args.parameters:
            from mmssl.utils.misc import table_lines
            print('\n'.join(f'  {line}'
                            for line in table_lines([_size(name) for name in shown], ['network', 'million weights'])))
        else:
            print('\n'.join(f'  {name}' for name in shown))
        if len(shown) < len(some):
            print(f'  ... and {len(some) - len(shown)} more: `mmssl models {package} --all`, or give words of a name')
        print()
    for words in absent:
        print(words)
    print('mmssl train DATA --model NAME trains one.')


def model_names():
    """Names of networks as `mmssl train --model` takes them.

    Returns:
        tuple[dict[str, list[str]], list[str]]: Names by where they come from ('ours', 'torchvision', 'timm'), and
        words about what is not installed.
    """
    import torchvision.models

    from mmssl.recipes.networks import NAMES

    classifiers = torchvision.models.list_models(module=torchvision.models)
    names = dict(ours=list(NAMES), torchvision=[f'torchvision:{name}' for name in classifiers])
    try:
        import timm
    except ImportError:
        return names, ['timm has a thousand more: pip install timm']
    return dict(names, timm=[f'timm:{name}' for name in timm.list_models()]), []


def _size(name):
    """Name and million weights of a network without its classifier; it is built without memory for them."""
    import torch

    from mmssl.models import build_backbone
    with torch.device('meta'):
        network = build_backbone(_backbone(name))
    return name, sum(parameter.numel() for parameter in network.parameters()) / 1e6


def _backbone(name):
    from mmssl.recipes import networks
    kind = networks.kind_of(name)
    if kind == 'resnet':
        return networks.resnet_config(name, 224, 3)
    if kind in ('vit', 'swin'):
        arch = (networks.VITS if kind == 'vit' else networks.SWINS)[name]
        return dict(type='VisionTransformer' if kind == 'vit' else 'SwinTransformer', arch=arch)
    untrained = dict(pretrained=False) if kind == 'timm' else dict(weights=None)
    return dict(networks.wrapped_config(name, 3, 224), **untrained)
