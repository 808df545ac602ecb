# Copyright (c) mmssl contributors. All rights reserved.
"""Messages in the words of the command `mmssl`, and commands as a shell takes them. Imports nothing heavy."""
import shlex

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


def shell_line(words):
    """A command that can be copied into a shell.

    Args:
        words (Iterable[str]): Its words. One with an apostrophe stands in double quotes where it can: "Ann's run" is
            easier to read than what shlex.join makes of it.

    Returns:
        str: The command.
    """
    return ' '.join(f'"{word}"' if "'" in word and not set(word) & set('"$`\\!\n') else shlex.quote(word)
                    for word in words)


def counted(number, noun):
    """'1 epoch', '2 epochs', '2 processes'."""
    return f'{number} {noun}' if number == 1 else f'{number} {noun}{"es" if noun.endswith("s") else "s"}'
