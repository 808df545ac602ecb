# Copyright (c) mmssl contributors. All rights reserved.
"""Time of the exact nearest neighbours of mmssl.evaluation.neighbours against others, in the same run.

The features are those of a folder from tools/extract_features.py (train is the bank, val the queries), or made up:
clusters around a common mean, with variances that fall as those of networks do. Each way is timed --repeat times in
turn, and its best time counts. Neighbours are compared with those of the float32 product: the same ones, or others
whose similarity differs by at most 1e-6.
"""
import argparse


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--features', metavar='FOLDER', help='of tools/extract_features.py')
    parser.add_argument('--layer', default='pooled', help='which of them (default: pooled)')
    parser.add_argument('--bank', type=int, default=60000, help='rows, of made-up features (default: 60000)')
    parser.add_argument('--queries', type=int, default=10000, help='rows, of made-up features (default: 10000)')
    parser.add_argument('--dims', type=int, default=512, help='of made-up features (default: 512)')
    parser.add_argument('--k', type=int, nargs='+', default=[20, 200], help='numbers of neighbours (default: 20 200)')
    parser.add_argument('--repeat', type=int, default=3, help='(default: 3)')
    parser.add_argument('--threads', type=int, help='of torch, faiss and scikit-learn (default: as they like)')
    parser.add_argument('--out', help='JSON file for the times')
    return parser.parse_args()


def made_up(bank, queries, dims):
    """Unit rows of 100 clusters."""
    import torch
    generator = torch.Generator().manual_seed(0)
    centres = 0.7 * torch.randn(100, dims, generator=generator) + 1
    spread = torch.linspace(1.5, 0.05, dims)

    def draw(n):
        cluster = torch.randint(100, (n, ), generator=generator)
        rows = centres[cluster] + torch.randn(n, dims, generator=generator) * spread
        return torch.nn.functional.normalize(rows)

    return draw(bank), draw(queries)


def stored(folder, layer):
    """Unit rows of features in files."""
    from pathlib import Path

    import numpy as np
    import torch

    from mmssl.utils.errors import ConfigError
    found = []
    for split in ('train', 'val'):
        path = Path(folder) / f'{split}_{layer}.npy'
        if not path.is_file():
            raise ConfigError(f'there is no {path}; tools/extract_features.py --layers {layer} writes it')
        rows = torch.from_numpy(np.load(path)).float().flatten(1)
        found.append(torch.nn.functional.normalize(rows))
    return found


def ways(bank, queries, k):
    """Functions by name, each of which returns the indices of the neighbours, or None."""
    import torch

    from mmssl.evaluation.neighbours import nearest_neighbours

    def product():
        for part in queries.split(512):
            part @ bank.T

    def topk():
        return torch.cat([(part @ bank.T).topk(k).indices for part in queries.split(512)])

    def sklearn():
        from sklearn.neighbors import NearestNeighbors
        search = NearestNeighbors(n_neighbors=k, algorithm='brute', n_jobs=-1).fit(bank.numpy())
        return torch.from_numpy(search.kneighbors(queries.numpy(), return_distance=False))

    def faiss():
        import faiss
        index = faiss.IndexFlatIP(bank.shape[1])
        index.add(bank.numpy())
        return torch.from_numpy(index.search(queries.numpy(), k)[1])

    return {
        'float32 product alone': product,
        'float32 product + topk': topk,
        'scikit-learn, brute': sklearn,
        'faiss IndexFlatIP': faiss,
        'mmssl': lambda: nearest_neighbours(bank, queries, k)[1]
    }


def similarities(bank, queries, index):
    """Float64 similarities of neighbours, M x k."""
    import torch
    parts = zip(queries.split(256), index.split(256))
    return torch.cat([torch.einsum('md,mkd->mk', q.double(), bank[i].double()) for q, i in parts])


def main():
    args = parse_args()

    import importlib.util
    import time

    import torch

    from mmssl.utils.misc import table_lines, write_json

    if args.threads:
        torch.set_num_threads(args.threads)
    bank, queries = stored(args.features, args.layer) if args.features else made_up(args.bank, args.queries, args.dims)
    print(f'{len(bank)} x {len(queries)} features of {bank.shape[1]} dimensions, {torch.get_num_threads()} threads')
    found = []
    for k in args.k:
        tried = ways(bank, queries, k)
        if not importlib.util.find_spec('faiss'):
            del tried['faiss IndexFlatIP']
        best, index = dict.fromkeys(tried, float('inf')), {}
        for _ in range(args.repeat):
            for name, way in tried.items():
                start = time.perf_counter()
                index[name] = way()
                best[name] = min(best[name], time.perf_counter() - start)
        reference = index['float32 product + topk']
        expected = similarities(bank, queries, reference)
        for name, seconds in best.items():
            row = dict(k=k, way=name, seconds=seconds, ratio=best['float32 product + topk'] / seconds)
            if index[name] is not None:
                row.update(
                    same=float((index[name] == reference).double().mean()),
                    difference=float((similarities(bank, queries, index[name]) - expected).abs().max()))
            found.append(row)
    rows = [(row['way'], row['k'], row['seconds'], row['ratio'],
             *((f'{100 * row["same"]:.3f}', f'{row["difference"]:.0e}') if 'same' in row else ('', '')))
            for row in found]
    print('\n'.join(table_lines(rows, ('', 'k', 'seconds', 'times as fast', 'same index (%)', 'largest difference'))))
    if args.out:
        write_json(args.out, dict(bank=len(bank), queries=len(queries), dims=bank.shape[1], results=found))


if __name__ == '__main__':
    from mmssl.utils.misc import run_tool
    run_tool(main)
