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
