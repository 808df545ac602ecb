"""The messages in docs/en/troubleshooting.md are those of the code."""
import re

import doc_pages

PAGE = doc_pages.ENGLISH / 'troubleshooting.md'
OTHERS = '## Messages of PyTorch'  # from here on they are not ours


def messages(text):
    """The messages of a page: what stands in code in the first column of its tables."""
    return re.findall(r'^\| `([^`]+)`', text.partition(OTHERS)[0], re.M)


def source():
    """All strings of the package, those put together from several lines too, without what is filled in."""
    text = '\n'.join(path.read_text(encoding='utf-8') for path in (doc_pages.ROOT / 'mmssl').rglob('*.py'))
    return re.sub(r"""['"]\s*\n\s*f?['"]""", '', text)


def absent(found, text):
    """Messages of which a fixed part is nowhere in the code."""
    return [m for m in found if any(part.strip(' ;,:') not in text for part in m.split('...'))]


def test_messages_are_those_of_the_code():
    found, text = messages(PAGE.read_text(encoding='utf-8')), source()
    assert len(found) >= 28
    assert not absent(found, text)
    assert absent(['... holds a run up two ...'], text)
