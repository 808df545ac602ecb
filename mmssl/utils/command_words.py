# Copyright (c) mmssl contributors. All rights reserved.
"""Messages about the options of tools in the words of the command `mmssl`. Imports nothing heavy."""

# options of the tools, which messages of the functions behind them name, and how the command says the same
_WORDS = {
    '--auto-resume': '`mmssl resume`',
    '--work-dir': '--out',
    'A larger runner.max_epochs in --cfg-options': '--epochs N',
    '--cfg-options': '--set',
    'settings has the unknown key': '--set has the unknown key',
    '--load-from begins': '--set load_from=CHECKPOINT begins',
}


def in_our_words(message):
    """A message in which options of the tools are those of the command `mmssl`."""
    for option, words in _WORDS.items():
        message = message.replace(option, words)
    return message
