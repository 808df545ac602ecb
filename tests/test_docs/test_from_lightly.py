"""What docs/en/from_lightly.md names as ours is there: methods, steps of pipelines and classes."""
import inspect
import re

import doc_pages

from mmssl.datasets.builder import PIPELINES
from mmssl.models import HEADS, NECKS
from mmssl.recipes.methods import METHODS

PAGE = (doc_pages.ENGLISH / 'from_lightly.md').read_text(encoding='utf-8')


def code_in(heading, cell=-1):
    """Code in a cell of each row of the tables of a section."""
    section = re.search(rf'^## {heading}\n(.*?)(?=^## |\Z)', PAGE, re.M | re.S)[1]
    rows = [line.split('|')[1:-1] for line in section.split('\n') if line.startswith('| ') and '---' not in line]
    return [code for row in rows[1:] for code in re.findall(r'`([^`]+)`', row[cell])]


def test_methods_are_known():
    found = [name for name in code_in('Methods') if not name.startswith('model.')]
    assert len(found) >= 23
    assert [name for name in found if name not in METHODS] == []


def test_steps_take_these_arguments():
    steps = [(name, re.findall(r'(\w+)=', given)) for code in code_in('Transforms')
             for name, given in re.findall(r'([A-Z]\w+)\(([^()]*)\)', code)]
    assert len(steps) >= 6
    for name, given in steps:
        taken = inspect.signature(PIPELINES.get(name)).parameters
        assert set(given) <= set(taken), f'{name} takes {", ".join(taken)}'


def test_arguments_of_heads_and_necks_are_there():
    taken = {
        name
        for registry in (HEADS, NECKS)
        for one in registry.module_dict.values()
        for name in inspect.signature(one).parameters
    }
    found = [code for code in code_in('Losses and settings', 2) if re.fullmatch(r'model\.(head|neck)\.\w+', code)]
    assert len(found) >= 7
    assert [code for code in found if code.split('.')[2] not in taken] == []
