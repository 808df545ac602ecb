# Copyright (c) mmssl contributors. All rights reserved.
"""Read config files with their bases, and keep which names each file sets and reads. Imports nothing heavy."""
import ast
import copy
import importlib
import json
import os
import pkgutil
import re
import sys
import traceback
import types
import uuid
import warnings
from pathlib import Path

from .errors import ConfigError

SUFFIXES = ('.py', '.yml', '.yaml', '.json')
ROOT = Path(__file__).resolve().parents[2]
_BASE_VALUE = re.compile(r'\{\{\s*_base_\.([\w.]+)\s*\}\}')


class ConfigFile:
    """Names in one config file.

    Attributes:
        path (Path): The file.
        lines (dict[str, int | None]): Line of each name that the file sets; None in YAML and JSON.
        loaded (set[str]): Names that its own code reads.
        from_bases (set[str]): Names of its bases that it reads by `{{_base_.name}}`.
    """

    def __init__(self, path):
        self.path = path
        self.lines, self.loaded, self.from_bases = {}, set(), set()

    def place(self, name):
        """Words for the place where a name is set."""
        line = self.lines.get(name)
        return f'{self.path}, line {line}' if line else str(self.path)


def find_config(path):
    """A file of a config: as given, else in the clone or the installed package, so that tools work from any folder.

    Args:
        path (str | Path): A path, such as configs/benchmarks/classification/knn_imagenet.py.

    Returns:
        Path: The file.

    Raises:
        FileNotFoundError: It is in none of these places.
    """
    places = [Path(path).expanduser(), ROOT / path, ROOT / 'mmssl' / '.mim' / path]
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(f'config file {path} does not exist')


def read_config(path, inside=()):
    """Read a config file with its bases, as mmcv does.

    A Python file is code and runs. YAML is read by a loader that makes plain values only.

    Args:
        path (str | Path): Python, YAML or JSON file.
        inside (tuple[Path]): Files that this one is a base of.

    Returns:
        tuple[dict, str, list[ConfigFile]]: The values, the text of all files, and the files, this one first.

    Raises:
        FileNotFoundError: There is no such base.
        ConfigError: A file cannot be understood, or its code fails; with the line.
    """
    path = Path(os.path.abspath(path))
    if path in inside:
        raise ConfigError(f'config file {path} is a base of itself')
    if path.suffix not in SUFFIXES:
        raise ConfigError(f'config file {path}: the name ends with one of {", ".join(SUFFIXES)}')
    try:
        text = path.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise ConfigError(f'config file {path} is no text in UTF-8: {error}') from error
    file = ConfigFile(path)
    placeholders = {}

    def placeholder(match):
        word = f'_{match[1]}_{uuid.uuid4().hex[:6]}'
        placeholders[word] = match[1].split('.')
        file.from_bases.add(match[1].split('.')[0])
        return f'"{word}"'

    source = _BASE_VALUE.sub(placeholder, _predefined(text, path))
    values = _run(source, file) if path.suffix == '.py' else _parse(source, file)
    if not isinstance(values, dict):
        raise ConfigError(f'config file {path} holds settings by name, got a {type(values).__name__}')
    notice = values.pop('_deprecation_', None)
    if notice:
        warnings.warn(f'The config file {path} will be deprecated: {notice}', DeprecationWarning)

    files, texts, inherited = [file], [], {}
    bases = values.pop('_base_', [])
    for base in [bases] if isinstance(bases, str) else bases:
        if not isinstance(base, str):
            raise ConfigError(f'config file {path}: _base_ is a file name or a list of them, got {base!r}')
        try:
            base = path.parent / base if (path.parent / base).is_file() else find_config(base)
        except FileNotFoundError as error:
            raise FileNotFoundError(f'config file {path.parent / base}, a base of {path}, does not exist') from error
        base_values, base_text, base_files = read_config(base, (*inside, path))
        twice = sorted(inherited.keys() & base_values.keys())
        if twice:
            raise ConfigError(f'config file {path}: two of its bases set {twice[0]!r}, the second is {base}')
        inherited.update(base_values)
        texts.append(base_text)
        files += base_files
    values = _fill(values, placeholders, inherited, path)
    from mmcv import Config
    try:
        values = Config._merge_a_into_b(values, inherited)
    except TypeError as error:
        raise ConfigError(f'config file {path}: {error}') from error
    return values, '\n'.join([*texts, f'{path}\n{text}']), files


def _predefined(text, path):
    """The text with mmcv's variables for the file's own name in it."""
    names = dict(
        fileDirname=path.parent, fileBasename=path.name, fileBasenameNoExtension=path.stem, fileExtname=path.suffix)
    for name, value in names.items():
        value = str(value).replace('\\', '/').replace('"', '\\"')  # inside of quotes in Python and in JSON
        if path.suffix == '.py':
            value = value.replace("'", "\\'")
        text = re.sub(r'\{\{\s*' + name + r'\s*\}\}', lambda _: value, text)
    return text


def _run(source, file):
    """What the code of a config leaves under names, but modules, functions and names with two underscores."""
    try:
        tree = ast.parse(source, str(file.path))
    except (SyntaxError, ValueError) as error:  # the latter are null bytes
        raise ConfigError(f'config file {file.path}: There are syntax errors: {error}') from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            file.loaded.add(node.id)
        elif isinstance(node, ast.Name):
            file.lines.setdefault(node.id, node.lineno)
    scope = {'__file__': str(file.path), '__name__': f'config_{file.path.stem}'}
    try:
        exec(compile(tree, str(file.path), 'exec'), scope)
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file.path)]
        line = f', line {frames[-1].lineno}' if frames else ''
        raise ConfigError(f'config file {file.path}{line}: {type(error).__name__}: {error}') from error
    values = {
        name: value
        for name, value in scope.items()
        if not name.startswith('__') and not isinstance(value, (types.ModuleType, types.FunctionType))
    }
    file.lines = {name: line for name, line in file.lines.items() if name in values}
    return values


def _parse(source, file):
    """What a YAML or JSON file holds."""
    import yaml
    try:
        values = json.loads(source) if file.path.suffix == '.json' else yaml.safe_load(source)
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(f'config file {file.path}: {" ".join(str(error).split())}') from error
    if isinstance(values, dict):
        for name in values:
            if not isinstance(name, str):
                raise ConfigError(f'config file {file.path}: the name of a setting is a text, got {name!r}')
        file.lines = dict.fromkeys(values)
    return values


def _fill(value, placeholders, inherited, path):
    """The values with those of the bases in their places."""
    if isinstance(value, dict):
        return {name: _fill(part, placeholders, inherited, path) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_fill(part, placeholders, inherited, path) for part in value])
    if not isinstance(value, str) or value not in placeholders:
        return value
    found = inherited
    for key in placeholders[value]:
        try:
            found = found[key]
        except (KeyError, TypeError):
            raise ConfigError(f'config file {path}: its bases have no {".".join(placeholders[value])!r}, which '
                              '{{_base_...}} asks for') from None
    return copy.deepcopy(found)


def read_plain(text):
    """Read the text of a config that holds plain values, without running anything of it.

    Args:
        text (str): Lines NAME = VALUE as mmssl.utils.config_text writes them.

    Returns:
        dict: Values by name.

    Raises:
        ConfigError: There is anything else in the text.
    """
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f'this is no text of a config: {error}') from error
    values = {}
    for node in body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
            if isinstance(target, ast.Name):
                values[target.id] = _plain(node.value)
                continue
            if isinstance(target, ast.Subscript) and ast.unparse(target.value) == 'globals()':
                values[_plain(target.slice)] = _plain(node.value)
                continue
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):  # a docstring
            continue
        raise _code(node)
    return values


def _plain(node):
    """The plain value that a part of a parsed text stands for."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id == 'dict' and not node.args and all(keyword.arg for keyword in node.keywords):
            return {keyword.arg: _plain(keyword.value) for keyword in node.keywords}
        kind = dict(float=float, set=set, frozenset=frozenset).get(node.func.id)
        if kind and len(node.args) == 1 and not node.keywords:
            return kind(_plain(node.args[0]))
    elif isinstance(node, ast.Dict) and all(node.keys):
        return {_plain(key): _plain(value) for key, value in zip(node.keys, node.values)}
    elif isinstance(node, (ast.List, ast.Tuple)):
        return (list if isinstance(node, ast.List) else tuple)([_plain(part) for part in node.elts])
    else:
        try:
            return ast.literal_eval(node)
        except ValueError:
            pass
    raise _code(node)


def _code(node):
    return ConfigError(f'line {node.lineno} of this config is code and no plain value: {ast.unparse(node)[:80]}')


def import_modules(section, files):
    """Import the modules of `custom_imports`; they may lie beside a config file or in the current folder.

    The folders stay on the path of modules, as worker processes and later imports need them.

    Args:
        section (dict): `imports` (str | list[str]) and optionally `allow_failed_imports` (bool). PACKAGE.* imports all
            modules in the folder of a package, but those that begin with an underscore.
        files (list[ConfigFile]): The files of the config.

    Raises:
        ConfigError: A module is not found, or fails while it is imported, or a folder has none.
    """
    if not isinstance(section, dict) or not {'imports'} <= {*section} <= {'imports', 'allow_failed_imports'}:
        raise ConfigError(f'custom_imports is dict(imports=[MODULE, ...], allow_failed_imports=False), got {section!r}')
    modules = section['imports']
    modules = [modules] if isinstance(modules, str) else modules
    if not isinstance(modules, (list, tuple)) or not all(isinstance(name, str) for name in modules):
        raise ConfigError(f'custom_imports.imports is a list of names of modules, got {modules!r}')
    folders = dict.fromkeys([*(str(file.path.parent) for file in files), os.getcwd()])
    sys.path.extend(folder for folder in folders if folder not in sys.path)
    for name in modules:
        package, star, _ = name.partition('.*')
        if star and not name.endswith('.*') or '*' in package:
            raise ConfigError(
                f'custom_imports: {name!r} is no name of a module; PACKAGE.* means all modules of a folder')
        module = _import_module(package, section, folders)
        if star and module:
            for part in _modules_in(module, package):
                _import_module(part, section, folders)


def _modules_in(package, name):
    """Names of the modules and packages in the folder of a package, but those that begin with an underscore."""
    found = sorted(info.name for info in pkgutil.iter_modules(getattr(package, '__path__', [])))
    found = [f'{name}.{part}' for part in found if not part.startswith('_')]
    if not found:
        what = 'holds none' if hasattr(package, '__path__') else f'is a module: write {name!r}'
        raise ConfigError(f"custom_imports: '{name}.*' means all modules of a folder, but {name} {what}")
    return found


def _import_module(name, section, folders):
    """A module, or None where it may fail and does."""
    try:
        return importlib.import_module(name)
    except Exception as error:
        absent = isinstance(error, ModuleNotFoundError) and f'{name}.'.startswith(f'{error.name}.')
        if isinstance(error, ImportError) and section.get('allow_failed_imports'):
            warnings.warn(f'custom_imports: {name} cannot be imported: {error}')
            return None
        if absent:
            raise ConfigError(f'custom_imports: there is no module {name!r}, neither installed nor in '
                              f'{" or ".join(folders)}') from error
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise ConfigError(f'custom_imports: {name} fails in {frame.filename}, line {frame.lineno}: '
                          f'{type(error).__name__}: {error}') from error
