# Copyright (c) mmssl contributors. All rights reserved.
"""Exact nearest neighbours by cosine similarity, from upper bounds that are cheap to compute."""
import contextlib
import math
import warnings
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from mmssl.utils.misc import fast_bfloat16

_SAMPLE = 2048  # rows of the bank from which directions are found
_TRIED = 256  # of these, and queries, on which costs are estimated
_SMALL = 2 * 10**9  # multiplications below which looking for directions costs more than it saves
_EXACT_COST = 120  # one exact similarity costs as much as this many of the product, dimension by dimension
_BLOCK = 16  # columns of which only the largest bound is looked at first
_ALIGN = 32  # columns of a product come in multiples of this
_BOUNDS = 5  # columns that hold the error of the others


@dataclass
class Search:
    """What `nearest_neighbours` found, and how.

    Attributes:
        similarity (Tensor): M x k float32, descending.
        index (Tensor): M x k rows of the bank.
        dims (int): Dimensions of the product that gave the bounds.
        dtype (torch.dtype): Of that product.
        evaluated (float): Similarities computed one by one, as a share of all pairs.
        fallback (float): Share of queries (a tile of the bank each) for which the bounds excluded too little.
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
def indexed_neighbours(bank, queries, k, factory, device=None, rows=2**16):
    """As `nearest_neighbours`, from an index of faiss: for sets beyond memory, and approximate unless it is 'Flat'.

    An index of cells ('IVF...') looks into an eighth of them.

    Args:
        bank (Tensor): N x D, for instance mapped from a file; read in parts.
        queries (Tensor): M x D.
        k (int): Number of neighbours.
        factory (str): What faiss.index_factory makes, such as 'Flat', 'SQ8' or 'IVF4096,PQ64'.
        device (torch.device, optional): Of what is returned; the index is on the CPU.
        rows (int): Rows of a part.

    Returns:
        tuple[Tensor, Tensor]: Similarities as the index knows them, M x k float32, and the rows of the bank, M x k.

    Raises:
        ValueError: There is no faiss, no such index, or the cells hold fewer than k rows.
    """
    try:
        import faiss
    except ImportError:
        raise ValueError(f'index {factory!r} needs faiss, which is not installed: pip install faiss-cpu') from None

    def unit(part):
        return _unit(part, 'cpu').numpy()

    try:
        index = faiss.index_factory(bank.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        if not index.is_trained:
            index.train(unit(bank[::-(-len(bank) // rows)]))
    except RuntimeError as error:
        raise ValueError(f'faiss cannot make the index {factory!r} of {len(bank)} x {bank.shape[1]} features: '
                         f'{error}') from None
    for part in bank.split(rows):
        index.add(unit(part))
    if hasattr(faiss.downcast_index(index), 'nprobe'):
        cells = faiss.downcast_index(index)
        cells.nprobe = -(-cells.nlist // 8)
    similarity, found = (
        torch.cat(parts)
        for parts in zip(*(map(torch.from_numpy, index.search(unit(part), k)) for part in queries.split(rows))))
    if (found < 0).any():
        raise ValueError(f'index {factory!r}: the cells looked into hold fewer than k={k} rows; take fewer cells')
    return similarity.to(device or queries.device), found.to(device or queries.device)


@torch.no_grad()
def search(bank, queries, k, memory_limit=512, device=None, dims=None, dtype=None):
    """Exact nearest neighbours, most pairs being excluded by an upper bound of their similarity.

    The similarity of a pair is the float32 dot product of the two rows after they were scaled to length one in
    float32, always summed in the same order; of rows equally similar the first in the bank is the nearer. So the result
    depends on no tile, thread or data type.

    With any vector m and x' = x - m, y' = y - m, <x, y> = <x', y'> + <m, y'> + <x, m>, of which the last term does not
    change which rows are the nearest to x. With the mean as m, features that all have much in common leave small
    vectors. Of these, the part in a few leading directions is multiplied in bfloat16 where the hardware is fast at it,
    and what is left out enters by Cauchy-Schwarz: with x' = p + r, y' = q + s, p and q in the directions, r and s
    orthogonal to them, and p^, q^ rounded,

        <x', y'>  <=  <p^, q^> + |p - p^| |q| + |p^| |q - q^| + |r| |s|.

    All these terms are products of a number of the query and one of the row, so that they are further columns of the
    same matrix product. k rows of high bounds are then evaluated; the k-th best of them is a threshold, and no row
    with a bound below it, less the errors of float32, is a neighbour; the others are evaluated as well. Where they are
    too many (copies of one image, constant features), a float32 product of all pairs takes the place of the bounds.

    How many directions are worth it is estimated on a sample, which influences the time alone.

    Args:
        bank, queries, k, memory_limit, device: See `nearest_neighbours`.
        dims (int, optional): Number of directions instead of the estimate; D means no projection.
        dtype (torch.dtype, optional): Of the product, torch.bfloat16 or torch.float32.

    Returns:
        Search: On `device`.
    """
    device = torch.device(device or queries.device)
    dtype = dtype or (torch.bfloat16 if fast_bfloat16(device) else torch.float32)
    size = bank.shape[1]
    sample = _unit(bank[::-(-len(bank) // _SAMPLE)], device)
    mean = sample.mean(0)
    if dims is None and len(bank) * len(queries) * size < _SMALL:
        dims = size
    with _full_precision():
        directions = _directions(sample - mean) if dims is None or dims < size else None
        if dims is None:
            some = _unit(queries[::-(-len(queries) // _TRIED)], device)
            few = sample[::-(-len(sample) // (4 * _TRIED))]
            dims = _cheapest(few, some, k / len(bank), mean, directions, dtype)
        directions = directions[:, :dims].contiguous() if dims < size else None

        tile, rows = _tiles(len(bank), size, dims, k, memory_limit)
        best = torch.empty(len(queries), 0, dtype=torch.long, device=device)
        evaluated = fallback = 0
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


class _Tile:
    """Some rows of the bank, ready for the bounds and for exact similarities."""

    def __init__(self, rows, start, mean, directions, dtype):
        self.rows, self.start, self.mean, self.directions, self.dtype = rows, start, mean, directions, dtype
        # part by part, which stay in the cache
        self.columns = torch.cat([_with_bounds(some, mean, directions, dtype, bank=True) for some in rows.split(1024)])
        self.longest = self.columns.float().norm(dim=1).max()
        self.bounds = None  # memory for the bounds of some queries, used again and again

    def nearest(self, x, best, k):
        """Keys of the k nearest so far of the queries `x`, with the pairs evaluated and the number of fallbacks."""
        queries = _with_bounds(x, self.mean, self.directions, self.dtype, bank=False)
        # float32 accumulation in any order: of the bounds, of a similarity, and of the term of the query
        rounding = x.shape[1] * 2.**-22
        error = queries.shape[1] * 2.**-22 * queries.float().norm(dim=1) * self.longest + 2 * rounding
        slack = x @ self.mean + error
        if self.bounds is None or len(self.bounds) < len(x):
            self.bounds = queries.new_empty(len(x), len(self.columns))
        bounds = torch.mm(queries, self.columns.T, out=self.bounds[:len(x)])
        found, pairs, many = self._refine(x, bounds, slack, best, k, len(self.rows) // 64 + k)
        for some in many.split(max(1, 2**24 // len(self.rows))):
            bounds = x[some] @ self.rows.T
            found[some], more, _ = self._refine(x[some], bounds, torch.full_like(error[some], 2 * rounding), best[some],
                                                k, len(self.rows))  # yapf: disable
            pairs += more
        return found, pairs, len(many)

    def _refine(self, x, bounds, slack, best, k, limit):
        """The keys `best` with those of all rows whose bound, with a slack for each query, could be among the k best.

        Of queries with more than `limit` such rows, blocks counted, the result is not complete: they are returned.
        """
        n, few = len(self.rows), min(k, len(self.rows))
        bounds = F.pad(bounds, (0, -n % _BLOCK), value=-torch.inf) if n % _BLOCK else bounds
        view = bounds.unflatten(1, (_BLOCK, -1))
        highest, blocks = view.amax(1), view.shape[2]
        if blocks < 2 * k:
            first = bounds[:, :n].topk(few, sorted=False).indices
        else:
            block = highest.topk(few, sorted=False).indices
            # in float32, whose maxima are found faster
            inside = view.gather(2, block[:, None].expand(-1, _BLOCK, -1)).float().max(1).indices
            first = inside * blocks + block
        row = torch.arange(len(x), device=x.device).repeat_interleave(few)
        keys = _to_keys(self._exact(x, row, first.flatten()).view(len(x), few), first + self.start)
        best = torch.cat([best, keys], dim=1)
        best = best.topk(k).values  # the first tile has at least k rows
        if n == few:
            return best, first.numel(), row[:0]
        start = torch.arange(len(x), device=x.device)[:, None] * bounds.shape[1]
        bounds.view(-1).index_fill_(0, (start + first).flatten(), -torch.inf)  # done with these
        # rounding to nearest is monotone: what is above the threshold is not below it rounded
        threshold = (_from_keys(best[:, -1])[0] - slack).to(bounds.dtype)[:, None]
        wanted = highest >= threshold
        many = wanted.sum(1) > few + limit
        row, block = (wanted & ~many[:, None]).nonzero(as_tuple=True)
        pair, inside = (view.transpose(1, 2)[row, block] >= threshold[row]).nonzero(as_tuple=True)
        row, column = row[pair], inside * blocks + block[pair]
        if len(row):
            best = self._merge(best, row, column, self._exact(x, row, column), k)
        return best, first.numel() + len(row), many.nonzero()[:, 0]

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
        best[some] = keys.topk(k).values
        return best

    def _exact(self, x, row, column):
        """Similarities of the pairs x[row], rows[column]; `row` ascends. Each is one dot product in a fixed order."""
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
    """Rows of length one in float32; those of zeros stay zero."""
    return F.normalize(features.to(device, torch.float32), dim=1).contiguous()


def _directions(centred):
    """Orthonormal directions, D x at most len(centred), by falling variance of the rows `centred`."""
    centred = centred.double()
    if centred.shape[1] <= len(centred):
        return torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1).float()
    vectors = torch.linalg.eigh(centred @ centred.T).eigenvectors.flip(1)
    return torch.linalg.qr(centred.T @ vectors[:, :max(1, len(centred) // 2)]).Q.float()


def _with_bounds(rows, mean, directions, dtype, bank):
    """The rows in their directions, rounded, and the columns of which the products make up what is left out.

    The product of a query and a row of the bank, both from here, is at least <x', y'> + <m, y'>.
    """
    centred = rows - mean
    inside = centred if directions is None else centred @ directions
    rounding = rows.shape[1] * 2.**-22
    square = centred.square().sum(1)
    length = inside.norm(dim=1) * (1 + rounding)
    # what rounding to `dtype` loses, and float32 did in the projection and does in these norms
    columns = rows.new_zeros(len(rows), -(-(inside.shape[1] + _BOUNDS) // _ALIGN) * _ALIGN, dtype=dtype)
    rounded = columns[:, :inside.shape[1]]
    rounded.copy_(inside)
    lost = (inside - rounded).norm(dim=1) + rounding * square.sqrt()
    length = length + lost  # not less than that of the rounded row
    outside = torch.zeros_like(lost)
    if directions is not None:
        outside = (square - inside.square().sum(1)).clamp_(min=0).add_(rounding * square).sqrt_()
    if bank:
        common = centred @ mean + rounding
        extra = [common.to(dtype), _up(common - common.to(dtype), dtype), _up(length, dtype), _up(lost, dtype)]
    else:
        one = torch.ones_like(lost, dtype=dtype)
        extra = [one, one, _up(lost, dtype), _up(length, dtype)]
    columns[:, inside.shape[1]:inside.shape[1] + _BOUNDS] = torch.stack([*extra, _up(outside, dtype)], 1)
    return columns


def _up(values, dtype):
    """Conversion that never makes a value smaller."""
    return (values + values.abs() * torch.finfo(dtype).eps).to(dtype)


def _cheapest(sample, queries, share, mean, directions, dtype):
    """Number of directions that costs least, with the sample in the place of the bank."""
    similarity = queries @ sample.T
    kth = similarity.topk(max(1, min(len(sample), round(share * len(sample))))).values[:, -1:]
    threshold = kth - (queries @ mean)[:, None]
    size, costs = sample.shape[1], {}
    # just so many that the product has a whole number of aligned columns
    widths = [d - _BOUNDS for d in (32, 64, 96, 128, 192, 256, 384, 512)]
    for dims in sorted({d for d in widths if d <= directions.shape[1]} | {size}):
        chosen = directions[:, :dims] if dims < size else None
        bounds = (
            _with_bounds(queries, mean, chosen, dtype, bank=False).float() @ _with_bounds(
                sample, mean, chosen, dtype, bank=True).float().T)
        costs[dims] = dims + _EXACT_COST * size * float((bounds >= threshold).float().mean())
    return min(costs, key=costs.get)


def _tiles(n, size, dims, k, memory_limit):
    """Rows of the bank, and queries, in a tile."""
    values = memory_limit * 2**20 / 4  # float32 values that fit
    tile = int(min(n, max(k, values / 2 / (1.5 * size + dims))))
    return tile, max(1, int(min(512, values / 2 / (1.5 * tile + 24 * k + 2 * size))))


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
