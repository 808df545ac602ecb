"""A loss that becomes NaN: what the user reads, and the command that shows it again."""
import re
from pathlib import Path

import pytest
import torch

from mmssl.utils.checkpoint import read_checkpoint

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'tests/configs/digits_moco.py'


def train(tmp_path, spoil=None, **options):
    """Train MoCo on the digits; `spoil(runner)` runs before each iteration."""
    from mmssl.apis import set_random_seed, train_model
    from mmssl.core.builder import HOOKS
    from mmssl.datasets import build_dataset
    from mmssl.models import build_algorithm
    from mmssl.utils.config import load_config
    cfg = load_config(str(CONFIG), {'data.workers_per_gpu': 0, 'checkpoint_config': None, **options})
    cfg.work_dir = str(tmp_path)
    if spoil:
        from mmcv.runner import Hook
        HOOKS.register_module(
            name='Spoil', module=type('Spoil', (Hook, ), dict(before_train_iter=lambda self, r: spoil(r))), force=True)
        cfg.custom_hooks = [dict(type='Spoil')]
    set_random_seed(0)
    model = build_algorithm(cfg.model)
    model.init_weights()
    return model, lambda: train_model(model, build_dataset(cfg.data.train), cfg)


def test_from_the_command_line(run_tool, call_tool, tmp_path):
    """PITFALLS: no answer to "is this loss normal?". A learning rate of 1e20 makes NaN at the second iteration."""
    done = call_tool(
        'tools/train.py', CONFIG, '--work-dir', tmp_path, '--cfg-options', 'optimizer.lr=1e20', check=False)
    assert done.returncode == 1
    assert re.search(r'the loss is nan in iteration 2 \(epoch 1, batch 2\): loss = nan', done.stderr), done.stderr
    assert re.search(r'files of the batch: image \d+ of Digits, .*64 in all', done.stderr)
    script, dump = re.search(r'reproduce it: python (\S+) (\S+)', done.stderr).groups()
    again = run_tool(script, dump)
    assert 'iteration 2 of rank 0 of 1\n' in again.stdout
    assert 'loss: nan, in training nan' in again.stdout
    # the weights are huge, not NaN: the forward pass overflows
    assert 'parameters that are not finite' not in again.stdout
    assert re.search(r'first output that is not finite: \S+ \(\w+\), its inputs were finite', again.stdout)


def test_weights_stay_and_the_dump_holds_the_iteration(tmp_path):
    """The batch, the terms, the files and the random state of the very iteration; no weight has become NaN."""
    from mmssl.apis.nonfinite import reproduce

    def spoil(runner):
        if runner.iter == 3:
            runner.data_batch['img'][0][5] = float('inf')

    model, run = train(tmp_path, spoil)
    with pytest.raises(FloatingPointError, match='(?s)in iteration 4 .*image') as error:
        run()
    assert all(p.isfinite().all() for p in model.parameters())
    dump = read_checkpoint(tmp_path / 'nonfinite_iter_4_rank0.pth')
    assert dump['meta']['iter'] == 3 and len(dump['meta']['files']) == 64 == len(dump['batch']['idx'])
    assert dump['meta']['files'][5] == f'image {int(dump["batch"]["idx"][5])} of Digits'
    assert all(torch.equal(dump['state_dict'][k], v) for k, v in model.named_parameters())
    assert dump['meta']['files'][0] in str(error.value)
    found = reproduce(tmp_path / 'nonfinite_iter_4_rank0.pth', 'cpu')
    assert found['reproduced'] and found['images'] == [dump['meta']['files'][5]] and not found['parameters']
    assert found['first'] == dict(name='backbone.conv1', kind='Conv2d', inputs='not finite')


def test_a_poisoned_parameter_is_named(tmp_path):
    from mmssl.apis.nonfinite import reproduce

    def spoil(runner):
        if runner.iter == 1:
            runner.model.neck.mlp[2].weight.data[0, 0] = float('nan')

    _, run = train(tmp_path, spoil, optimizer_config={'update_interval': 3})
    with pytest.raises(FloatingPointError, match='iteration 2 '):
        run()
    found = reproduce(tmp_path / 'nonfinite_iter_2_rank0.pth', 'cpu')
    assert found['parameters'] == ['neck.mlp.2.weight'] and found['first']['name'] == 'neck.mlp.2'
    assert found['first']['inputs'] == 'finite'


def test_a_foreign_file_is_refused(tmp_path):
    from mmssl.apis.nonfinite import reproduce
    torch.save(dict(state_dict=dict(a=torch.zeros(1))), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match="no 'meta': it is no dump"):
        reproduce(tmp_path / 'a.pth')


@pytest.mark.parametrize('code', [
    'open({!r}, "w")\nmodel = dict()', 'model = dict(type=open({!r}, "w"))',
    'custom_imports = dict(imports="evil")\nmodel = dict(type="evil.Model")'
])
def test_nothing_of_a_dump_is_run(tmp_path, monkeypatch, code):
    from mmssl.apis.nonfinite import reproduce
    monkeypatch.syspath_prepend(str(tmp_path))
    ran = tmp_path / 'ran'
    (tmp_path / 'evil.py').write_text(f'open({str(ran)!r}, "w")')
    dump = dict(meta=dict(config=code.format(str(ran))), state_dict={}, settings={}, batch={}, rng_state={})
    torch.save(dump, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='is code|evil'):
        reproduce(tmp_path / 'a.pth')
    assert not ran.exists()


def test_names_of_wrapped_data_sets():
    from mmssl.datasets import build_dataset, sample_name
    source = dict(type='SingleViewDataset', data_source=dict(type='Digits'), pipeline=[])
    test = dict(source, data_source=dict(type='Digits', test_mode=True))
    both = build_dataset(dict(type='RepeatDataset', times=2, dataset=[source, test]))
    first = len(both.dataset.datasets[0])
    assert sample_name(both, 3) == 'image 3 of Digits' and sample_name(both, first + 4) == 'image 4 of Digits'
    assert sample_name([], 7) == 'sample 7'
