# Copyright (c) mmssl contributors. All rights reserved.
"""Settings of Sphinx, those of the English pages but for the language."""
from pathlib import Path

exec((Path(__file__).resolve().parents[1] / 'en' / 'conf.py').read_text(encoding='utf-8'))

language = 'zh_CN'
