"""The commands of the documentation: what they are, and what takes the place of their words where they are run.

`python tests/test_docs/doc_commands.py` counts them.
"""
import re
import shlex
from typing import NamedTuple

import doc_pages

# the word of a page -> what stands for it: files of the folder that a command is run in, see small_files.py
WORDS = {
    'FOLDER': 'photographs',
    'CONFIG': 'tests/test_docs/small/moco.py',
    'CHECKPOINT': 'work_dirs/NAME/latest.pth',
    'RUN': 'work_dirs/NAME',
    'PRETRAIN': 'work_dirs/NAME/latest.pth',
    'IMAGE': 'photographs/china/00.jpg',
    'IMG': 'photographs/china/00.jpg',
    'IMG1': 'photographs/china/00.jpg',
    'IMG2': 'photographs/china/01.jpg',
    'LOG': 'work_dirs/NAME/*.log.json',
    'FILE': 'out.png',
}
# (a part of a command, other words for it): tools that take no contrastive network
OTHER_WORDS = [
    (r'mae_visualization|visualize_attention', {
        'CONFIG': 'tests/test_docs/small/mae.py',
        'CHECKPOINT': 'work_dirs/mae/latest.pth'
    }),
    (r'tools/(dist_)?test\.|dist_test\.sh', {
        'CONFIG': 'tests/test_docs/small/classifier.py',
        'CHECKPOINT': 'work_dirs/classifier/latest.pth'
    }),
]
# (a part of a command, settings that it gets unless it has them): what keeps a training short
SETTINGS = [
    (r'tools/train\.py|dist_train\.sh', {
        'runner.max_epochs': '1',
        'data.samples_per_gpu': '8',
        'data.workers_per_gpu': '0',
    }),
    (r'tools/train\.py(?!.*(?:subset|Synthetic))', {
        'data.train.data_source.subset.num': '16',
    }),
]
# (pattern, replacement) in a command: fewer processes, less time
SHORTER = [
    (r'(dist_\w+\.sh (?:\S+ )?)8\b', r'\g<1>2'),
    (r'(mmssl train (?!.*--(?:epochs|time|from)).*)', r'\1 --epochs 1'),
    (r'(mmssl train .*)--(?:epochs|time) \S+', r'\1--epochs 1'),
    (r'--workers \d+', '--workers 2'),
    (r'num_images=\d+', 'num_images=32'),
]


class Command(NamedTuple):
    """One command: the block that it stands in, its words, its environment and the folder, as `cd` has set it."""
    block: doc_pages.Block
    words: list
    folder: str

    @property
    def place(self):
        return f'{self.block.page}:{self.block.line}: {" ".join(self.words)}'


def commands_of(block):
    """The commands of a block, with what precedes them (variables) left out and what follows `;`, `&&`, `|` apart.

    Files that `>` writes are no words of a command.
    """
    found, folder = [], ''
    for line in block.text.replace('\\\n', ' ').split('\n'):
        words = shlex.split(line, comments=True)
        parts, part = [], []
        for word in words:
            if word in ('&&', '||', '|', ';', '&') or word.endswith(';'):
                parts.append(part + [word[:-1]] * (len(word) > 1 and word.endswith(';')))
                part = []
            else:
                part.append(word)
        for part in [*parts, part]:
            while part and re.fullmatch(r'[A-Z_][A-Z0-9_]*=.*', part[0]):
                part = part[1:]
            if part[:1] == ['cd']:
                folder = part[1]
            elif part:
                end = next((number for number, word in enumerate(part) if re.match(r'\d?[<>]', word)), None)
                found.append(Command(block, part[:end], folder))
    return found


def blocks():
    """All shell blocks of the English pages; the Chinese ones have the same."""
    pages = [
        path for path in doc_pages.all_pages()
        if path.parent != doc_pages.CHINESE and path not in dict(doc_pages.TWINS).values()
    ]
    return [block for path in pages for block in doc_pages.blocks_of(path, 'shell')]


def variables(block):
    """Lines such as CONFIG=... of the earlier blocks of a page, which the later ones go on with."""
    path = doc_pages.ROOT / block.page
    earlier = [b.text for b in doc_pages.blocks_of(path, 'shell') if b.line < block.line]
    return [line for text in earlier for line in text.split('\n') if re.fullmatch(r'(export )?[A-Z_]+=\S+', line)]


def script(block):
    """What is run for a block: its lines with words replaced and trainings made short."""
    lines = [shorten(line) for line in block.text.replace('\\\n', ' ').split('\n')]
    return '\n'.join([*variables(block), *lines])


def shorten(line):
    """A line of a block as it is run."""
    line = re.sub(r'  +', ' ', line)
    words = dict(WORDS)
    for pattern, other in OTHER_WORDS:
        if re.search(pattern, line):
            words.update(other)
    command, comment = re.match(r'((?:[^#]|\S#)*)(.*)', line, re.S).groups()
    command = command.rstrip()
    for word, file in words.items():
        command = re.sub(rf'(?<![\w$/.-]){word}(?![\w=])', file, command)
    for pattern, text in SHORTER:
        command = re.sub(pattern, text, command)
    for pattern, settings in SETTINGS:
        options = [f'{key}={value}' for key, value in settings.items() if f'{key}=' not in command]
        if re.search(pattern, command) and '--auto-resume' not in command and '--resume-from' not in command:
            command += ' --cfg-options ' + ' '.join(options)
    return command


def main():
    found = blocks()
    counted = [(block, len(commands_of(block))) for block in found]
    marked = [(block, n) for block, n in counted if block.reason]
    total, left_out = sum(n for _, n in counted), sum(n for _, n in marked)
    print(f'{total} commands in {len(found)} blocks: {total - left_out} executed, {left_out} parsed only:')
    for block, n in marked:
        print(f'  {n} in {block.page}, line {block.line}: {block.reason}')


if __name__ == '__main__':
    main()
