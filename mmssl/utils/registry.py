# Copyright (c) mmssl contributors. All rights reserved.
"""mmcv's Registry with errors that name the nearest valid name and the place in the config."""
import importlib
import inspect

from mmcv.utils import Registry as _Registry

from .argument_types import check_types
from .errors import AbsentFileError, ConfigError, UnknownArgumentError, UnknownNameError, describe, nearest, short

# packages that a name imports by its scope
_SCOPES = ('mmcls', 'mmdet', 'mmseg')


def accepted_arguments(cls):
    """Names of the arguments that a class or function takes.

    `**kwargs` is followed to the next `__init__` along the method resolution order.

    Returns:
        tuple[dict, bool]: inspect.Parameter by name, and whether any other name is taken as well.
    """
    inits = [c.__dict__['__init__'] for c in cls.__mro__ if '__init__' in c.__dict__] \
        if inspect.isclass(cls) else [cls]
    found = {}
    for init in inits:
        try:
            parameters = list(inspect.signature(init).parameters.values())
        except (TypeError, ValueError):  # a class written in C
            return found, True
        if inspect.isclass(cls):
            parameters = parameters[1:]
        for p in parameters:
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
                found.setdefault(p.name, p)
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            return found, False
    return found, True


def check_arguments(cls, args, cfg=None):
    """See that a class takes just these arguments, with values of their documented types.

    Raises:
        UnknownArgumentError: An argument is unknown or a required one is absent.
        ConfigError: A value has another type.
    """
    known, open_ended = accepted_arguments(cls)
    unknown = [] if open_ended else [name for name in args if name not in known]
    if unknown:
        raise UnknownArgumentError(
            f'{cls.__name__} takes no argument {unknown[0]!r} (given {short(args[unknown[0]])}); '
            f'{nearest(unknown[0], known, "it takes")}', cfg)
    absent = [n for n, p in known.items() if p.default is p.empty and n not in args]
    if absent and not open_ended:
        raise UnknownArgumentError(f'{cls.__name__} needs the argument {absent[0]!r}', cfg)
    fault = check_types(cls, args, known)
    if fault:
        raise ConfigError(fault, cfg)


def build_from_cfg(cfg, registry, default_args=None):
    """Build the object that a config dict describes.

    Args:
        cfg (dict): `type` (a registered name, optionally with a scope as in 'mmcls.SwinTransformer', or a class)
            and the arguments.
        registry (Registry): Where the name is looked up.
        default_args (dict, optional): Arguments used where `cfg` has none.

    Returns:
        object: The built object.

    Raises:
        UnknownNameError: No such name; the nearest one is named.
        UnknownArgumentError: No such argument; the nearest one is named.
        ConfigError: `cfg` is no dict or has no `type`, or the class refuses a value or fails with it.
        AbsentFileError: A file that the class needs is absent.
        OSError: It cannot be read.
    """
    if not isinstance(cfg, dict):
        raise ConfigError(f'a config of a {registry.name} must be a dict with a "type", got {short(cfg)}', cfg)
    args = {**(default_args or {}), **cfg}
    if 'type' not in args:
        raise ConfigError(f'the config of a {registry.name} has no "type": {short(dict(cfg))}', cfg)
    kind = args.pop('type')
    if not (isinstance(kind, str) or callable(kind)):
        raise ConfigError(f'the type of a {registry.name} is a name, got {short(kind)}', cfg)
    cls = registry.get(kind) if isinstance(kind, str) else kind
    if cls is None:
        raise UnknownNameError(
            f'{kind!r} is not a registered {registry.name}; '
            f'{nearest(kind, registry.names(), "registered")}', cfg)
    try:
        check_arguments(cls, args, cfg)
        return cls(**args)
    except ConfigError as error:
        error.locate_in(cfg)
        raise
    except FileNotFoundError as error:
        raise AbsentFileError(': '.join(str(part) for part in (error.filename, error.strerror) if part) or str(error),
                              cfg) from error
    except OSError:  # a file that cannot be read
        raise
    except Exception as error:  # a value that the class refuses, or cannot work with
        raise ConfigError(f'{cls.__name__}: {describe(error)}', cfg) from error


class Registry(_Registry):
    """Registry of mmcv; the scopes `mmcls.`, `mmdet.` and `mmseg.` import that package when it is first named."""

    def __init__(self, name, build_func=None, parent=None, scope='mmssl'):
        super().__init__(name, build_func=build_func or build_from_cfg, parent=parent, scope=scope)

    def get(self, key):
        scope, name = self.split_scope_key(key)
        if scope in (None, self.scope):
            found = self.module_dict.get(name)
            if found is None and self.parent is not None:
                found = self.parent.module_dict.get(name)
            return found
        if self.parent is None:
            return None
        if scope not in self.parent.children and scope != self.parent.scope:
            if scope not in _SCOPES:  # a config in a checkpoint shall not import whatever it names
                raise UnknownNameError(f'{key!r} needs the package {scope!r}: name it in custom_imports')
            try:
                importlib.import_module(f'{scope}.models')
            except ModuleNotFoundError as error:
                raise UnknownNameError(f'{key!r} needs the package {scope!r}: {error}') from error
        return self.parent.get(key)

    def names(self):
        """All names that can be built from here."""
        inherited = self.parent.module_dict if self.parent is not None else {}
        return [*self.module_dict, *inherited]
