# Copyright (c) mmssl contributors. All rights reserved.
"""The configs that come with mmssl, and what their metafiles say of them. Imports nothing heavy."""
import re
from dataclasses import dataclass
from pathlib import Path

from mmssl.utils.config_file import ROOT

_DATA = dict(in1k='ImageNet-1k', in22k='ImageNet-22k', folder='a folder of images', tiles='tiles', yfcc100m='YFCC100M')


@dataclass(frozen=True)
class Shipped:
    """One config.

    Attributes:
        name (str): Of its file, without the end.
        path (str): From the clone, as all tools take it.
        method (str): What it trains by.
        data (str): What it is for.
        length (str): Its epochs, as the name says; '' where it does not.
        figure (str): Best published figure, '' for none.
    """
    name: str
    path: str
    method: str
    data: str
    length: str
    figure: str

    @property
    def folder(self):
        """str: Where it lies."""
        return str(Path(self.path).parent)

    @property
    def searched(self):
        """str: What words are looked for in."""
        return f'{self.path} {self.method} {self.data}'.lower()

    def as_dict(self):
        return dict(
            name=self.name,
            path=self.path,
            method=self.method,
            data=self.data,
            epochs=self.length,
            published=self.figure)


def configs_root():
    """Path: The folder that holds configs/: the clone, or that of the installed package."""
    return next((root for root in (ROOT, ROOT / 'mmssl' / '.mim') if (root / 'configs' / 'selfsup').is_dir()), ROOT)


def shipped_recipes():
    """list[Shipped]: The configs for pre-training below configs/selfsup and configs/demo, by name."""
    import yaml
    root, rows, titles = configs_root(), [], {}
    for folder in sorted((root / 'configs' / 'selfsup').iterdir()):
        metafile = folder / 'metafile.yml'
        if not metafile.is_file():
            continue
        content = yaml.load(metafile.read_text(encoding='utf-8'), getattr(yaml, 'CSafeLoader', yaml.SafeLoader))
        known = {model['Config']: model for model in content['Models']}
        title = content['Collections'][0]['Name'] if content.get('Collections') else folder.name
        titles[folder.name] = title
        for path in sorted(folder.glob('*.py')):
            place = path.relative_to(root).as_posix()
            model = known.get(place, {})
            rows.append(_row(path.stem, place, model.get('In Collection', title), model))
    for path in sorted((root / 'configs' / 'demo').glob('*.py')):
        method = re.match('[^_-]+', path.stem)[0]
        rows.append(_row(path.stem, path.relative_to(root).as_posix(), titles.get(method, method), {}))
    return sorted(rows, key=lambda row: row.name)


def _row(name, place, method, model):
    end = name.rpartition('_')[2]
    data = _DATA.get(end.partition('-')[0], end)
    epochs = re.search(r'-(\d+)e(?=[-_])', name)
    return Shipped(name, place, method, data, epochs[1] if epochs else '', _figure(model.get('Results') or ()))


def _figure(results):
    """The first figure of a metafile, in few words."""
    for result in results:
        for metric, value in result.get('Metrics', {}).items():
            task = result['Task'].rpartition(', ')[2]
            return f'{value} {metric.replace(" Accuracy", "").lower()}, {task}'
    return ''
