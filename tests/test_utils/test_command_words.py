# Copyright (c) mmssl contributors. All rights reserved.
"""Commands that are printed run when they are copied."""
import shlex

from mmssl.utils.command_words import counted, shell_line


def test_lines_for_a_shell():
    """A shell reads the same words, and an apostrophe stays easy to read."""
    words = ["Ann's run", 'a b', 'plain', '$HOME', "it's $5", 'say "no"', "a'\\b", "a'b!", '']
    assert shlex.split(shell_line(words)) == words
    assert shell_line(words[:3]) == '"Ann\'s run" \'a b\' plain'


def test_counted():
    assert [counted(n, 'epoch') for n in (0, 1, 2)] == ['0 epochs', '1 epoch', '2 epochs']
