# Copyright (c) mmssl contributors. All rights reserved.
"""Extension of Sphinx: the API reference from the docstrings, and what the pages mean beside standard Markdown.

The pages of the reference are written to api/ when a build starts. Each object stands on one of them, under the name by
which users import it; PAGES says which packages and modules they are, the narrower ones first.
"""
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

from parsers import command_parser, parser_of

ROOT = Path(__file__).resolve().parents[1]
# page -> (title, packages whose exported names it has, packages of which it has each module's public names)
PAGES = {
    'apis': ('Training, inference and reports', [], ['mmssl.apis', 'mmssl.sklearn']),
    'recipes': ('Recipes that fit themselves', ['mmssl.recipes'], []),
    'hooks': ('Hooks', ['mmssl.core.hooks'], []),
    'core': ('Optimizers and runners', ['mmssl.core.optimizer', 'mmssl.core'], []),
    'algorithms': ('Algorithms', ['mmssl.models.algorithms'], []),
    'backbones': ('Backbones', ['mmssl.models.backbones'], []),
    'necks': ('Necks', ['mmssl.models.necks'], []),
    'heads': ('Heads', ['mmssl.models.heads'], []),
    'losses': ('Losses', ['mmssl.models.losses'], []),
    'memories': ('Memories', ['mmssl.models.memories'], []),
    'models': ('Parts of models, and builders', ['mmssl.models.utils', 'mmssl.models'], []),
    'data_sources': ('Data sources', ['mmssl.datasets.data_sources'], []),
    'pipelines': ('Pipelines', ['mmssl.datasets.pipelines'], []),
    'datasets': ('Data sets, samplers, data loaders', ['mmssl.datasets.samplers', 'mmssl.datasets'], []),
    'evaluation': ('Evaluation', [], ['mmssl.evaluation']),
    'interop': ('Weights that travel', [], ['mmssl.interop']),
    'benchmarks': ('Speed', [], ['mmssl.benchmarks']),
    'utils': ('Utilities', ['mmssl.utils'], [
        'mmssl.utils.config', 'mmssl.utils.errors', 'mmssl.utils.dist', 'mmssl.utils.launch', 'mmssl.utils.checkpoint',
        'mmssl.utils.registry'
    ]),
}


def modules_of(package):
    """A package's public modules, or the module itself."""
    module = importlib.import_module(package)
    if not hasattr(module, '__path__'):
        return [module]
    names = sorted(m.name for m in pkgutil.iter_modules(module.__path__) if not m.name.startswith('_'))
    return [importlib.import_module(f'{package}.{name}') for name in names]


def public_names(module):
    """Names of the functions and classes that a module defines and does not hide, in their order there."""
    found = [name for name, value in vars(module).items() if getattr(value, '__module__', None) == module.__name__]
    return [name for name in found if not name.startswith('_') and is_described(getattr(module, name))]


def is_described(value):
    """Whether an object is a class or a function of this toolbox with a docstring of its own."""
    kind = inspect.isclass(value) or inspect.isroutine(value)
    return kind and (value.__module__ or '').startswith('mmssl.') and bool(value.__doc__)


class Reference:
    """What stands where: `pages` has the objects of each page as (heading, docstring, [(path, object), ...])."""

    def __init__(self):
        self.paths = {}  # object -> the name that it is imported by
        self.pages = {page: self._sections(*PAGES[page][1:]) for page in PAGES}

    def _sections(self, packages, folders):
        sections = []
        for package in packages:
            module = importlib.import_module(package)
            names = getattr(module, '__all__', [name for name in vars(module) if not name.startswith('_')])
            sections.append(self._section(package, module, sorted(names)))
        for module in (module for folder in folders for module in modules_of(folder)):
            sections.append(self._section(module.__name__, module, public_names(module)))
        return [section for section in sections if section[2]]

    def _section(self, heading, module, names):
        members = []
        for name in names:
            value = getattr(module, name)
            if is_described(value) and value not in self.paths:
                self.paths[value] = f'{module.__name__}.{name}'
                members.append((f'{module.__name__}.{name}', value))
        return heading, inspect.getdoc(module) or '', members

    def text(self, page):
        """A page in reStructuredText."""
        title = PAGES[page][0]
        lines = [title, '=' * len(title), '']
        for heading, doc, members in self.pages[page]:
            lines += [heading, '-' * len(heading), '', to_rst(doc), '']
            for path, value in members:
                if inspect.isclass(value):
                    lines += [f'.. autoclass:: {path}', '   :members:', '   :show-inheritance:', '']
                else:
                    lines += [f'.. autofunction:: {path}', '']
        return '\n'.join(lines)


def to_rst(text):
    """Our docstrings are plain text with `code`: escape what reStructuredText would take for marks of its own."""
    parts = re.split(r'(`[^`\n]+`)', text)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r'\|(?=\S)|(?<=\w)_(?=[\s,.;:)]|$)', lambda mark: '\\' + mark[0], parts[i])
    return ''.join(parts)


def plain_docstring(app, what, name, obj, options, lines):
    """Before napoleon: escapes, and the form `Args: see X, and:`."""
    text = re.sub(
        r'^Args: (see [^\n]+?)(?:,? and:?|; besides)$',
        r'For more arguments \1.\n\nArgs:',
        '\n'.join(lines),
        flags=re.M)
    lines[:] = to_rst(text).split('\n')


def linked_bases(app, name, obj, options, bases):
    """Link to a base class where the reference has it, and name it otherwise."""
    for i, base in enumerate(bases):
        path = app.reference.paths.get(base) if inspect.isclass(base) else None
        bases[i] = f':class:`{path}`' if path else f'``{getattr(base, "__name__", base)}``'


def command_line_text():
    """The page with the help of every command and every tool."""
    from mmssl.cli import COMMANDS
    title = 'Command line'
    lines = [title, '=' * len(title), '']
    for name in COMMANDS:
        lines += help_section(f'mmssl {name}', command_parser(name))
    for file in sorted((ROOT / 'tools').rglob('*.py')):
        name = str(file.relative_to(ROOT))
        parser = parser_of(file)
        parser.prog = f'python {name}'
        lines += help_section(name, parser)
    return '\n'.join(lines)


def help_section(heading, parser):
    text = parser.format_help()
    return [heading, '-' * len(heading), '', '.. code-block:: text', '', *(f'   {t}' for t in text.splitlines()), '']


def write_reference(app):
    """Write the pages of the reference, those that have changed."""
    app.reference = Reference()
    folder = Path(app.srcdir) / 'api'
    folder.mkdir(exist_ok=True)
    texts = {page: app.reference.text(page) for page in PAGES}
    texts['command_line'] = command_line_text()
    names = ''.join(f'   {name}\n' for name in ['command_line', *PAGES])
    texts['index'] = f'API reference\n=============\n\n.. toctree::\n   :maxdepth: 2\n\n{names}'
    for name, text in texts.items():
        path = folder / f'{name}.rst'
        if not path.is_file() or path.read_text(encoding='utf-8') != text:
            path.write_text(text, encoding='utf-8')


def more_links(app, docname, source):
    """Links that the parser does not resolve: to the other language's pages, whose build lies beside this one, to pages
    that are not translated, and to anchors that a page sets in HTML.
    """
    here = Path(app.srcdir)
    up = '../' * (docname.count('/') + 1)

    marked = set(re.findall(r'<a id="([^"]+)">', source[0]))

    def link(found):
        text, folder, page, anchor = found.groups(default='')
        if not page and anchor[1:] in marked:
            return f'<a href="{anchor}">{text}</a>'
        translated = not page or (here / f'{page}.md').exists() or not (here.parent / 'en' / f'{page}.md').exists()
        if not folder and translated:
            return found[0]
        return f'<a href="{up}{folder[3:] or "en/"}{page}.html{anchor}">{text}</a>'

    if docname == 'index':
        source[0] = re.sub(
            r'^([a-z_]+)\n', lambda m: m[0] if (here / f'{m[1]}.md').exists() else '', source[0], flags=re.M)
    source[0] = re.sub(r'\[([^\]\n]+)\]\((\.\./(?:en|zh_cn)/)?(?:([\w/]+)\.(?:md|rst))?(#[^)\s]*)?\)', link, source[0])


def html_anchors(app, doctree):
    """`<a id="name"></a>` in a page is an anchor that links may name, as on the pages of a repository."""
    anchors = app.env.metadata[app.env.docname].setdefault('myst_slugs', {})
    for node in doctree.findall(lambda node: node.tagname == 'raw'):
        for name in re.findall(r'<a id="([^"]+)">', node.astext()):
            anchors.setdefault(name, (node.line, name, name))


def setup(app):
    if app.config.language == 'en':
        app.connect('builder-inited', write_reference)
        app.connect('autodoc-process-docstring', plain_docstring, priority=400)
        app.connect('autodoc-process-bases', linked_bases)
    app.connect('source-read', more_links)
    app.connect('doctree-read', html_anchors)
    return dict(parallel_read_safe=False)
