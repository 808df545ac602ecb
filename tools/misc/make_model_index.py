# Copyright (c) mmssl contributors. All rights reserved.
"""Write model-index.yml, which mim reads: it names the metafile.yml beside the recipes, each of which lists its models.

What the metafiles say is checked: each model has a name of its own, a config of that name and a known collection, and
no recipe beside or below a metafile is left out. Recipes for data of one's own (*_folder.py, *_tiles.py, *_toy.py) are
no models.
"""
import argparse
from collections import Counter
from pathlib import Path

from mmssl.utils.misc import run_tool

ROOT = Path(__file__).resolve().parents[2]


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='write nothing; fail where the file is not current')
    parser.add_argument('--root', type=Path, default=ROOT, help='clone of the repository (default: this one)')
    return parser.parse_args()


def find_faults(root, metafiles):
    """What is wrong with metafiles, a sentence each."""
    import yaml
    contents = {path: yaml.safe_load(path.read_text(encoding='utf-8')) for path in metafiles}
    collections = {item['Name'] for content in contents.values() for item in content.get('Collections', [])}
    models = [(path, model) for path, content in contents.items() for model in content['Models']]
    listed = Counter(model['Config'] for _, model in models)
    faults = [f'{config} is listed {times} times' for config, times in listed.items() if times > 1]
    for path, model in models:
        name, config = model['Name'], root / model['Config']
        if not config.is_file():
            faults.append(f'{path}: {name} has the config {config}, which does not exist')
        elif config.stem != name:
            faults.append(f'{path}: the config of {name} is called {config.stem}')
        if model['In Collection'] not in collections:
            faults.append(f'{path}: {name} is in the unknown collection {model["In Collection"]!r}')
    for path in metafiles:
        for recipe in sorted(path.parent.rglob('*.py')):
            left_out = '_base_' in recipe.parts or recipe.stem.endswith(('_folder', '_tiles', '_toy'))
            if not left_out and str(recipe.relative_to(root)) not in listed:
                faults.append(f'{path} does not list {recipe.name}')
    return faults


def main():
    args = parse_args()
    from mmssl.utils.errors import ConfigError
    from mmssl.utils.misc import write_generated

    root = args.root.resolve()
    metafiles = sorted((root / 'configs').rglob('metafile.yml'))
    faults = find_faults(root, metafiles)
    if faults:
        raise ConfigError('\n  '.join(['the metafiles are not right:', *faults]))
    text = 'Import:\n' + ''.join(f'  - {path.relative_to(root)}\n' for path in metafiles)
    index = root / 'model-index.yml'
    write_generated(index, text, 'tools/misc/make_model_index.py', args.check)
    found = f'{len(metafiles)} metafiles'
    print(f'{index} is current: {found}' if args.check else f'{found}: written to {index}')


if __name__ == '__main__':
    run_tool(main)
