# Copyright (c) mmssl contributors. All rights reserved.
"""Packaging. The figures stand in mmssl/version.py and requirements/*.txt; `.mim` is made here."""
import os
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.develop import develop

ROOT = Path(__file__).resolve().parent
# What `mim` looks for in mmssl/.mim
MIM_PARTS = ('tools', 'configs', 'model-index.yml')


def read_version():
    """Version of the package, read without importing it."""
    scope = {}
    exec((ROOT / 'mmssl' / 'version.py').read_text(encoding='utf-8'), scope)
    return scope['__version__']


def read_requirements(*names):
    """Requirements in the files requirements/NAME.txt."""
    lines = [line for n in names for line in (ROOT / f'requirements/{n}.txt').read_text(encoding='utf-8').splitlines()]
    return [line.strip() for line in lines if line.strip() and not line.startswith('#')]


def link_mim():
    """Fill mmssl/.mim with links, so that an editable install shows the files as they are now."""
    folder = ROOT / 'mmssl' / '.mim'
    folder.mkdir(exist_ok=True)
    for part in MIM_PARTS:
        link = folder / part
        if not link.is_symlink():
            link.symlink_to(os.path.relpath(ROOT / part, folder))


class BuildWithMim(build_py):
    """Put .mim into the package: copies in a wheel, links in an editable install."""

    def run(self):
        super().run()
        if getattr(self, 'editable_mode', False):
            link_mim()
            return
        folder = Path(self.build_lib, 'mmssl', '.mim')
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for part in MIM_PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns('__pycache__', '*.pyc'))
            else:
                shutil.copy(source, folder / part)


class DevelopWithMim(develop):
    """The classic way of `pip install -e`, which pip takes with setuptools below 80."""

    def run(self):
        link_mim()
        super().run()


setup(
    name='mmssl',
    version=read_version(),
    description='Self-supervised learning on images, OpenMMLab style',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='mmssl contributors',
    license='Apache License 2.0',
    keywords='computer vision, self-supervised learning, representation learning',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
    ],
    packages=find_packages(include=['mmssl', 'mmssl.*']),
    entry_points=dict(console_scripts=['mmssl=mmssl.cli:main']),
    package_data={
        'mmssl': ['py.typed'],
        'mmssl.datasets': ['catalog.yml'],
        'mmssl.evaluation': ['run_page.css', 'run_page.js']
    },
    python_requires='>=3.10',
    install_requires=read_requirements('runtime'),
    extras_require={
        'all': read_requirements('runtime', 'optional', 'tests', 'mminstall'),
        'tests': read_requirements('tests'),
        'data': read_requirements('data'),
        'optional': read_requirements('optional'),
        'mim': read_requirements('mminstall'),
    },
    cmdclass=dict(build_py=BuildWithMim, develop=DevelopWithMim),
    zip_safe=False)
