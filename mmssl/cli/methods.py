# Copyright (c) mmssl contributors. All rights reserved.
"""List the methods: what they learn from, the views that they take, and the networks and things that they need.

  mmssl methods
  mmssl methods crops vit
  mmssl methods dino
"""
VIEWS = dict(two='2 views', crops='2 large, some small views', one='1 image', patches='9 patches')
NETWORKS = dict(any='any network', vit='a ViT', swin='Swin')
NEEDS = dict(labels='labels', teacher='a trained teacher', tokenizer='the encoder of DALL-E')


def add_arguments(parser):
    parser.add_argument('words', nargs='*', metavar='WORD', help='list those whose line has all of these; one name '
                        'tells all about it')  # yapf: disable
    parser.add_argument('--json', action='store_true', help='print JSON')


def run(args):
    from mmssl.recipes.methods import ALIASES, METHODS
    from mmssl.utils.errors import ConfigError, nearest
    found = methods()
    name = ALIASES.get(args.words[0].lower(), args.words[0].lower()) if len(args.words) == 1 else None
    if name in METHODS:
        found = {name: found[name]}
    else:
        found = {
            key: facts
            for key, facts in found.items()
            if all(word.lower() in f'{key} {" ".join(map(str, facts.values()))}'.lower() for word in args.words)
        }
    if not found:
        raise ConfigError(f'no method is described by {" ".join(args.words)!r}; '
                          f'{nearest(args.words[0], [*METHODS, *ALIASES], "methods")}')
    if args.json:
        import json
        print(json.dumps(found, indent=2))
    elif name in METHODS:
        _tell(name, found[name])
    else:
        from mmssl.utils.misc import table_lines
        rows = [(key, facts['learns from'], facts['views'], ', '.join(filter(None, (facts['network'], facts['needs']))))
                for key, facts in found.items()]  # yapf: disable
        print('\n'.join(line.rstrip()
                        for line in table_lines(rows, ['method', 'learns from', 'views of an image', 'needs'], left=4)))
        print('\nmmssl methods NAME tells more of one, mmssl train DATA --method NAME trains by it.')


def methods():
    """The methods that `mmssl train` knows.

    Returns:
        dict[str, dict[str, str]]: By name: 'title', 'learns from', 'views', 'network', 'needs', 'paper' and 'recipes'
        (configs and their published figures), from the tables of recipes and the metafiles beside the configs.
    """
    from mmssl.recipes.methods import METHODS
    return {
        name:
        dict(
            views=VIEWS[method.views],
            network=NETWORKS[method.family],
            needs=NEEDS[method.needs] if method.needs else '',
            **_of_metafile(method.recipe.partition('/')[0]))
        for name, method in METHODS.items()
    }


def _of_metafile(folder):
    import yaml

    from mmssl.utils.config_file import find_config
    text = find_config(f'configs/selfsup/{folder}/metafile.yml').read_text(encoding='utf-8')
    content = yaml.load(text, getattr(yaml, 'CSafeLoader', yaml.SafeLoader))
    head = content['Collections'][0]
    paper = head.get('Paper') or {}
    return {
        'title': head['Name'],
        'learns from': head['Metadata']['Learns From'],
        'paper': ', '.join(filter(None, (paper.get('Title'), paper.get('URL')))),
        'recipes': [_recipe(model) for model in content['Models']],
    }


def _recipe(model):
    figures = [
        f'{value} {name} ({result["Task"]}, {result["Dataset"]})' for result in model.get('Results', [])
        for name, value in result['Metrics'].items()
    ]
    return '; '.join([model['Config'], *figures])


def _tell(name, facts):
    print(f'{name}: {facts["title"]}')
    for key in ('learns from', 'views', 'network', 'needs', 'paper'):
        if facts[key]:
            print(f'  {key + ":":14}{facts[key]}')
    print('  recipes:')
    print('\n'.join(f'    {recipe}' for recipe in facts['recipes']))
    print(f'\nmmssl train DATA --method {name}')
