"""Links within the documentation lead somewhere, and no page is out of reach."""
import os
import re

import doc_pages
import pytest

MARK = '<!-- not executed: '
PAGES = {path: path.read_text(encoding='utf-8') for path in doc_pages.all_pages()}


def fault(path, target, pages=PAGES):
    """What is wrong with a link of a page, or None; links to other places are not looked at."""
    name, _, anchor = target.partition('#')
    if re.match(r'\w+:', name):
        return None
    there = (path.parent / name).resolve() if name else path
    if name.startswith('../en/api/'):
        return None  # written by make docs
    if not there.exists() and there not in pages:
        return f'there is no {name}'
    if anchor and anchor not in doc_pages.anchors(pages.get(there) or there.read_text(encoding='utf-8')):
        return f'{there.name} has no anchor {anchor}'
    return None


def test_links_lead_somewhere():
    count, faults = 0, []
    for path, text in PAGES.items():
        for line, target in doc_pages.links(text):
            count += 1
            wrong = fault(path, target)
            if wrong:
                faults.append(f'{path.relative_to(doc_pages.ROOT)}:{line}: {target}: {wrong}')
    assert count > 100
    assert not faults, '\n'.join(faults)


@pytest.mark.parametrize('text, wrong', [
    ('[a](index.md) [b](#here-1) [c](https://nowhere.invalid) `[d](no.md)` [e](#mark) [f](#own)', None),
    ('[a](no_page.md)', 'there is no no_page.md'),
    ('[a](#away)', 'page.md has no anchor away'),
    ('```\n[a](no_page.md)\n```', None),
    ('![a](images/no.png)', 'there is no images/no.png'),
])
def test_faults_are_found(text, wrong):
    path = doc_pages.ENGLISH / 'page.md'
    pages = {path: text + '\n\n# Here\n\n## *Here*\n\n<a id="mark"></a>\n\n(own)=\n\n# Other\n'}
    found = [fault(path, target, pages) for _, target in doc_pages.links(pages[path])]
    assert [f for f in found if f] == ([wrong] if wrong else [])


@pytest.mark.parametrize('folder', [doc_pages.ENGLISH, doc_pages.CHINESE], ids=lambda folder: folder.name)
def test_every_page_is_in_a_table_of_contents_once(folder):
    listed = [
        name.strip().removesuffix('.md') for block in doc_pages.blocks_of(folder / 'index.md', '{toctree}')
        for name in block.text.split('\n') if name.strip() and not name.startswith(':')
    ]
    written = [path.stem for path in folder.glob('*.md') if path.stem != 'index']
    assert len(listed) == len(set(listed))
    assert set(written) <= set(listed)


def compared(block):
    """What has to be the same in both languages: all but comments and empty lines; in a shell block all."""
    _, language, text, before = block
    text = text if language == 'shell' else re.sub(r'\n\n+', '\n\n', re.sub(r' *#.*', '', text))
    return language, text, before.startswith(MARK)


def test_chinese_pages_have_the_parts_of_the_english_ones():
    """The same pages, headings by number and level and blocks of code, and a link to the English page."""
    faults = []
    english_names, names = [{path.name
                             for path in folder.glob('*.md')} for folder in (doc_pages.ENGLISH, doc_pages.CHINESE)]
    assert names == english_names
    pairs = [(doc_pages.ENGLISH / name, doc_pages.CHINESE / name) for name in sorted(names)]
    for english, path in [*pairs, *doc_pages.TWINS]:
        if path.stem == 'index':
            continue
        texts = [PAGES[page] for page in (english, path)]
        levels, blocks = zip(*[(re.findall(r'^#+', doc_pages.split(t)[0], re.M), doc_pages.split(t)[1]) for t in texts])
        if f'[English]({os.path.relpath(english, path.parent)})' not in texts[1]:
            faults.append(f'{path.name} has no link to the English page')
        if levels[0] != levels[1]:
            faults.append(f'{path.name} has other headings: {" ".join(levels[0])} and {" ".join(levels[1])}')
        for ours, theirs in zip(*blocks):
            if compared(ours) != compared(theirs):
                faults.append(f'{path.name}:{theirs[0]}: the block is not that of the English page, line {ours[0]}')
        if len(blocks[0]) != len(blocks[1]):
            faults.append(f'{path.name} has {len(blocks[1])} blocks, the English page {len(blocks[0])}')
    assert not faults, '\n'.join(faults)
