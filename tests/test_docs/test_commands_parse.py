"""Every command of the documentation names a tool that exists, files that exist, and arguments that the tool takes."""
import contextlib
import functools
import io
import re
from pathlib import Path

import doc_commands
import doc_pages
import pytest
from parsers import command_parser, parser_of

ROOT = doc_pages.ROOT
# programs that are not ours
OTHERS = {
    'cat', 'conda', 'docker', 'export', 'git', 'huggingface-cli', 'ln', 'ls', 'mim', 'mkdir', 'nvidia-smi', 'pip',
    'pre-commit', 'source', 'tail', 'unzip'
}
# shell scripts that call a tool: the tool, and the number of words before its own arguments
SCRIPTS = {
    'dist_train.sh': ('tools/train.py', lambda args: [args[0], *args[2:]]),
    'dist_test.sh': ('tools/test.py', lambda args: [*args[:2], *args[3:]]),
    'dist_run.sh': (None, lambda args: args[1:]),
    'slurm_run.sh': (None, lambda args: args[2:]),
    'slurm_train.sh': ('tools/train.py', lambda args: [args[2], '--work-dir', *args[3:]]),
    'slurm_test.sh': ('tools/test.py', lambda args: args[2:]),
}
tool_parser = functools.lru_cache(parser_of)
mmssl_parser = functools.lru_cache(command_parser)


def complaint(parser, args):
    """What a parser says of arguments, or None."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            parser.parse_intermixed_args(args) if positional_lists(parser) else parser.parse_args(args)
        except SystemExit as end:
            return said.getvalue().strip().split('\n')[-1] if end.code else None
    return None


def positional_lists(parser):
    """Whether files may stand before and after the options, as for the tools that draw pictures."""
    return any(not action.option_strings and action.nargs == '*' for action in parser._actions)


def fault(command, root=ROOT):
    """What is wrong with a command, or None."""
    name, *args = [word.replace('$CONFIG', 'CONFIG') for word in command.words]
    folder = root / command.folder
    if name == 'bash':
        name, *args = args
    if name in ('python', 'python3'):
        name, *args = args
        if name == '-m' and args[0] != 'mmssl' or name == '-c':
            return None
        if name == '-m':
            name, *args = args
    if name == 'torchrun' and 'mmssl' in args:  # torchrun ... -m mmssl COMMAND
        name, *args = args[args.index('mmssl'):]
    if name == 'mpirun':
        name, *args = args[3:]
    for word in args:
        file = re.match(r'(?:.*=)?((?:configs|tools|tests)/[\w./-]+\.\w+)$', word)
        if file and not (root / file[1]).exists():
            return f'there is no {file[1]}'
    if name == 'make':
        text = (root / 'Makefile').read_text()
        absent = [word for word in args if '=' not in word and not re.search(rf'^{word}:', text, re.M)]
        return f'the Makefile has no {absent[0]}' if absent else None
    if name == 'mmssl':
        from mmssl.cli import COMMANDS
        if not args or args[0].startswith('-'):
            return None
        if args[0] not in COMMANDS:
            return f'there is no command {args[0]}'
        return complaint(mmssl_parser(args[0]), args[1:])
    if name in OTHERS:
        return None
    path = folder / name
    if path.suffix not in ('.py', '.sh'):
        return f'{name} is not known; list it in {Path(__file__).name}'
    if not path.is_file():
        return f'there is no {name}'
    if path.suffix == '.sh':
        if path.name not in SCRIPTS:
            return None
        tool, rest = SCRIPTS[path.name]
        args = rest(args)
        path = root / (tool or args.pop(0))
    return complaint(tool_parser(path), args)


def test_commands_are_right():
    blocks = doc_commands.blocks()
    commands = [command for block in blocks for command in doc_commands.commands_of(block)]
    assert len(commands) > 100
    faults = [f'{c.place}\n    {fault(c)}' for c in commands if fault(c)]
    assert not faults, '\n'.join(faults)


def test_shell_blocks_are_called_so():
    wrong = [
        f'{block.page}:{block.line}: {block.language}' for path in doc_pages.all_pages()
        for block in doc_pages.blocks_of(path) if block.language in ('bash', 'sh', 'console')
    ]
    assert not wrong, 'write ```shell, whose commands are tried:\n' + '\n'.join(wrong)


@pytest.mark.parametrize('text, wrong', [
    ('python tools/train.py CONFIG --auto-resume', None),
    ('A=1 bash tools/dist_train.sh CONFIG 8 --seed 1; echo', 'echo is not known'),
    ('python tools/trane.py CONFIG', 'there is no tools/trane.py'),
    ('python tools/train.py CONFIG --auto-resum3', 'unrecognized arguments: --auto-resum3'),
    ('python tools/train.py CONFIG \\\n  --cfg-options lr', "takes KEY=VALUE, got 'lr'"),
    ('python tools/train.py configs/selfsup/no.py', 'there is no configs/selfsup/no.py'),
    ('make tset', 'the Makefile has no tset'),
    ('mmssl trian FOLDER', 'there is no command trian'),
    ('cd tools\npython train.py CONFIG', None),
    ('tools/dist_run.sh 8 tools/embed.py CONFIG CHECKPOINT', 'the following arguments are required'),
])
def test_faults_are_found(text, wrong):
    block = doc_pages.Block('page.md', 1, 'shell', text, None)
    found = [fault(command) for command in doc_commands.commands_of(block)]
    assert [wrong] == [None] if not any(found) else wrong in next(f for f in found if f)
