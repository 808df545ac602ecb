"""The pages of the documentation, taken apart: fenced blocks, links, anchors."""
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
ENGLISH, CHINESE = ROOT / 'docs' / 'en', ROOT / 'docs' / 'zh_cn'
# pages of the root and their Chinese twins
TWINS = [(ROOT / f'{name}.md', ROOT / f'{name}.zh-CN.md') for name in ('README', 'CONTRIBUTING')]


def all_pages():
    """README.md, CONTRIBUTING.md, their Chinese twins and every page of both languages."""
    written = [path for folder in (ENGLISH, CHINESE) for path in sorted(folder.glob('*.md'))]
    return [path for twins in TWINS for path in twins if path.is_file()] + written


class Block(NamedTuple):
    """A fenced block: its language, its text, its first line's number and why it is not executed, if a mark says so."""
    page: str
    line: int
    language: str
    text: str
    reason: str | None


def split(text):
    """(what is outside of fenced blocks, with empty lines in their place; list of (line, language, text, before))."""
    outside, blocks, fence = [], [], None
    lines = text.split('\n')
    for number, line in enumerate(lines):
        mark = re.match(r'\s*(`{3,}|~{3,})(.*)', line)
        if fence is None and mark:
            fence, start, language = mark[1], number, mark[2].strip()
        elif fence is not None and mark and mark[1].startswith(fence) and not mark[2].strip():
            before = lines[start - 1].strip() if start else ''
            blocks.append((start + 2, language, '\n'.join(lines[start + 1:number]), before))
            fence = None
        outside.append(line if fence is None and not mark else '')
    assert fence is None, f'line {start + 1}: the block is not closed'
    return '\n'.join(outside), blocks


def blocks_of(path, language=None):
    """Fenced blocks of a page, of one language or of all."""
    found = []
    for line, kind, text, before in split(path.read_text(encoding='utf-8'))[1]:
        mark = re.fullmatch(r'<!-- not executed: (.+) -->', before)
        if language in (None, kind):
            found.append(Block(str(path.relative_to(ROOT)), line, kind, text, mark and mark[1]))
    return found


def slug(heading):
    """The anchor that a heading gets, as on GitHub and by MyST."""
    text = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading).strip().lower()
    return re.sub(r'[^\w\- ]', '', text).replace(' ', '-')


def anchors(text):
    """All that a link may name in a page."""
    outside, found = split(text)[0], []
    for heading in re.findall(r'^#{1,6} +(.+?) *#*$', outside, re.M):
        name, number = slug(heading), 0
        while (name if not number else f'{name}-{number}') in found:
            number += 1
        found.append(name if not number else f'{name}-{number}')
    return {*found, *re.findall(r'<a (?:id|name)="([^"]+)">', outside), *re.findall(r'^\(([\w-]+)\)=$', outside, re.M)}


def links(text):
    """(line, target) of each link and picture of a page, inline code left out."""
    outside = re.sub(r'`[^`\n]*`', lambda code: ' ' * len(code[0]), split(text)[0])
    found = re.finditer(r'\]\(\s*([^()\s]+(?:\([^()\s]*\))?)[^)]*\)|(?:src|href)="([^"]+)"', outside)
    return [(outside.count('\n', 0, m.start()) + 1, m[1] or m[2]) for m in found]
