# Copyright (c) mmssl contributors. All rights reserved.
"""Exact nearest neighbours by cosine similarity, from upper bounds that are cheap to compute."""
import contextlib
import math
import warnings
from dataclasses import dataclass

import torch

_SAMPLE = 1024  # rows of the bank from which directions are found and costs estimated
_SMALL = 2 * 10**9  # multiplications below which looking for directions costs more than it saves
_EXACT_COST = 200  # one exact similarity costs as much as this many of the product, dimension by dimension
_BLOCK = 16  # columns of which only the largest bound is looked at first


@dataclass
class Search:
    """What `nearest_neighbours` found, and how.

    Attributes:
        similarity (Tensor): M x k float32, descending.
        index (Tensor): M x k rows of the bank.
        dims (int): Dimensions of the product that gave the bounds.
        dtype (torch.dtype): Of that product.
        evaluated (float): Exact similarities computed, as a share of all pairs.
        fallback (float): Share of queries (a tile of the bank each) for which all pairs were computed exactly.
    """
    similarity: torch.Tensor
    index: torch.Tensor
    dims: int
    dtype: torch.dtype
    evaluated: float
    fallback: float


def nearest_neighbours(bank, queries, k, memory_limit=512, device=None):
    """The k rows of `bank` with the highest cosine similarity to each query, exact; see `search`.

    Args:
        bank (Tensor): N x D, N >= k.
        queries (Tensor): M x D.
        k (int): Number of neighbours.
        memory_limit (float): MiB for a tile of the bank, its bounds and what is sorted with them.
        device (torch.device, optional): Where to compute; by default where the queries are.

    Returns:
        tuple[Tensor, Tensor]: Similarities, M x k float32 in descending order, and the rows of the bank, M x k.
    """
    found = search(bank, queries, k, memory_limit, device)
    return found.similarity, found.index


@torch.no_grad()
def search(bank, queries, k, memory_limit=512, device=None, dims=None, dtype=None):
    """Exact nearest neighbours, most pairs being excluded by an upper bound of their similarity.

    The result is defined by exact arithmetic: similarities are computed in float64 and rounded to float32, and of
    rows equally similar after that the first in the bank is the nearer. It depends on no tile, thread or data type.

    Per query, subtracting any vector m from the bank does not change which rows are the nearest, since
    <x, y> = <x - m, y - m> + <m, y> + a term of the query alone. With the mean as m, features that all have much in
    common leave small vectors. Of these, the part in a few leading directions is multiplied in bfloat16 where the
    hardware is fast at it, and what is left out enters by Cauchy-Schwarz: with x = p + r, y = q + s, p and q in the
    directions, r and s orthogonal to them, and p', q' rounded,

        <x, y>  <=  <p', q'> + |p - p'| |q| + |p'| |q - q'| + |r| |s|.

    All these terms are products of a number of the query and one of the row, so that they are further columns of the
    same matrix product. The k rows of the highest bounds are then evaluated exactly. The k-th best of them is a
    threshold, and no row with a bound below it, less the error of the accumulation, is a neighbour; the others are
    evaluated exactly as well. Where they are too many (copies of one image, constant features), all rows are.

    How many directions are worth it is estimated on a sample, which influences the time alone.

    Args:
        bank, queries, k, memory_limit, device: See `nearest_neighbours`.
        dims (int, optional): Number of directions instead of the estimate; D means no projection.
        dtype (torch.dtype, optional): Of the product, torch.bfloat16 or torch.float32.

    Returns:
        Search: On `device`.
    """
    device = torch.device(device or queries.device)
    dtype = dtype or (torch.bfloat16 if _fast_bfloat16(device) else torch.float32)
    size = bank.shape[1]
    sample = _unit(bank[::-(-len(bank) // _SAMPLE)], device)
    mean = sample.mean(0)
    if dims is None and len(bank) * len(queries) * size < _SMALL:
        dims = size
    directions = _directions(sample - mean) if dims is None or dims < size else None
    if dims is None:
        some = _unit(queries[::-(-len(queries) // 128)], device)
        dims = _cheapest(sample, some, k / len(bank), mean, directions, dtype)
    directions = directions[:, :dims].contiguous() if dims < size else None

    tile, rows = _tiles(len(bank), size, dims, k, memory_limit)
    best = torch.empty(len(queries), 0, dtype=torch.long, device=device)
    evaluated = fallback = 0
    with _full_precision():
        for start in range(0, len(bank), tile):
            part = _Tile(_unit(bank[start:start + tile], device), start, mean, directions, dtype)
            found = []
            for x, known in zip(queries.split(rows), best.split(rows)):
                keys, pairs, dense = part.nearest(_unit(x, device), known, k)
                found.append(keys)
                evaluated, fallback = evaluated + pairs, fallback + dense
            best = torch.cat(found)
    similarity, index = _from_keys(best)
    tiles = math.ceil(len(bank) / tile)
    return Search(similarity, index, dims, dtype, evaluated / len(bank) / len(queries), fallback / tiles / len(queries))


def _fast_bfloat16(device):
    """Whether the device has instructions for bfloat16."""
    if device.type == 'cuda':
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # not in every release of torch: then bool() stands in, which is False
    return any(getattr(torch.cpu, name, bool)() for name in ('_is_amx_tile_supported', '_is_avx512_bf16_supported'))


class _Tile:
    """Some rows of the bank, ready for the bounds and for exact similarities."""

    def __init__(self, rows, start, mean, directions, dtype):
        self.rows, self.start, self.mean, self.directions, self.dtype = rows, start, mean, directions, dtype
        self.columns = _with_bounds(rows, mean, directions, dtype, bank=True)
        self.longest = self.columns.double().norm(dim=1).max() if len(rows) else 0

    def nearest(self, x, best, k):
        """Keys of the k nearest so far of the queries `x`, with the pairs evaluated and the number of fallbacks."""
        queries = _with_bounds(x, self.mean, self.directions, self.dtype, bank=False)
        bounds = queries @ self.columns.T
        constant = (x - self.mean) @ self.mean  # similarity = what is bounded + this
        # float32 accumulation in any order, and similarities equal after rounding to float32
        error = queries.shape[1] * 2.**-23 * queries.double().norm(dim=1) * self.longest + 2.**-22

        few = min(k, len(self.rows))
        first = _highest(bounds, few)
        similarity = self._exact(x, torch.arange(len(x), device=x.device).repeat_interleave(few), first.flatten())
        similarity = similarity.view(len(x), few)
        best = torch.cat([best, _to_keys(similarity, first + self.start)], dim=1)
        best = best.topk(min(k, best.shape[1])).values
        if len(self.rows) <= few:
            return best, first.numel(), 0
        bounds.scatter_(1, first, -torch.inf)  # done with these
        if best.shape[1] == k:
            threshold = _from_keys(best[:, -1])[0].double() - constant - error
        else:
            threshold = torch.full_like(constant, -torch.inf)
        # a conversion that rounds to nearest is monotone: what is above the threshold is not below it rounded
        row, column, dense = _above(bounds, threshold.to(bounds.dtype), limit=len(self.rows) // 16 + k)
        if len(row):
            best = self._merge(best, row, column, self._exact(x, row, column), k)
        for part in dense.split(max(1, 2**22 // len(self.rows))):
            similarity = x[part] @ self.rows.T
            similarity.scatter_(1, first[part], -torch.inf)
            column = torch.arange(len(self.rows), device=x.device).expand_as(similarity)
            keys = torch.cat([best[part], _to_keys(similarity, column + self.start)], dim=1)
            best[part] = keys.topk(k).values
        return best, first.numel() + len(row) + len(dense) * len(self.rows), len(dense)

    def _merge(self, best, row, column, similarity, k):
        """The keys `best` with those of the pairs row, column; `row` ascends."""
        counts = torch.bincount(row, minlength=len(best))
        some = counts.nonzero()[:, 0]
        place = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[row]
        position = torch.zeros_like(counts)
        position[some] = torch.arange(len(some), device=row.device)
        keys = torch.full((len(some), int(counts.max())), torch.iinfo(torch.long).min, device=row.device)
        keys[position[row], place] = _to_keys(similarity, column + self.start)
        keys = torch.cat([best[some], keys], dim=1)
        best[some] = keys.topk(min(k, keys.shape[1])).values
        return best

    def _exact(self, x, row, column):
        """Float64 similarities of the pairs x[row], rows[column]; `row` ascends."""
        if x.device.type == 'cpu':
            crow = torch.zeros(len(x) + 1, dtype=torch.long)
            crow[1:] = torch.bincount(row, minlength=len(x)).cumsum(0)
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # sparse tensors are called a beta feature
                pairs = torch.sparse_csr_tensor(crow, column, x.new_zeros(len(row)), (len(x), len(self.rows)))
                return torch.sparse.sampled_addmm(pairs, x, self.rows.T, beta=0.).values()
        chunk = max(1, 2**24 // x.shape[1])
        return torch.cat([(x[r] * self.rows[c]).sum(1) for r, c in zip(row.split(chunk), column.split(chunk))])


def _unit(features, device):
    """Rows of length one in float64; those of zeros stay zero."""
    features = features.to(device).double()
    return features / features.norm(dim=1, keepdim=True).clamp_(min=1e-300)


def _directions(centred):
    """Orthonormal directions, D x at most len(centred), by falling variance of the rows `centred`."""
    vectors = torch.linalg.eigh(centred @ centred.T).eigenvectors.flip(1)
    return torch.linalg.qr(centred.T @ vectors[:, :max(1, centred.shape[1] // 2)]).Q


def _with_bounds(rows, mean, directions, dtype, bank):
    """The rows in their directions, rounded, and the columns of which the products make up what is left out.

    The product of a query and a row of the bank, both from here, is at least <x - m, y - m> + <m, y>.
    """
    centred = rows - mean
    inside = centred if directions is None else centred @ directions
    rounded = inside.to(dtype)
    lost = (inside - rounded).norm(dim=1)
    # rows are unit vectors in float64: 1e-7 is far above what rounding makes of these differences
    outside = (centred.square().sum(1) - inside.square().sum(1)).clamp_(min=0).add_(1e-14).sqrt()
    if directions is None:
        outside = torch.zeros_like(lost)
    length = torch.maximum(inside.norm(dim=1), rounded.double().norm(dim=1))
    if bank:
        common = rows @ mean
        rest = _up(common - common.to(dtype), dtype)
        extra = [common.to(dtype), rest, _up(length, dtype), _up(lost, dtype), _up(outside, dtype)]
    else:
        one = torch.ones_like(lost, dtype=dtype)
        extra = [one, one, _up(lost, dtype), _up(length, dtype), _up(outside, dtype)]
    return torch.cat([rounded, torch.stack(extra, 1)], dim=1)


def _up(values, dtype):
    """Conversion that never makes a value smaller."""
    return (values + values.abs() * torch.finfo(dtype).eps).to(dtype)


def _cheapest(sample, queries, share, mean, directions, dtype):
    """Number of directions that costs least, with the sample in the place of the bank."""
    similarity = queries @ sample.T
    kth = similarity.topk(max(1, min(len(sample), round(share * len(sample))))).values[:, -1:]
    threshold = kth - ((queries - mean) @ mean)[:, None]
    size, costs = sample.shape[1], {}
    for dims in sorted({d for d in (32, 64, 128, 256, 512) if d <= directions.shape[1]} | {size}):
        chosen = directions[:, :dims] if dims < size else None
        bounds = (
            _with_bounds(queries, mean, chosen, dtype, bank=False).float() @ _with_bounds(
                sample, mean, chosen, dtype, bank=True).float().T)
        costs[dims] = dims + _EXACT_COST * size * float((bounds >= threshold).float().mean())
    return min(costs, key=costs.get)


def _tiles(n, size, dims, k, memory_limit):
    """Rows of the bank, and queries, in a tile."""
    values = memory_limit * 2**20 / 8  # float64 values that fit
    tile = int(min(n, max(k, 1.2 * values / 2 / (2 * size + dims))))
    return tile, max(1, int(min(2000, values / 2 / (tile / 2 + 12 * k + 2 * size))))


def _highest(bounds, k):
    """Columns of k high values in each row: the k highest, or nearly so, of a long row."""
    blocks = bounds.shape[1] // _BLOCK
    if blocks < 4 * k:
        return bounds.topk(k, sorted=False).indices
    view = bounds[:, :blocks * _BLOCK].unflatten(1, (_BLOCK, blocks))
    block = view.amax(1).topk(k, sorted=False).indices
    inside = view.gather(2, block[:, None].expand(-1, _BLOCK, -1)).flatten(1).topk(k, sorted=False).indices
    return inside // k * blocks + block.gather(1, inside % k)


def _above(bounds, threshold, limit):
    """Pairs (row, column) with bounds >= threshold[row], rows ascending; and the rows with more than `limit` blocks.

    Of the rows named last no pair is given.
    """
    width = bounds.shape[1]
    blocks = -(-width // _BLOCK)
    whole = width // blocks * blocks
    view = bounds[:, :whole].unflatten(1, (-1, blocks))
    highest = view.amax(1)
    rest = bounds[:, whole:]
    if rest.shape[1]:
        highest[:, :rest.shape[1]] = torch.maximum(highest[:, :rest.shape[1]], rest)
    wanted = highest >= threshold[:, None]
    counts = wanted.sum(1)
    many = counts * 4 > limit
    wanted &= ~many[:, None]
    row, block = wanted.nonzero(as_tuple=True)
    columns = block[:, None] + blocks * torch.arange(view.shape[1] + bool(rest.shape[1]), device=bounds.device)
    inside = columns < width
    columns = columns.clamp_(max=width - 1)
    hit = (bounds[row[:, None], columns] >= threshold[row, None]) & inside
    pair, _ = hit.nonzero(as_tuple=True)
    return row[pair], columns[hit], many.nonzero()[:, 0]


def _to_keys(similarity, index):
    """Integers that order pairs by falling float32 similarity, then by rising index."""
    bits = (similarity.float() + 0.).view(torch.int32)  # + 0. makes -0. equal to 0.
    bits = torch.where(bits < 0, bits ^ 0x7fffffff, bits).long()
    return (bits << 32) + (2**32 - 1 - index)


def _from_keys(keys):
    bits = (keys >> 32).int()
    similarity = torch.where(bits < 0, bits ^ 0x7fffffff, bits).view(torch.float32)
    return similarity, 2**32 - 1 - (keys & (2**32 - 1))


@contextlib.contextmanager
def _full_precision():
    """Products in float32 are what their name says, and bfloat16 ones accumulate in float32, whatever users allow."""
    matmul = torch.backends.cuda.matmul
    before = torch.get_float32_matmul_precision(), matmul.allow_bf16_reduced_precision_reduction
    try:
        torch.set_float32_matmul_precision('highest')
        matmul.allow_bf16_reduced_precision_reduction = False
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        matmul.allow_bf16_reduced_precision_reduction = before[1]
