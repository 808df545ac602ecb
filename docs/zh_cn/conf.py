# Copyright (c) mmssl contributors. All rights reserved.
"""Settings of Sphinx: pip install -r requirements/docs.txt, then sphinx-build docs/zh_cn docs/_build/zh_cn."""
from pathlib import Path

version_file = Path(__file__).resolve().parents[2] / 'mmssl' / 'version.py'
scope = {}
exec(version_file.read_text(encoding='utf-8'), scope)

project = 'mmssl'
author = 'mmssl contributors'
copyright = author
release = scope['__version__']
extensions = ['myst_parser']
myst_heading_anchors = 3
source_suffix = {'.md': 'markdown'}
exclude_patterns = ['_build']
language = 'zh_CN'
html_theme = 'alabaster'
# the links to the English pages are for readers of the repository
suppress_warnings = ['myst.xref_missing']
