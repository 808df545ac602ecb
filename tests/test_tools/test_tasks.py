"""The example of several tasks in docs/en/models.md, as a user pastes it."""
import json
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / 'docs/en/models.md'


@pytest.mark.long
def test_the_example_trains_and_is_tested(call_tool, tmp_path):
    for block in re.findall(r'```python\n(# (?:my_steps|tasks)\.py\n.*?)```', DOCS.read_text(), re.DOTALL):
        (tmp_path / re.match(r'# (\S+)', block)[1]).write_text(block)
    env = dict(PYTHONPATH=f'{tmp_path}:{DOCS.parents[2]}')
    call_tool('tools/train.py', 'tasks.py', env=env, cwd=tmp_path)
    lines = [json.loads(line) for line in next(tmp_path.glob('work_dirs/tasks/*.log.json')).read_text().splitlines()]
    trained = [line for line in lines if line.get('mode') == 'val'][-1]
    last = [line for line in lines if line.get('mode') == 'train'][-1]
    assert last['loss'] == pytest.approx(last['digit.loss'] + 0.5 * last['order.loss'], abs=1e-3)
    found = {}
    for processes in (1, 2):
        call_tool(
            'tools/test.py',
            'tasks.py',
            'work_dirs/tasks/epoch_4.pth',
            '--out',
            f'{processes}.json',
            env=env,
            cwd=tmp_path,
            processes=processes)
        found[processes] = json.loads((tmp_path / f'{processes}.json').read_text())
    assert set(found[1]) == {'digit_top1', 'digit_top5', 'order_top1'}
    assert found[1]['digit_top1'] > 80 and found[1]['order_top1'] > 60  # by chance 10 and 33
    for name, value in found[1].items():
        assert value == pytest.approx(trained[name], abs=0.5) and value == pytest.approx(found[2][name], abs=0.5)
