import pytest

from mmssl.utils.errors import ConfigError, UnknownArgumentError, UnknownNameError, find_path, nearest
from mmssl.utils.registry import Registry, accepted_arguments

PARTS = Registry('part')


@PARTS.register_module()
class Leaf:

    def __init__(self, size, colour='green'):
        if size == 0:
            raise ValueError('size must be positive, got 0')
        self.size = size


@PARTS.register_module()
class Tree:

    def __init__(self, leaves, trunk=None):
        self.leaves = [PARTS.build(leaf) for leaf in leaves]


@PARTS.register_module()
class Pine(Tree):

    def __init__(self, height=1, **kwargs):
        super().__init__(**kwargs)


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="'Laef' is not a registered part; did you mean 'Leaf'?"):
        PARTS.build(dict(type='Laef', size=1))


def test_unknown_argument_names_value_nearest_and_place():
    """Pitfall: typos swallowed by **kwargs; a wrong config key raises and names the nearest valid key."""
    cfg = dict(type='Pine', leaves=[dict(type='Leaf', size=1), dict(type='Leaf', size=2, color='red')])
    with pytest.raises(UnknownArgumentError) as info:
        PARTS.build(cfg)
    assert str(info.value) == ("Leaf takes no argument 'color' (given 'red'); did you mean 'colour'? "
                               '(at leaves.1 in the config)')
    info.value.locate_in(dict(model=cfg))
    assert 'at model.leaves.1 in the config' in str(info.value)


def test_a_value_that_a_class_refuses_is_told_with_its_place():
    with pytest.raises(
            ConfigError, match=r'^Leaf: size must be positive, got 0 \(at leaves.1 in the config\)') as error:
        PARTS.build(dict(type='Tree', leaves=[dict(type='Leaf', size=1), dict(type='Leaf', size=0)]))
    assert type(error.value.__cause__) is ValueError


def test_kwargs_are_followed_to_the_base_class():
    names, open_ended = accepted_arguments(Pine)
    assert set(names) == {'height', 'leaves', 'trunk'} and not open_ended
    with pytest.raises(UnknownArgumentError, match='leafs'):
        PARTS.build(dict(type='Pine', leafs=[]))


@pytest.mark.parametrize('cfg', [dict(size=1), 'Leaf', None])
def test_what_is_no_config_is_refused(cfg):
    with pytest.raises(ConfigError):
        PARTS.build(cfg)


def test_missing_argument():
    with pytest.raises(UnknownArgumentError, match="Leaf needs the argument 'size'"):
        PARTS.build(dict(type='Leaf'))


def test_child_falls_back_to_its_parent_and_imports_a_scope():
    child = Registry('twig', parent=PARTS, scope='twigs')
    assert child.build(dict(type='Leaf', size=3)).size == 3
    with pytest.raises(UnknownNameError, match='no_such_package'):
        child.build(dict(type='no_such_package.Leaf', size=3))


def test_find_path_and_nearest():
    part = dict(x=1)
    assert find_path(dict(a=[0, dict(b=part)]), part) == 'a.1.b'
    assert find_path(dict(a=[0]), part) is None
    assert nearest('qqq', ['alpha', 'beta'], 'it takes') == 'it takes: alpha, beta'


@PARTS.register_module()
class Branch:
    """A part with documented types, which hold for mmssl's own classes.

    Args:
        length (int): Anything whole.
        width (float | str): A number or a word.
        rough (bool): Whether it is.
        knots (Sequence[int], optional): Places.
        shape (dict | list[dict]): Of the leaves.
        name (str): A word.
    """
    __module__ = 'mmssl.parts'

    def __init__(self, length=1, width=1, rough=False, knots=None, shape=(), name=''):
        if length == 77:
            raise TypeError('it breaks')
        if name == 'quiet':
            raise AssertionError


@pytest.mark.parametrize('args, message', [
    (dict(length='50'), "length must be int, got '50', a text in quotes"),
    (dict(length=2.), 'length must be int, got 2.0'),
    (dict(length=True), 'length must be int, got True'),
    (dict(length=None), 'length must be int, got None'),
    (dict(width=[1]), r'width must be float \| str, got \[1\]'),
    (dict(rough='False'), "rough must be bool, got 'False', a text in quotes"),
    (dict(rough=1), 'rough must be bool, got 1'),
    (dict(knots=[1, 'a']), r"knots must be Sequence\[int\], optional, got \[1, 'a'\]"),
    (dict(knots=3), r'knots must be Sequence\[int\], optional, got 3'),
    (dict(shape=[3]), r'shape must be dict \| list\[dict\], got \[3\]'),
    (dict(name=7), 'name must be str, got 7'),
    (dict(length=77), r'TypeError: it breaks \(.*test_registry.py, line \d+\)'),
    (dict(name='quiet'), r'AssertionError: raise AssertionError \(.*test_registry.py, line \d+\)'),
])
def test_values_of_another_type_than_documented(args, message):
    """A text 'False' counted as true, and a number in quotes ended in a traceback somewhere below."""
    with pytest.raises(ConfigError, match=rf'^Branch: {message} \(at model in the config\)'):
        try:
            PARTS.build(cfg := dict(type='Branch', **args))
        except ConfigError as error:
            error.locate_in(dict(model=cfg))
            raise


def test_values_of_documented_types():
    array = object()  # of code that builds parts, not of a config
    for args in (dict(width=2, knots=(1, 2)), dict(width=.5, knots=[]), dict(width='wide', shape={}),
                 dict(length=array, rough=array, shape=[{}], knots=None)):
        PARTS.build(dict(type='Branch', **args))


def test_texts_of_numbers_in_classes_of_others():
    """The classes of torch have no such docstrings, but values by default."""
    from torch.optim import SGD
    for name, value, kind in (('lr', '0.1', 'float'), ('nesterov', 'False', 'bool'), ('momentum', '1e-3', 'float')):
        with pytest.raises(ConfigError, match=f'SGD: {name} must be {kind}, got {value!r}, a text in quotes'):
            PARTS.build(dict(type=SGD, params=[], **{name: value}))


def test_all_documented_defaults_have_their_types():
    """A default of another type would be refused when a config states it."""
    import mmssl.core  # noqa: F401
    import mmssl.datasets  # noqa: F401
    from mmssl.core.builder import HOOKS, OPTIMIZER_BUILDERS, OPTIMIZERS, RUNNERS
    from mmssl.datasets.registry import DATASETS, DATASOURCES, PIPELINES
    from mmssl.models.builder import MODELS
    from mmssl.utils.argument_types import documented_types, fits
    checked, wrong = 0, []
    for registry in (MODELS, DATASETS, DATASOURCES, PIPELINES, HOOKS, OPTIMIZERS, OPTIMIZER_BUILDERS, RUNNERS):
        for name, cls in registry.module_dict.items():
            types = documented_types(cls)
            for argument, parameter in accepted_arguments(cls)[0].items():
                if argument in types and parameter.default not in (parameter.empty, None):
                    checked += 1
                    if not fits(parameter.default, types[argument]):
                        wrong.append((name, argument, types[argument], parameter.default))
    assert checked > 400 and not wrong


def test_absent_file_has_its_place(tmp_path):
    """Of several lists in a config, the place says which is meant."""
    from mmssl.datasets import build_dataset
    source = dict(type='ImageList', data_prefix=str(tmp_path), ann_file=str(tmp_path / 'no.txt'))
    with pytest.raises(FileNotFoundError, match=r'no.txt.*\(at data_source in the config\)'):
        build_dataset(dict(type='SingleViewDataset', data_source=source, pipeline=[]))
