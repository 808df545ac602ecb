# Copyright (c) mmssl contributors. All rights reserved.
"""Imports go down the layers of docs/en/architecture.md, never up."""
import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def imports(path):
    """Packages of mmssl that a file imports, also within functions."""
    parts = path.relative_to(ROOT).with_suffix('').parts
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = '.'.join(parts[:-node.level]) if node.level else ''
            module = '.'.join(filter(None, [start, node.module]))
            names = [f'{module}.{alias.name}' for alias in node.names] if module == 'mmssl' else [module]
        else:
            continue
        yield from (name.split('.')[1] for name in names if name.startswith('mmssl.'))


def test_imports_go_down():
    text = (ROOT /
            'docs/en/architecture.md').read_text(encoding='utf-8').partition('## Layers')[2].partition('\n## ')[0]
    lines = [re.sub(r'\(.*?\)', '', line) for line in re.findall(r'^\d\. .*$', text, re.M)]
    layer = {name: i for i, line in enumerate(lines) for name in re.findall(r'`mmssl\.(\w+)`', line)}
    assert layer['cli'] < layer['apis'] < layer['recipes'] < layer['core'] < layer['models'] < layer['utils']
    wrong = set()
    for package, place in layer.items():
        for path in (ROOT / 'mmssl' / package).rglob('*.py'):
            wrong |= {f'{path.relative_to(ROOT)} -> {other}' for other in imports(path) if layer.get(other, 99) < place}
    assert not wrong
