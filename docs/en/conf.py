# Copyright (c) mmssl contributors. All rights reserved.
"""Settings of Sphinx; `make docs` builds the pages in both languages."""
import sys
from pathlib import Path

root = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(root), str(root / 'docs')]
scope = {}
exec((root / 'mmssl' / 'version.py').read_text(encoding='utf-8'), scope)

project = 'mmssl'
author = 'mmssl contributors'
copyright = author
release = scope['__version__']
language = 'en'
extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx_copybutton', 'reference']
source_suffix = {'.md': 'markdown', '.rst': 'restructuredtext'}
exclude_patterns = ['_build']
myst_heading_anchors = 4
myst_enable_extensions = ['dollarmath']
# types in our docstrings are for readers, and not all of them names
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_custom_sections = [('Attributes', 'params_style')]
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
autodoc_member_order = 'bysource'
default_role = 'code'
html_theme = 'furo'
html_title = f'mmssl {release}'
# without a network there is no inventory of other packages to link to
nitpick_ignore_regex = [('py:class', r'(numpy|torch|mmcv|nn|pathlib|os|typing|collections)\..*|Tensor|ndarray|Path')]
