# Copyright (c) mmssl contributors. All rights reserved.
"""Print what completes commands, options, methods, networks and configs of `mmssl` in a shell.

  bash: echo 'eval "$(mmssl completion bash)"' >> ~/.bashrc
  zsh:  echo 'eval "$(mmssl completion zsh)"' >> ~/.zshrc     (after compinit)
  fish: mmssl completion fish > ~/.config/fish/completions/mmssl.fish
"""
import argparse

# where nothing is offered, a shell completes names of files
SCRIPTS = dict(
    bash='''_mmssl() {
    local IFS=$'\\n'
    COMPREPLY=($(mmssl completion --complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -o bashdefault -F _mmssl mmssl''',
    zsh='''_mmssl() {
    local -a found
    found=("${(@f)$(mmssl completion --complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "$found[1]" ]]; then compadd -- $found; else _files; fi
}
compdef _mmssl mmssl''',
    fish="complete -c mmssl -a '(mmssl completion --complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'")


def add_arguments(parser):
    parser.add_argument('shell', nargs='?', choices=SCRIPTS, help='whose script is printed')
    parser.add_argument('--complete', nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


def run(args):
    from mmssl.utils.errors import ConfigError
    if args.complete is not None:
        found = complete(args.complete)
        print('\n'.join(found), end='\n' if found else '')
    elif args.shell is None:
        raise ConfigError(f'say for which shell: mmssl completion {" or ".join(SCRIPTS)}')
    else:
        print(SCRIPTS[args.shell])


def complete(words):
    """What may stand in the place of the last of some words.

    Args:
        words (Sequence[str]): Those after `mmssl`, the last one perhaps half written or ''.

    Returns:
        list[str]: Whole words; none where the name of a file is wanted.
    """
    from . import COMMANDS, parser_of
    *before, last = words or ['']
    if not before:
        return _begin([*COMMANDS, '--help', '--version'] if last.startswith('-') else COMMANDS, last)
    if before[0] not in COMMANDS:
        return []
    parser = parser_of(before[0])
    if last.startswith('-'):
        return _begin([name for action in parser._actions if action.help != argparse.SUPPRESS
                       for name in action.option_strings if name.startswith('--')], last)  # yapf: disable
    option = parser._option_string_actions.get(before[-1])
    if option is not None and option.nargs != 0:
        return _begin(_values(option.dest, option.choices), last)
    places = [action for action in parser._actions if not action.option_strings and action.help != argparse.SUPPRESS]
    given = sum(1 for i, word in enumerate(before[1:], 1)
                if not word.startswith('-') and not _is_value(parser, before[i - 1]))  # yapf: disable
    if not places:
        return []
    place = places[min(given, len(places) - 1)]
    return _begin(_values(f'{before[0]} {place.dest}', place.choices), last)


def _is_value(parser, word):
    """Whether the word behind this one is the value of an option."""
    option = parser._option_string_actions.get(word)
    return option is not None and option.nargs != 0


def _values(name, choices):
    """The words that an option, or the place of a word, takes."""
    if choices is not None:
        return choices
    if name in ('method', 'methods words'):
        from mmssl.recipes.methods import METHODS
        return METHODS
    if name in ('model', 'models words'):
        from mmssl.recipes.networks import NAMES
        return NAMES
    return _configs() if name in ('recipe', 'demo config', 'recipes words') else ()


def _configs():
    """The configs that come with mmssl, as they can be named in any folder."""
    from mmssl.recipes.shipped import configs_root
    root = configs_root()
    found = (path.relative_to(root) for path in (root / 'configs').rglob('*.py'))
    return sorted(str(path) for path in found if '_base_' not in path.parts)


def _begin(words, start):
    return [word for word in words if word.startswith(start)]
