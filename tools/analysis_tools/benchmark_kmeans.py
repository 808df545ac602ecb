# Copyright (c) mmssl contributors. All rights reserved.
"""Time k-means over processes, on noise, against the straightforward form and faiss."""
import argparse

from mmssl.utils.misc import run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--samples', type=int, default=40000, help='rows of all processes (default: %(default)s)')
    parser.add_argument('--dims', type=int, default=128, help='dimension (default: %(default)s)')
    parser.add_argument('--clusters', type=int, default=3000, help='(default: %(default)s)')
    parser.add_argument('--iterations', type=int, default=3, help='of k-means (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=2, help='timings, of which the fastest counts (default: 2)')
    parser.add_argument('--no-plain', action='store_true', help='leave out the straightforward form')
    parser.add_argument('--threads', type=int, help='threads of torch and faiss on the CPU')
    parser.add_argument('--out', metavar='FILE.json', help='write the figures to this file')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    args = parse_args()

    import torch

    from mmssl.benchmarks.kmeans import measure_kmeans
    from mmssl.utils.clustering import use_threads
    from mmssl.utils.dist import default_device, get_rank, get_world_size, init_dist
    from mmssl.utils.misc import write_json

    init_dist(args.launcher)
    if args.threads:
        use_threads(args.threads)
    found = measure_kmeans(args.samples, args.dims, args.clusters, args.iterations, args.rounds, not args.no_plain)
    if get_rank():
        return
    device = torch.cuda.get_device_name() if default_device().type == 'cuda' else 'cpu'
    print(f'{args.samples} x {args.dims} to {args.clusters} clusters, {args.iterations} iterations; '
          f'{get_world_size()} processes, {device}, {torch.get_num_threads()} threads, torch {torch.__version__}')
    print(f'{"":<12}{"s":>10}{"loss":>14}{"ratio":>8}')
    for name, row in found.items():
        print(f'{name:<12}{row["seconds"]:>10.3f}{row["loss"]:>14.1f}{row["ratio"]:>8.2f}')
    if args.out:
        write_json(args.out, dict(vars(args), device=device, processes=get_world_size(), results=found))


if __name__ == '__main__':
    run_tool(main, distributed=True)
