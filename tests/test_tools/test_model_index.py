"""model-index.yml, which mim reads, against the metafiles and the configs."""
import shutil
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TOOL = 'tools/misc/make_model_index.py'


def models(root):
    """All models that mim would find."""
    index = yaml.safe_load((root / 'model-index.yml').read_text())
    return [model for path in index['Import'] for model in yaml.safe_load((root / path).read_text())['Models']]


def test_model_index_is_current_and_names_every_recipe_once(run_tool):
    run_tool(TOOL, '--check')
    found = models(ROOT)
    configs = sorted(model['Config'] for model in found)
    recipes = [*(ROOT / 'configs' / 'selfsup').glob('*/*_in1k*.py')]
    for data in ('yfcc100m', 'in22k*'):
        recipes += (ROOT / 'configs' / 'selfsup').glob(f'*/*_{data}.py')
    recipes += (
        ROOT / 'configs' / 'demo' / f'{name}.py'
        for name in ('simclr_digits', 'simclr_fashion-mnist', 'mae_fashion-mnist'))
    folders = dict(mmdetection=('coco', 'voc07', 'voc0712'), mmsegmentation=('cityscapes', 'voc12aug'))
    for toolbox, parts in folders.items():
        recipes += [path for part in parts for path in (ROOT / 'configs' / 'benchmarks' / toolbox / part).glob('*.py')]
    assert configs == sorted(str(path.relative_to(ROOT)) for path in recipes)
    assert all(Path(model['Config']).stem == model['Name'] for model in found)


@pytest.fixture
def clone(tmp_path):
    """The metafiles and configs of two algorithms."""
    for name in ('simclr', 'mocov2'):
        shutil.copytree(ROOT / 'configs' / 'selfsup' / name, tmp_path / 'configs' / 'selfsup' / name)
    shutil.copytree(ROOT / 'configs' / 'demo', tmp_path / 'configs' / 'demo')
    return tmp_path


def test_it_is_written_anew(call_tool, clone):
    (clone / 'model-index.yml').write_text('Import:\n  - configs/selfsup/simclr/metafile.yml\n')
    stale = call_tool(TOOL, '--check', '--root', clone, check=False)
    assert stale.returncode == 1 and 'model-index.yml is not current: run tools/misc/' in stale.stderr
    call_tool(TOOL, '--root', clone)
    call_tool(TOOL, '--check', '--root', clone)
    assert {model['In Collection'] for model in models(clone)} == {'SimCLR', 'MoCo v2'}


def test_faults_are_all_named(call_tool, clone):
    path = clone / 'configs' / 'selfsup' / 'simclr' / 'metafile.yml'
    content = yaml.safe_load(path.read_text())
    first, second, third = content['Models'][:3]
    first['Config'] = third['Config']
    second['In Collection'] = 'SimCRL'
    path.write_text(yaml.safe_dump(content))
    done = call_tool(TOOL, '--root', clone, check=False)
    assert done.returncode == 1 and not (clone / 'model-index.yml').exists()
    for words in (f"{third['Config']} is listed 2 times", f"the config of {first['Name']} is called {third['Name']}",
                  "is in the unknown collection 'SimCRL'", f"does not list {first['Name']}.py"):
        assert words in done.stderr
    shutil.rmtree(clone / 'configs' / 'selfsup' / 'simclr')
    (clone / 'configs' / 'selfsup' / 'mocov2' / 'mocov2_resnet50_8xb32-coslr-200e_in1k.py').unlink()
    assert 'which does not exist' in call_tool(TOOL, '--root', clone, check=False).stderr


def test_model_zoo_is_current(call_tool, tmp_path):
    """Both pages hold what the metafiles say, figures of others apart from our own."""
    call_tool('tools/misc/make_model_zoo.py', '--check')
    for language in ('en', 'zh_cn'):
        page = (ROOT / 'docs' / language / 'model_zoo.md').read_text()
        own, others = page.split('<!-- not executed')[1].split('\n## ')[1:3]
        assert '`simclr_digits` | Digits' in own and 'MMSelfSup' not in own
        assert 'feature5: 71.01' in others and 'k = 20: 63.8' in others and '`simclr_digits`' not in others
        assert all(model['Config'].removeprefix('configs/') in page for model in models(ROOT))
