# Copyright (c) mmssl contributors. All rights reserved.
"""Write the pages docs/en/model_zoo.md and docs/zh_cn/model_zoo.md from the metafiles that model-index.yml names.

A result in a metafile says by its `Source` who published it; where that begins with `mmssl` it was measured here.
"""
import argparse
from pathlib import Path

from mmssl.utils.misc import run_tool

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ROOT / 'docs' / 'model_zoo'
LENGTHS = dict(en=('epochs', 'iterations'), zh_cn=('轮', '次迭代'))  # the units of a training, by language


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='write nothing; fail where a page is not current')
    return parser.parse_args()


def read_metafiles(root):
    """Collections and models of all metafiles: dict by name, and list in the order of the collections' names."""
    import yaml
    index = yaml.safe_load((root / 'model-index.yml').read_text(encoding='utf-8'))
    contents = [yaml.safe_load((root / path).read_text(encoding='utf-8')) for path in index['Import']]
    collections = {item['Name']: item for content in contents for item in content.get('Collections', [])}
    models = [model for content in contents for model in content['Models']]
    return collections, sorted(models, key=lambda model: (model['In Collection'].lower(), model['Config']))


def table(head, rows):
    """A table in Markdown."""
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join('| ' + ' | '.join(str(cell) for cell in line) + ' |' for line in lines)


def figures(metrics):
    """Metrics as one cell: `Top 1 Accuracy 71.66, feature1: 15.51, feature2: 33.98`."""
    groups = {}
    for name, value in metrics.items():
        group, _, part = name.partition(', ')
        groups.setdefault(group, []).append(f'{part}: {value}' if part else str(value))
    return '; '.join(f'{group} ' + ', '.join(parts) for group, parts in groups.items())


def is_own(result):
    return result['Source'].startswith('mmssl')


def length(model, language):
    data, (epochs, iterations) = model['Metadata'], LENGTHS[language]
    return f'{data["Epochs"]} {epochs}' if 'Epochs' in data else f'{data["Iterations"]} {iterations}'


def measured(models):
    """Rows of what was measured here, a row a recipe and task."""
    for model in models:
        for result in filter(is_own, model.get('Results', [])):
            value = result['Metrics'].get
            task = result['Task'].removeprefix('Image Classification, ')
            yield [
                f'`{model["Name"]}`', result['Dataset'], task,
                value('Top 1 Accuracy'),
                value('Top 1 Accuracy, random weights'),
                value('Top 1 Accuracy, raw pixels'), result['Source'].removeprefix('mmssl, ')
            ]


def published(models):
    """Rows of what others published for recipes that are here too."""
    for model in models:
        for result in model.get('Results', []):
            if not is_own(result):
                yield [
                    model['In Collection'], f'`{model["Name"]}`',
                    f'{result["Task"].removeprefix("Image Classification, ")}, {result["Dataset"]}',
                    figures(result['Metrics']), result['Source']
                ]


def of_papers(collections):
    """Rows of what papers report for networks that they trained."""
    for collection in collections.values():
        for result in collection.get('Paper', {}).get('Results', []):
            task = f'{result["Task"].removeprefix("Image Classification, ")}, {result["Dataset"]}'
            source = f'[{collection["Name"]}]({collection["Paper"]["URL"]})'
            yield [source, result['Network'], task, figures(result['Metrics']), result.get('Note', '')]


def recipes(collections, models, language):
    """Rows of all recipes."""
    for model in models:
        collection = collections[model['In Collection']]
        paper = collection.get('Paper', {})
        name = collection['Name']
        yield [
            f'[{name}]({paper["URL"]})' if 'URL' in paper else name, f'`{model["Config"].removeprefix("configs/")}`',
            length(model, language), model['Metadata']['Batch Size']
        ]


def page(template, root, language):
    """A page: its text, in which `{measured}` and so on stand for the tables, whose heads the line before them is."""
    collections, models = read_metafiles(root)
    rows = dict(
        measured=measured(models),
        published=published(models),
        papers=of_papers(collections),
        recipes=recipes(collections, models, language))
    lines = []
    for line in template.replace('{number}', str(len(models))).split('\n'):
        name = line.strip('{}')
        if line == f'{{{name}}}' and name in rows:
            head = [cell.strip() for cell in lines.pop().strip('|').split('|')]
            line = table(head, rows[name])
        lines.append(line)
    return '\n'.join(lines)


def main():
    args = parse_args()
    from mmssl.utils.misc import write_generated

    for language in ('en', 'zh_cn'):
        text = page((TEXTS / f'{language}.md').read_text(encoding='utf-8'), ROOT, language)
        path = ROOT / 'docs' / language / 'model_zoo.md'
        write_generated(path, text, 'tools/misc/make_model_zoo.py', args.check)
        print(f'{path} is current' if args.check else f'written to {path}')


if __name__ == '__main__':
    run_tool(main)
