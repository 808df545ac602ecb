"""A CUDA device for machines without one: its tensors keep their numbers in the memory of the CPU.

`torch.empty(2, device='cuda')` gives a DeviceTensor between `with FakeCuda() as device:` and its end. As on a GPU, an
operation on tensors of both devices is an error, and so is reading a tensor without a copy; unlike torch's
FakeTensorMode, whose tensors have no values, every operation computes what it would on the CPU, so that whole
trainings run and their numbers can be compared. `device.syncs` counts where the host has waited for the device, by file
and function of the innermost frame of mmssl, and whether that was within an iteration. Memory, streams, events and the
speed of a GPU are not imitated, nor are kernels that cuDNN or flash attention have of their own.
"""
import ctypes
import re
import traceback
from collections import Counter
from pathlib import Path
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode

import mmssl

ROOT = str(Path(mmssl.__file__).parents[1]) + '/'
aten = torch.ops.aten
# operations whose result the host needs to know how many elements come out, or what Python gets
READS = {
    '_local_scalar_dense', 'nonzero', 'masked_select', '_unique2', 'unique_dim', 'unique_consecutive', 'equal',
    'bincount', 'is_nonzero', '_linalg_check_errors'
}
# operations that take a CPU tensor of one element beside tensors of the device, besides the elementwise ones
TAKES_HOST_SCALAR = {
    'where', 'masked_fill', 'masked_fill_', 'fill_', 'index_fill', 'index_fill_', 'index_put', 'index_put_'
}


class DeviceTensor(torch.Tensor):
    """Says that it is on cuda:0; `value` is the CPU tensor that it computes with."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, value):
        out = torch.Tensor._make_wrapper_subclass(
            cls, value.shape, value.stride(), value.storage_offset(), dtype=value.dtype, device='cuda:0')
        out.value = value
        return out

    @property
    def data(self):
        return torch.Tensor.data.__get__(self)

    @data.setter
    def data(self, new):
        torch.Tensor.data.__set__(self, new)
        self.value = new.value

    def __repr__(self):
        return f'DeviceTensor({self.value})'

    def numpy(self, *, force=False):
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")

    def __reduce_ex__(self, protocol):
        return self.value.__reduce_ex__(protocol)  # files hold tensors of the CPU

    def untyped_storage(self):
        return self.value.untyped_storage()

    def tolist(self):
        _wait()
        return self.value.tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def _is_cuda(device):
    return device is not None and torch.device(device).type == 'cuda'


def _leaves(tree):
    """What stands in lists and tuples, at any depth; torch's own function for it takes most of the time of a test."""
    for x in tree:
        if isinstance(x, (list, tuple)):
            yield from _leaves(x)
        else:
            yield x


def _values(x):
    if isinstance(x, (list, tuple)):
        return type(x)(map(_values, x))
    return x.value if isinstance(x, DeviceTensor) else x


def _on_device(x):
    if isinstance(x, (list, tuple)):
        return type(x)(map(_on_device, x))
    return DeviceTensor(x) if type(x) is torch.Tensor else x


def _indexing(func, args):
    """Indexing by truth values and by tensors of the CPU waits for the device."""
    indices = [i for i in args[1] if i is not None]
    fills = func.overloadpacket in (aten.index_put, aten.index_put_) and args[2].numel() == 1 and len(indices) == 1
    if any(type(i) is torch.Tensor for i in indices):
        _wait()
    elif any(i.dtype in (torch.bool, torch.uint8) for i in indices) and not fills:
        _wait()
    return args[0], args[2:]


def _run(func, args, kwargs):
    """One operation: of the CPU as it is, of the device with its rules."""
    name = func.overloadpacket.__name__
    leaves = [*_leaves(args), *_leaves(kwargs.values())]
    tensors = [x for x in leaves if isinstance(x, torch.Tensor)]
    here = any(isinstance(x, DeviceTensor) for x in tensors)
    asked = kwargs.get('device')
    there = _is_cuda(asked) if asked is not None else here
    pinned = kwargs.pop('pin_memory', None)
    if not here and not there:
        out = func(*args, **kwargs)
        if pinned:
            out.is_pinned_here = True
        return out
    if torch.Tag.inplace_view in func.tags:
        if name in ('set_', 'resize_'):
            raise NotImplementedError(f'{name} on a tensor of the fake device')
        func(*_values(args), **kwargs)
        with torch._C._DisableTorchDispatch():  # for what the tensor says about its shape
            func(*args, **kwargs)
        return args[0]
    if func is aten._to_copy.default:
        if here != there and not kwargs.get('non_blocking') or here and not there:
            _wait()
    elif name in ('copy_', '_foreach_copy_'):
        for target, source in [args[:2]] if name == 'copy_' else zip(*args[:2]):
            if isinstance(target, DeviceTensor) != isinstance(source, DeviceTensor):
                waits = not (args[2] if len(args) > 2 else kwargs.get('non_blocking'))
                if waits or not (isinstance(target, DeviceTensor) or getattr(target, 'is_pinned_here', False)):
                    _wait()
        there = isinstance(tensors[0], DeviceTensor)
    else:
        checked = tensors
        if name in ('index', 'index_put', 'index_put_', '_index_put_impl_', '_unsafe_index'):
            checked = [x for x in _leaves(_indexing(func, args)) if isinstance(x, torch.Tensor)]
            if any(isinstance(x, DeviceTensor) for x in tensors) and not isinstance(args[0], DeviceTensor):
                raise RuntimeError(f'{func}: indices of the device on a tensor of the CPU')
        for x in checked:
            scalar = x.dim() == 0 and (name in TAKES_HOST_SCALAR or torch.Tag.pointwise in func.tags)
            if not isinstance(x, DeviceTensor) and not scalar and here:
                raise RuntimeError(f'{func}: Expected all tensors to be on the same device, found cuda:0 and cpu: '
                                   f'{[tuple(t.shape) for t in tensors if not isinstance(t, DeviceTensor)]}')
        if name in READS or func is aten.repeat_interleave.Tensor and kwargs.get('output_size') is None:
            _wait()
    if there and any(isinstance(x, torch.Generator) and x.device.type == 'cpu' for x in leaves):
        raise RuntimeError(f"{func}: Expected a 'cuda' device type for generator but found 'cpu'")
    if func is aten._fused_sdp_choice.default:
        return 0  # the plain formula, which the CPU computes
    if asked is not None:
        kwargs = dict(kwargs, device='cpu')
    kwargs.pop('non_blocking', None)
    if func is aten._to_copy.default and here != there:
        out = _values(args[0]).to(copy=True, **{k: v for k, v in kwargs.items() if k != 'layout'})
    else:
        out = func(*_values(args), **{name: _values(x) for name, x in kwargs.items()})
    changed = {}
    for argument, value in zip(func._schema.arguments, args):
        if argument.alias_info and argument.alias_info.is_write:
            changed[tuple(argument.alias_info.before_set)] = value
    changed.update((tuple(a.alias_info.before_set), kwargs[a.name]) for a in func._schema.arguments
                   if a.name in kwargs and a.alias_info and a.alias_info.is_write)
    returns = func._schema.returns
    if not returns:
        return None
    same = [
        changed.get(tuple(r.alias_info.before_set)) if r.alias_info and r.alias_info.is_write else None for r in returns
    ]
    if len(returns) == 1:
        return same[0] if same[0] is not None else _on_device(out) if there else out
    return tuple(old if old is not None else _on_device(new) if there else new for old, new in zip(same, out))


_watching = []


def _wait():
    """Note that the host waits here."""
    if not _watching:
        return
    _watching[-1].waits += 1
    frames = [f for f, _ in traceback.walk_stack(None) if f.f_code.co_filename.startswith(ROOT + 'mmssl/')]
    if frames:
        code = next(f.f_code for f in frames if f.f_code.co_name[0] != '<')  # not a comprehension
        place = code.co_filename.removeprefix(ROOT), code.co_name
        inside = any(f.f_code.co_name in ('_step', 'train_step') for f in frames)
        _watching[-1].syncs[(inside, *place)] += 1
        _watching[-1].lines[place] = frames[0].f_lineno


class _Moment:
    """In place of torch.cuda.Event and torch.cuda.Stream."""

    def __init__(self, *args, **kwargs):
        pass

    def __getattr__(self, name):
        return lambda *args, **kwargs: True

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


def _pin(tensor, device=None):
    tensor = tensor.clone()
    tensor.is_pinned_here = True
    return tensor


class FakeCuda(TorchDispatchMode):
    """torch with a CUDA device, see above.

    Attributes:
        waits (int): How often the host has waited for the device.
        syncs (Counter): How often the host has waited for the device, by whether that was within an iteration of
            training, file and function.
        lines (dict): The last line by (file, function).
    """

    def __enter__(self):
        self.waits, self.syncs, self.lines = 0, Counter(), {}
        _run_backward_without_a_driver()
        cuda = dict(
            is_available=lambda: True,
            is_bf16_supported=lambda *args: True,
            is_initialized=lambda: True,
            device_count=lambda: 1,
            current_device=lambda: 0,
            set_device=lambda device: None,
            get_device_name=lambda *args: 'fake',
            get_device_capability=lambda *args: (8, 0),
            max_memory_allocated=lambda *args: 0,
            empty_cache=lambda: None,
            synchronize=lambda *args: _wait(),
            get_rng_state=lambda *args: torch.get_rng_state(),
            set_rng_state=lambda *args: None,
            Event=_Moment,
            Stream=_Moment,
            stream=_Moment,
            current_stream=_Moment)
        self.patches = [mock.patch.object(torch.cuda, name, value) for name, value in cuda.items()]
        self.patches.append(mock.patch.object(torch.Tensor, 'record_stream', lambda *args: None))
        self.patches.append(mock.patch.object(torch.Tensor, 'pin_memory', _pin))
        for patch in self.patches:
            patch.start()
        self.before = torch._C._only_lift_cpu_tensors(), torch.autograd.grad_mode.set_multithreading_enabled(False), \
            torch.backends.cudnn.enabled
        torch._C._set_only_lift_cpu_tensors(True)
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        self.before[1].__enter__()
        torch.backends.cudnn.enabled = False
        _watching.append(self)
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        _watching.pop()
        torch.backends.cudnn.enabled = self.before[2]
        torch.__future__.set_overwrite_module_params_on_conversion(False)
        self.before[1].__exit__(*error)
        torch._C._set_only_lift_cpu_tensors(self.before[0])
        for patch in reversed(self.patches):
            patch.stop()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, dict(kwargs or {}))


_kept = []


def _run_backward_without_a_driver():
    """Let torch's backward pass take gradients of the device although no driver of a GPU is there.

    Before the pass torch asks CUDA which devices are in use, which is an error without a GPU; here the answer to this
    question, a method of a C++ object, becomes yes. Without a GPU nobody else asks.
    """
    torch._C._ensureCUDADeviceGuardSet()
    if _kept or torch.cuda.is_available() or not torch.backends.cuda.is_built():
        return
    root = Path(torch.__file__).parent
    methods = [
        name for part in ('AcceleratorHooksInterface', 'CUDAHooksInterface')
        for name in re.findall(r'\bvirtual\s[^;{]*?(~?\w+)\(', (root / f'include/ATen/detail/{part}.h').read_text())
    ]
    get_hooks = ctypes.CDLL(str(root / 'lib/libtorch_cpu.so'))._ZN2at6detail12getCUDAHooksEv
    get_hooks.restype = ctypes.c_void_p
    hooks = ctypes.c_void_p.from_address(get_hooks())  # the object begins with the address of its table of methods
    # two words stand before the first method, and the destructor has two entries
    table = (ctypes.c_void_p * (2 + 1 + len(methods)))()
    ctypes.memmove(table, hooks.value - 2 * ctypes.sizeof(ctypes.c_void_p), ctypes.sizeof(table))
    answer = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_int8)(lambda self, index: True)
    table[2 + 1 + methods.index('hasPrimaryContext')] = ctypes.cast(answer, ctypes.c_void_p).value
    _kept.extend((table, answer))
    hooks.value = ctypes.addressof(table) + 2 * ctypes.sizeof(ctypes.c_void_p)
