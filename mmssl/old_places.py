# Copyright (c) mmssl contributors. All rights reserved.
"""Where MMSelfSup 0.x keeps a module or a name that stands elsewhere here, so that users' imports go on working.

Nothing is imported before it is asked for.
"""
import importlib
import importlib.abc
import importlib.util
import sys
import types

# module of MMSelfSup 0.x that does not exist here -> the one that has its names
MODULES = {
    'mmssl.core.hooks.cosine_annealing_hook': 'mmssl.core.hooks.cosine_annealing',
    'mmssl.core.optimizer.constructor': 'mmssl.core.optimizer',
    'mmssl.core.optimizer.optimizers': 'mmssl.core.optimizer',
    'mmssl.datasets.pipelines.transforms': 'mmssl.datasets.pipelines',
    'mmssl.models.memories.interclr_memory': 'mmssl.models.memories',
    'mmssl.models.memories.odc_memory': 'mmssl.models.memories',
    'mmssl.models.memories.simple_memory': 'mmssl.models.memories',
    'mmssl.models.necks.linear_neck': 'mmssl.models.necks',
    'mmssl.models.necks.mocov2_neck': 'mmssl.models.necks',
    'mmssl.models.necks.nonlinear_neck': 'mmssl.models.necks',
    'mmssl.models.utils.extractor': 'mmssl.evaluation.extractor',
    'mmssl.models.utils.gather_layer': 'mmssl.models.utils',
    'mmssl.models.utils.knn_classifier': 'mmssl.evaluation.knn',
    'mmssl.utils.batch_shuffle': 'mmssl.utils.dist',
    'mmssl.utils.dist_utils': 'mmssl.utils.dist',
    'mmssl.utils.extractor': 'mmssl.evaluation.extractor',
    'mmssl.utils.test_helper': 'mmssl.core.evaluation',
}

# existing module -> {name that MMSelfSup 0.x has in it: module that has it here}
NAMES = {
    'mmssl': {
        'digit_version': 'mmcv.utils',
    },
    'mmssl.models.heads.latent_pred_head': {
        'LatentCrossCorrelationHead': 'mmssl.models.heads',
    },
    'mmssl.models.heads.mae_head': {
        'MAEFinetuneHead': 'mmssl.models.heads',
        'MAELinprobeHead': 'mmssl.models.heads',
    },
    'mmssl.models.heads.maskfeat_head': {
        'MaskFeatFinetuneHead': 'mmssl.models.heads',
    },
    'mmssl.models.utils': {
        'CAETransformerRegressorLayer': 'mmssl.models.utils.transformer_blocks',
        'Extractor': 'mmssl.evaluation.extractor',
        'MultiheadAttention': 'mmssl.models.utils.transformer_blocks',
        'TransformerEncoderLayer': 'mmssl.models.utils.transformer_blocks',
        'build_2d_sincos_position_embedding': 'mmssl.models.utils.position_embedding',
        'knn_classifier': 'mmssl.evaluation.knn',
    },
    'mmssl.utils': {
        'Extractor': 'mmssl.evaluation.extractor',
        'build_2d_sincos_position_embedding': 'mmssl.models.utils.position_embedding',
        'multi_gpu_test': 'mmssl.core.evaluation',
        'single_gpu_test': 'mmssl.core.evaluation',
    },
    'mmssl.utils.misc': {
        'find_latest_checkpoint': 'mmssl.utils.checkpoint',
    },
    'mmssl.datasets.utils': {
        'calculate_md5': 'torchvision.datasets.utils',
        'check_integrity': 'torchvision.datasets.utils',
        'check_md5': 'torchvision.datasets.utils',
        'download_and_extract_archive': 'torchvision.datasets.utils',
        'download_url': 'torchvision.datasets.utils',
        'extract_archive': 'torchvision.datasets.utils',
        'download_url_to_file': 'torch.hub',
    },
}


def lookup(module, name):
    """A name that MMSelfSup 0.x has in a module, for the `__getattr__` of that module.

    Args:
        module (str): Full name of the module, `__name__`.
        name (str): What is asked for.

    Raises:
        AttributeError: MMSelfSup has no such name there either.
    """
    home = NAMES[module].get(name)
    if home is None:
        raise AttributeError(f'module {module!r} has no attribute {name!r}')
    return getattr(importlib.import_module(home), name)


class FunctionsFirst(types.ModuleType):
    """Class of a package in which a function wins over the submodule of the same name, whatever is imported first.

    `from mmssl.utils import collect_env` is a function, as in MMSelfSup, also where the submodule collect_env was
    imported before.
    """

    def __setattr__(self, name, value):
        if isinstance(value, types.ModuleType) and callable(getattr(value, name, None)):
            value = getattr(value, name)
        super().__setattr__(name, value)


class _OldPlaces(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the module of today under its old name. Asked last, when no file has that name."""

    def find_spec(self, fullname, path=None, target=None):
        return importlib.util.spec_from_loader(fullname, self) if fullname in MODULES else None

    def exec_module(self, module):
        # the import system takes what stands in sys.modules by now
        sys.modules[module.__spec__.name] = importlib.import_module(MODULES[module.__spec__.name])


def install():
    """Make the old names of modules importable."""
    if not any(isinstance(finder, _OldPlaces) for finder in sys.meta_path):
        sys.meta_path.append(_OldPlaces())
