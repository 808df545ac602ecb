# Copyright (c) mmssl contributors. All rights reserved.
"""Settings of Sphinx, those of the English pages but for the language: sphinx-build docs/zh_cn docs/_build/zh_cn."""
from pathlib import Path

exec((Path(__file__).resolve().parents[1] / 'en' / 'conf.py').read_text(encoding='utf-8'))

language = 'zh_CN'
# the links to the English pages are for readers of the repository
suppress_warnings = ['myst.xref_missing']
