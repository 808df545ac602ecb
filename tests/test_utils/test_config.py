"""Configs: options of the command line, typos, places of errors."""
import argparse
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmssl.utils.config import add_cfg_options, check_sections, config_section, load_config, parse_value
from mmssl.utils.config_names import SECTIONS, TOP_LEVEL
from mmssl.utils.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def config(tmp_path):
    (tmp_path / 'base.py').write_text('num_classes = 7\n'
                                      'model = dict(type="A", neck=dict(type="N", num_layers=2), head=dict(k=1))\n')
    (tmp_path / 'top.py').write_text('_base_ = ["base.py"]\n'
                                     'custom_imports = dict(imports=["colorsys"], allow_failed_imports=False)\n'
                                     'model = dict(neck=dict(_delete_=True, type="M"), '
                                     'head=dict(k={{_base_.num_classes}}))\n'
                                     'optimizer = dict(type="SGD", lr=0.1)\n'
                                     'data = dict(train=dict(pipeline=[dict(p=0.1), dict(p=0.2)]))\n')
    return tmp_path / 'top.py'


def test_inheritance(config):
    """Rows CFG-03, CFG-04, CFG-05, CFG-08."""
    sys.modules.pop('colorsys', None)
    cfg = load_config(config)
    assert cfg.model == dict(type='A', neck=dict(type='M'), head=dict(k=7))
    assert 'colorsys' in sys.modules


@pytest.mark.parametrize('text, value', [('1', 1), ('1e-3', 1e-3), ('true', True), ('False', False), ('None', None),
                                         ('a/b.txt', 'a/b.txt'), ('1,2', [1, 2]), ('[1,2]', [1, 2]), ('(1,)', (1, )),
                                         ('[]', []), ('[(train,1),(val,1)]', [('train', 1), ('val', 1)]),
                                         ('"1,2"', '1,2'), ('[a,[b,c]]', ['a', ['b', 'c']])])
def test_values(text, value):
    """Row CFG-07."""
    assert parse_value(text) == value and type(parse_value(text)) is type(value)


def test_options(config):
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)
    options = parser.parse_args([
        '--cfg-options', 'data.train.pipeline.1.p=0.0', 'model.neck.width=3', '--cfg-options',
        'workflow=[(train,1),(val,1)]', 'seed=0'
    ]).cfg_options
    cfg = load_config(config, options)
    assert cfg.data.train.pipeline == [dict(p=0.1), dict(p=0.0)]
    assert cfg.model.neck.width == 3 and cfg.workflow == [('train', 1), ('val', 1)] and cfg.seed == 0


def test_options_for_single_values_of_a_list(config):
    cfg = load_config(config, {'optimizer.betas': [0.9, 0.99]})
    cfg = load_config(cfg, {'optimizer.betas.1': 0.95, 'optimizer.betas.0': 0.8, 'data.train.pipeline.0.p': 0.3})
    assert cfg.optimizer.betas == [0.8, 0.95]
    assert cfg.data.train.pipeline == [dict(p=0.3), dict(p=0.2)]
    assert load_config(cfg, {'data.val.steps.0': 1}).data.val.steps == {'0': 1}  # no such list: a dict, as in mmcv
    with pytest.raises(ConfigError, match='--cfg-options optimizer.betas.2=1: list assignment index out of range'):
        load_config(cfg, {'optimizer.betas.2': 1})


def test_options_are_read_by_what_they_replace(config):
    """A folder may be called 2021 or a,b: where a string is, or a list of strings, a text stays a text."""
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)
    paths = load_config(config, {'data.train.data_prefix': 'photos', 'data.train.classes': ['a', 'b']})

    def read(*options):
        return load_config(paths, parser.parse_args(['--cfg-options', *options]).cfg_options).data.train

    assert read('data.train.data_prefix=2021').data_prefix == '2021'
    assert read('data.train.data_prefix=a,b').data_prefix == 'a,b'
    assert read("data.train.data_prefix=John's (1)").data_prefix == "John's (1)"
    assert read('data.train.data_prefix="[a]"').data_prefix == '[a]'
    assert read('data.train.data_prefix=[a,1]').data_prefix == ['a', '1']
    assert read('data.train.classes=1,2').classes == ['1', '2']
    assert read('data.train.classes.1=7').classes == ['1', '7']
    assert read('data.train.classes=["a,b",c]').classes == ['a,b', 'c']
    assert read('data.train.ann_file=7', 'data.train.data_prefix=None') == {
        **paths.data.train, 'ann_file': 7,
        'data_prefix': None
    }
    with pytest.raises(ConfigError, match='unbalanced brackets'):
        read('data.train.ann_file=[a')


@pytest.mark.parametrize('options, message', [
    ({
        'custom_hook': []
    }, "unknown key 'custom_hook'; did you mean 'custom_hooks'"),
    ({
        'optim_wrapper.optimizer.lr': 1
    }, "unknown key 'optim_wrapper.optimizer.lr'; here it is optimizer"),
    ({
        'num_classes': 5
    }, r"num_classes: the config has used its variable 'num_classes' already, .*: model.head.k"),
    ({
        'data.batch_size': 5
    }, "data has the unknown key 'batch_size'; here it is samples_per_gpu"),
    ({
        'channels_last': 'False'
    }, "channels_last must be True or False, got 'False'"),
    ({
        'seed': 1.5
    }, 'seed must be int, got 1.5'),
    ({
        'seed': -1
    }, 'seed must be an integer from 0 to .*, got -1'),
    ({
        'optimzer.lr': 1
    }, "unknown key 'optimzer.lr'; did you mean 'optimizer'"),
    ({
        'channel_last': True
    }, "did you mean 'channels_last'"),
    ({
        'data.train.pipeline.5.p': 1
    }, 'data.train.pipeline.5.p=1'),
    ({
        'optimizer.lr.value': 1
    }, 'optimizer.lr.value=1'),
])
def test_wrong_options(config, options, message):
    """PITFALLS: a wrong config key raises and names the nearest valid key."""
    with pytest.raises(ConfigError, match=message):
        load_config(config, options)


def test_wrong_files(tmp_path):
    with pytest.raises(FileNotFoundError, match='config file .*nowhere.py does not exist'):
        load_config(tmp_path / 'nowhere.py')
    (tmp_path / 'a.py').write_text('model = dict(\n')
    with pytest.raises(ConfigError, match='a.py: There are syntax errors'):
        load_config(tmp_path / 'a.py')


def write(folder, **texts):
    """Write config files; the first is returned."""
    for name, text in texts.items():
        (folder / f'{name}.py').write_text(text)
    return folder / f'{next(iter(texts))}.py'


@pytest.mark.parametrize('line, message', [
    ('custom_hook = [dict(type="EMAHook")]', "did you mean 'custom_hooks'"),
    ('resume_form = "a.pth"', "did you mean 'resume_from'"),
    ('optimizer_confg = dict(grad_clip=None)', "did you mean 'optimizer_config'"),
    ('evalution = dict(interval=1)', "did you mean 'evaluation'"),
    ('fp_16 = dict(loss_scale=512.)', "did you mean 'fp16'"),
    ('img_norm_config = dict(mean=[0.5], std=[0.5])', "did you mean 'img_norm_cfg'"),
    ('cudnn_bench_mark = True', "did you mean 'cudnn_benchmark'"),
    ('optim_wrapper = dict(type="AmpOptimWrapper")', 'here it is optimizer, optimizer_config and amp'),
    ('train_cfg = dict(by_epoch=True, max_epochs=3)', 'here it is runner'),
    ('default_hooks = dict(logger=dict(interval=1))', 'here it is checkpoint_config, log_config'),
    ('param_scheduler = []', 'here it is lr_config'),
    ('default_scope = "mmselfsup"', 'here it is nothing: names are found without it'),
    ('colours = 7', r'it is no setting \(docs/en/config.md lists them\)'),
])
@pytest.mark.parametrize('where', ['file', 'base', 'json'])
def test_names_that_nobody_reads(tmp_path, line, message, where):
    """The settings of a misspelt name were left out without a word; 1.x names are answered with ours."""
    if where == 'file':
        path = write(tmp_path, top='model = dict(type="A", depth=18)\n' + line)
        message = f'top.py, line 2: nothing reads .*{message}'
    elif where == 'base':
        path = write(tmp_path, top='_base_ = "below.py"\nmodel = dict(type="A")', below=line)
        if 'colours' in line:  # it may be there for other files
            load_config(path)
            return
        message = f'below.py, line 1: nothing reads .*{message}'
    else:
        scope = {}
        exec(line, scope)
        path = tmp_path / 'top.json'
        path.write_text(json.dumps(dict({k: v for k, v in scope.items() if k[0] != '_'}, model=dict(type='A'))))
        message = f'top.json: nothing reads .*{message}'
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_variables_are_no_settings(tmp_path):
    """Read by the file's own code, by a file above, with an underscore, or by value in what a tool has printed."""
    path = write(
        tmp_path,
        top='_base_ = "below.py"\nfrom math import pi\n_note = 3\nwidth = 8\nsteps = [dict(p=width)]\n'
        'for i in range(2):\n    steps.append(dict(p=i))\ndata = dict(train=dict(pipeline=steps))\n'
        'model = dict(head=dict(k={{_base_.num_classes}}))\n',
        below='num_classes = 7\ndepth = 18\nmodel = dict(type="A", depth=depth)\ntrain_cfg = {}\n')
    cfg = load_config(path)
    assert cfg.model == dict(type='A', depth=18, head=dict(k=7))
    assert cfg.data.train.pipeline == [dict(p=8), dict(p=0), dict(p=1)]
    (tmp_path / 'printed.py').write_text('steps = [dict(p=8)]\ndepth = 18\nmodel = dict(depth=18)\n'
                                         'data = dict(train=dict(pipeline=[dict(p=8)]))\n')
    # once read they are gone: options may change what was built with them
    assert {*load_config(tmp_path / 'printed.py')} == {'model', 'data'}
    path = write(tmp_path, again='_base_ = "below.py"\nnum_classes = 5\n')
    with pytest.raises(ConfigError, match="again.py, line 2: nothing reads 'num_classes': the bases have used"):
        load_config(path)


@pytest.mark.parametrize('section, key, message', [
    ('data', dict(collate_fn='a'), 'here it is collate'),
    ('data', dict(num_workers=2), 'here it is workers_per_gpu'),
    ('data', dict(trian=dict(type='SingleViewDataset')), "did you mean 'train'"),
    ('data', dict(sampler='DistributedSampler'), 'sampler must be dict'),
    ('log_config', dict(intervall=2), "did you mean 'interval'"),
    ('dist_params', dict(backand='nccl'), "did you mean 'backend'"),
    ('amp', dict(dtyp='bfloat16'), "did you mean 'dtype'"),
    ('fp16', dict(loss_scal=2.), "did you mean 'loss_scale'"),
    ('img_norm_cfg', dict(mean=[0], std=[1], to_rgb=True), "unknown key 'to_rgb'"),
])
def test_keys_of_sections_that_nobody_reads(tmp_path, section, key, message):
    path = write(tmp_path, top=f'{section} = {key!r}')
    with pytest.raises(ConfigError, match=f'^{section}.*{message}'):
        load_config(path)
    assert load_config(write(tmp_path, top='data = dict(view1=dict(type="A"), night=dict(type="A"))')).data.night


def test_each_setting_is_read_where_the_table_says():
    """A setting that nobody reads is a lie, and so is one that is read and not in the table."""
    from torch.distributed import init_process_group
    from torch.utils.data import DataLoader

    from mmssl.datasets import PrefetchLoader, build_dataloader
    from mmssl.utils.dist import init_dist
    for name, (_, path) in TOP_LEVEL.items():
        text = (ROOT / path).read_text()
        assert re.search(rf"""cfg\.{name}\b|\bget\(['"]{name}['"]|\[['"]{name}['"]|\bif not {name}\b""",
                         text), (name, path)
    docs = (ROOT / 'docs/en/config.md').read_text()
    assert not [name for name in TOP_LEVEL if f'| `{name}`' not in docs and f', `{name}`' not in docs]
    code = ''.join((ROOT / path).read_text() for path in {path for _, path in TOP_LEVEL.values()})
    assert set(re.findall(r"""\bcfg\.get\('(\w+)'""", code)) <= {*TOP_LEVEL}
    loader = {*inspect.signature(build_dataloader).parameters, *inspect.signature(DataLoader).parameters}
    sets = {'train', 'val', 'test', 'extract', 'original', 'database', 'query'}
    assert not {*SECTIONS['data']} - loader - sets - {'sampling_replace', 'check_files'}
    group = {*inspect.signature(init_dist).parameters, *inspect.signature(init_process_group).parameters}
    assert not {*SECTIONS['dist_params']} - group
    assert {*SECTIONS['img_norm_cfg']} < {*inspect.signature(PrefetchLoader).parameters}


def test_python_configs_are_told_with_their_line(tmp_path):
    with pytest.raises(ConfigError, match="top.py, line 2: NameError: name 'dpeth' is not defined"):
        load_config(write(tmp_path, top='depth = 18\nmodel = dict(depth=dpeth)'))
    with pytest.raises(ConfigError, match="its bases have no 'num_class', which {{_base_...}} asks for"):
        load_config(
            write(tmp_path, top='_base_ = "below.py"\nmodel = dict(a={{_base_.num_class}})', below='model = {}'))
    with pytest.raises(ConfigError, match="two of its bases set 'model'"):
        load_config(write(tmp_path, top='_base_ = ["below.py", "low.py"]', low='model = {}'))
    with pytest.raises(ConfigError, match='is a base of itself'):
        load_config(write(tmp_path, top='_base_ = ["top.py"]'))
    with pytest.raises(FileNotFoundError, match='nowhere.py, a base of .*top.py, does not exist'):
        load_config(write(tmp_path, top='_base_ = ["nowhere.py"]'))


def test_names_that_only_the_tools_of_0x_read(tmp_path):
    """Configs that MMSelfSup 0.x has written, and those of its evaluations, hold names without a meaning here."""
    path = write(
        tmp_path,
        top='gpu_ids = range(0, 8)\nsplit_at = [5011]\nsplit_name = ["a", "b"]\nname = "val"\n'
        'dataset_type = "SingleViewDataset"\ntrain_cfg = {}\ndata = dict(sampling_replace=True)\n')
    with pytest.warns(UserWarning, match='means nothing to this toolbox') as found:
        assert {*load_config(path)} == {'data'}
    assert len(found) == 5


def test_yaml_makes_plain_values_only(tmp_path):
    ran = tmp_path / 'ran'
    path = tmp_path / 'a.yaml'
    path.write_text(f'model: {{type: A, depth: 18}}\noptimizer: !!python/object/apply:os.system ["touch {ran}"]\n')
    with pytest.raises(ConfigError, match='could not determine a constructor'):
        load_config(path)
    assert not ran.exists()
    path.write_text('model: {type: A, depth: 18}\n')
    assert load_config(path).model == dict(type='A', depth=18)


def test_code_in_files_is_not_run():
    """Pickles, YAML objects and numpy objects run code: readers that build such things are nowhere."""
    banned = (r'\beval\((?!\))', r'\bexec\(', r'yaml\.(load(?!.*SafeLoader)|full_load|unsafe_load|Loader)\b',
              r'pickle\.loads?\(', r'allow_pickle=True', r'weights_only=False(?!, pickle_module=InertPickle)',
              r'\bmmcv\.load\(', r'fromstring\(', r'Config\.fromfile\(',
              r'torch\.load\((?!.*(weights_only=True|InertPickle))', r'joblib\.load', r'shelve')
    found = []
    for folder in ('mmssl', 'tools', 'configs'):
        for path in sorted((ROOT / folder).rglob('*.py')):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                code = line.split('#')[0]
                if any(re.search(word, code) for word in banned) and not re.search(r'\.eval\(|def eval\(', code):
                    found.append(f'{path.relative_to(ROOT)}: {line.strip()}')
    # a Python config is code, and says so by its name
    assert found == ["mmssl/utils/config_file.py: exec(compile(tree, str(file.path), 'exec'), scope)"]


def test_configs_and_modules_are_found_from_any_folder(tmp_path, monkeypatch):
    """A user's project beside the clone: its own modules, and the clone's configs by their names in the docs."""
    project = tmp_path / "John's project"
    (project / 'configs').mkdir(parents=True)
    (project / 'beside_the_folder.py').write_text('')
    (project / 'configs/beside_the_config.py').write_text('')
    write(
        project / 'configs',
        top='_base_ = ["configs/selfsup/_base_/schedules/sgd_coslr-200e_in1k.py"]\n'
        'custom_imports = dict(imports=["beside_the_config", "beside_the_folder"], allow_failed_imports=False)\n'
        'work_dir = "{{ fileDirname }}/out"\n')
    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, 'path', [*sys.path])
    cfg = load_config('configs/top.py')
    assert {'beside_the_config', 'beside_the_folder'} < {*sys.modules}
    assert cfg.runner.max_epochs == 200 and cfg.work_dir == f'{project}/configs/out'
    assert load_config('configs/benchmarks/classification/knn_imagenet.py').data.train
    (project / 'broken_module.py').write_text('x = 1\ny = z\n')
    for name, message in (('nowhere_at_all', "there is no module 'nowhere_at_all', neither installed nor in .*project"),
                          ('broken_module', 'broken_module fails in .*broken_module.py, line 2: NameError')):
        write(project / 'configs', other=f'custom_imports = dict(imports=["{name}"], allow_failed_imports=False)')
        with pytest.raises(ConfigError, match=message):
            load_config('configs/other.py')
    write(project / 'configs', other='custom_imports = "a"')
    with pytest.raises(ConfigError, match='custom_imports is a dict|custom_imports is dict'):
        load_config('configs/other.py')


def test_absent_sections(config):
    cfg = load_config(config)
    check_sections(cfg, ['model', 'data.train'])
    with pytest.raises(ConfigError, match="no 'runner'"):
        check_sections(cfg, ['runner'])
    with pytest.raises(ConfigError, match="no 'optimizers'; did you mean .*'optimizer'"):
        check_sections(cfg, ['optimizers'])


def test_place_of_an_error(config):
    cfg = load_config(config)
    with pytest.raises(ConfigError, match=r'wrong \(at model.neck in the config\)'):
        with config_section(cfg, 'model'):
            raise ConfigError('wrong', cfg.model.neck)
    with pytest.raises(ConfigError, match=r'wrong \(at optimizer in the config\)'):
        with config_section(cfg, 'optimizer'):
            raise ConfigError('wrong', dict(cfg.optimizer))


def test_helpers_are_cheap_to_import():
    code = ('import sys; from mmssl.utils import ConfigError, run_tool, DictAction; import mmssl.utils.config; '
            'sys.exit("torch" in sys.modules or "mmcv" in sys.modules)')
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0


class Unsquare:

    def __len__(self):
        return 1

    def __getitem__(self, idx):
        raise ConfigError('only square images can be turned')


def test_an_error_of_a_worker_process_is_one_line(monkeypatch, capsys):
    from torch.utils.data import DataLoader

    from mmssl.utils.misc import run_tool
    monkeypatch.delenv('MMSSL_DEBUG', raising=False)
    with pytest.raises(SystemExit, match='^1$'):
        run_tool(lambda: next(iter(DataLoader(Unsquare(), num_workers=1))))
    assert capsys.readouterr().err.splitlines()[-1] == 'error: only square images can be turned'


def test_all_modules_of_a_folder_are_imported(tmp_path, monkeypatch):
    """`my_parts.*` is each module and package in the folder: not hidden ones, nor those of packages in it."""
    package = tmp_path / 'my_parts'
    (package / 'inner').mkdir(parents=True)
    for name in ('__init__', 'one', 'two', '_hidden', 'inner/__init__', 'inner/deeper'):
        (package / f'{name}.py').write_text('')
    (tmp_path / 'empty_parts').mkdir()
    (tmp_path / 'plain.py').write_text('log_level = "INFO"')
    (tmp_path / 'config.py').write_text('custom_imports = dict(imports=["my_parts.*"])')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', [*sys.path])
    load_config('config.py')
    found = {name for name in sys.modules if name.startswith('my_parts.')}
    assert found == {'my_parts.one', 'my_parts.two', 'my_parts.inner'}

    (package / 'wrong.py').write_text('x = 1\ny = z\n')
    for name, message in (('my_parts.*', 'my_parts.wrong fails in .*wrong.py, line 2: NameError'),
                          ('my_parts.one.*', "my_parts.one is a module: write 'my_parts.one'"),
                          ('empty_parts.*', 'empty_parts holds none'), ('*.one', 'is no name of a module'),
                          ('no_parts.*', "there is no module 'no_parts'")):
        with pytest.raises(ConfigError, match=message):
            load_config('plain.py', {'custom_imports.imports': [name]})


def test_custom_imports_among_the_options(tmp_path, monkeypatch):
    (tmp_path / 'given_by_option.py').write_text('')
    (tmp_path / 'config.py').write_text('seed = 0')
    monkeypatch.syspath_prepend(tmp_path)
    load_config(tmp_path / 'config.py', {'custom_imports.imports': ['given_by_option']})
    assert sys.modules.pop('given_by_option')
