import datetime
import os
import time

import pytest
import torch

from mmssl.utils import dist, launch


def test_one_process_is_the_identity():
    x = torch.arange(6.).view(3, 2)
    assert dist.get_dist_info() == (0, 1)
    assert dist.concat_all_gather(x) is x and dist.gather_with_grad(x) is x
    assert torch.equal(dist.reduce_mean(x), x)
    assert dist.all_gather_object('a') == ['a'] and dist.broadcast_object('a') == 'a'
    shuffled, undo = dist.batch_shuffle_ddp(x)
    assert torch.equal(dist.batch_unshuffle_ddp(shuffled, undo), x)


def test_unknown_launcher_and_absent_environment(monkeypatch):
    with pytest.raises(ValueError, match='torchrun'):
        dist.init_dist('torchrun')
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(RuntimeError, match='WORLD_SIZE'):
        dist.init_dist('pytorch')
    with pytest.raises(ValueError, match="'nccl' or 'gloo', got 'ncl'"):
        dist.init_dist('pytorch', 'ncl')


@pytest.mark.parametrize('variables, found', [
    (dict(WORLD_SIZE=2, RANK=1), ('pytorch', 1, 2)),
    (dict(WORLD_SIZE=1, RANK=0), ('none', 0, 1)),
    (dict(WORLD_SIZE=2), ('none', 0, 1)),
    (dict(SLURM_NTASKS=3, SLURM_PROCID=2, SLURM_STEP_ID=0), ('slurm', 2, 3)),
    (dict(SLURM_NTASKS=3, SLURM_PROCID=0), ('none', 0, 1)),
    (dict(SLURM_NTASKS=2, SLURM_PROCID=0, SLURM_STEP_ID=0, WORLD_SIZE=16, RANK=9), ('pytorch', 9, 16)),
    (dict(OMPI_COMM_WORLD_SIZE=2, OMPI_COMM_WORLD_RANK=0), ('mpi', 0, 2)),
])
def test_the_launcher_is_found_by_its_variables(monkeypatch, variables, found):
    """A batch script of Slurm has SLURM_NTASKS too, and is one process."""
    for name in [*sum(launch.VARIABLES.values(), ()), 'SLURM_STEP_ID']:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    assert launch.find_launcher() == found
    if found[2] > 1:
        with pytest.raises(launch.LaunchError, match=f'{found[2]} processes were started'):
            launch.refuse_many()


@pytest.mark.parametrize('nodes, first', [('a,b', 'a'), ('node[01-03,07],login', 'node01'), ('n-[7,9]-ib', 'n-7-ib'),
                                          ('r[1-2]c[3-4]', 'r1c3')])
def test_first_host_of_a_slurm_list(monkeypatch, nodes, first):
    """Known without scontrol, which containers lack."""
    monkeypatch.setenv('SLURM_STEP_NODELIST', nodes)
    assert dist._first_slurm_host() == first


def _join(rank, world_size, ways):
    found = []
    for launcher, variables, options in ways:
        torch.distributed.destroy_process_group()
        for name in [*sum(launch.VARIABLES.values(), ()), 'MASTER_ADDR', 'MASTER_PORT']:
            os.environ.pop(name, None)
        size_name, rank_name, local_name = launch.VARIABLES[launcher]
        os.environ.update({size_name: str(world_size), rank_name: str(rank), local_name: str(rank), **variables})
        dist.init_dist(**options)
        found.append(dist.all_gather_object(rank))
    return found


def test_ways_to_meet(run_distributed, free_port, tmp_path, monkeypatch):
    """Each without --launcher. Before, init_method lacked the rank, and Slurm asked scontrol for a known address."""
    monkeypatch.setenv('PATH', str(tmp_path))
    address = dict(MASTER_ADDR='127.0.0.1')
    ways = [('pytorch', dict(address, MASTER_PORT=str(free_port())), dict(timeout=60)),
            ('pytorch', {}, dict(init_method=f'tcp://127.0.0.1:{free_port()}')),
            ('pytorch', {}, dict(init_method=f'file://{tmp_path}/meeting')),
            ('slurm', dict(address, SLURM_STEP_ID='0'), dict(port=free_port())), ('mpi', {}, dict(port=free_port()))]
    assert run_distributed(_join, ways) == [[[0, 1]] * len(ways)] * 2


def _pairwise(x):
    """A loss in which each local row meets every row of the global batch."""
    keys = dist.gather_with_grad(x)
    return ((x @ keys.T)**2).mean()


def _gradient_of_gather(rank, world_size, x):
    local = x.chunk(world_size)[rank].clone().requires_grad_()
    loss = _pairwise(local)
    loss.backward()
    return dist.reduce_mean(loss), local.grad / world_size


def test_gather_has_the_whole_gradient(run_distributed):
    """Pitfall: a GatherLayer that drops the gradients other ranks owe scales the gradient by 1/W."""
    x = torch.randn(6, 4)
    whole = x.clone().requires_grad_()
    loss = _pairwise(whole)
    loss.backward()
    results = run_distributed(_gradient_of_gather, x)
    torch.testing.assert_close(results[0][0], loss.detach())
    torch.testing.assert_close(torch.cat([grad for _, grad in results]), whole.grad)


def _collectives(rank, world_size):
    x = torch.full((rank + 1, 2), float(rank))
    y = torch.tensor([1. + rank], requires_grad=True)
    total = dist.all_reduce_sum_with_grad(y)
    (total**2).sum().backward()
    batch = torch.arange(4.).view(4, 1) + 4 * rank
    shuffled, undo = dist.batch_shuffle_ddp(batch)
    return dict(
        parts=dist.gather_variable(x),
        grad=y.grad,
        total=total.detach(),
        shuffled=shuffled,
        restored=dist.batch_unshuffle_ddp(shuffled, undo),
        seed=dist.sync_random_seed(),
        objects=dist.all_gather_object({'rank': rank}))


def test_collectives_of_two_processes(run_distributed):
    first, second = run_distributed(_collectives)
    for result in (first, second):
        assert [tuple(p.shape) for p in result['parts']] == [(1, 2), (2, 2)]
        assert result['total'] == 3 and result['grad'] == 2 * 2 * 3
        assert result['objects'] == [{'rank': 0}, {'rank': 1}]
    assert first['seed'] == second['seed']
    together = torch.cat([first['shuffled'], second['shuffled']]).flatten()
    assert together.sort().values.tolist() == list(range(8)) and together.tolist() != list(range(8))
    assert torch.equal(torch.cat([first['restored'], second['restored']]).flatten(), torch.arange(8.))


def _wait_for_the_first(rank, world_size, folder):
    torch.distributed.destroy_process_group()
    torch.distributed.init_process_group(
        'gloo',
        init_method=f'file://{folder}/impatient',
        rank=rank,
        world_size=world_size,
        timeout=datetime.timedelta(seconds=1))
    found = []
    for answer in ('first', 'second'):
        if rank == 0:
            time.sleep(2)
        found.append(dist.broadcast_object(answer if rank == 0 else None, patient=True))
    return found


def test_patient_processes_wait_beyond_the_timeout_of_the_group(run_distributed, tmp_path):
    """Clustering on one process may last longer than collectives may."""
    assert run_distributed(_wait_for_the_first, str(tmp_path)) == [['first', 'second']] * 2
