# Copyright (c) mmssl contributors. All rights reserved.
"""Methods by name, and which one is taken where the user names none: tables to be edited."""
from dataclasses import dataclass, field

_SELFSUP = 'configs/selfsup'
_SMALL = 'configs/demo/compare'


@dataclass(frozen=True)
class Method:
    """A method, and the configs that its recipes start from.

    Attributes:
        small (str): Config for small images, below configs/demo/compare: so each method was seen to learn on digits
            (docs/en/algorithms.md, "Do they learn?").
        recipe (str): Config for larger ones, below configs/selfsup: that for a folder, where there is one.
        family (str): Networks that it takes: 'any', 'vit' or 'swin'.
        views (str): 'two', 'crops' (two large and several small ones), 'one' or 'patches'.
        needs (str): '', 'labels', 'teacher' or 'tokenizer'.
        batch (int): Images of a step that it likes, where memory and data allow.
        optimizer (str): 'AdamW', or 'SGD' where adaptive rates make the features serve the task alone.
        hint (str): What to do where a need is not met.
    """
    small: str
    recipe: str
    family: str = 'any'
    views: str = 'two'
    needs: str = ''
    batch: int = 256
    optimizer: str = 'AdamW'
    hint: str = ''

    @property
    def small_config(self):
        return f'{_SMALL}/{self.small}.py'

    @property
    def recipe_config(self):
        return f'{_SELFSUP}/{self.recipe}.py'


_TEACHER = ('give a trained network: --set model.teacher.checkpoint=FILE.pth with the config of its backbone in '
            'model.teacher.backbone, see docs/en/algorithms.md, "Distillation"')

METHODS = dict(
    barlowtwins=Method('barlowtwins', 'barlowtwins/barlowtwins_resnet50_8xb32-accum8-coslr-100e_in1k'),
    byol=Method('byol', 'byol/byol_resnet50_8xb32-accum16-coslr-200e_in1k'),
    cae=Method(
        'cae',
        'cae/cae_vit-base-p16_8xb256-fp16-coslr-300e_in1k',
        family='vit',
        views='one',
        needs='tokenizer',
        hint='CAE needs the encoder of DALL-E: --set model.head.tokenizer_path=dalle_encoder.pth, or MAE, which needs '
        'none: --method mae'),
    dcl=Method('dcl', 'dcl/dcl_resnet18_1xb128-coslr-200e_folder', batch=128),
    dclw=Method('dclw', 'dcl/dclw_resnet50_8xb32-coslr-100e_in1k', batch=128),
    deepcluster=Method(
        'deepcluster', 'deepcluster/deepcluster_resnet50_8xb64-steplr-200e_in1k', views='one', batch=128),
    deepclusterv2=Method(
        'deepclusterv2', 'deepclusterv2/deepclusterv2_resnet18_1xb64-coslr-100e_folder', views='crops', batch=128),
    dense_distillation=Method(
        '',
        'dense_distillation/dense-distill_resnet18-dinov2_1xb128-coslr-200e_folder',
        views='one',
        needs='teacher',
        batch=128,
        hint=_TEACHER),
    densecl=Method('densecl', 'densecl/densecl_resnet50_8xb32-coslr-200e_in1k', batch=128),
    dino=Method('dino', 'dino/dino_resnet18_1xb64-mcrop-2-4-coslr-200e_folder', views='crops', batch=128),
    dinov2=Method(
        'dinov2',
        'dinov2/dinov2_vit-small-p16_1xb128-mcrop-2-8-coslr-100e_in1k',
        family='vit',
        views='crops',
        batch=128),
    ibot=Method(
        'ibot', 'ibot/ibot_vit-small-p16_1xb64-mcrop-2-4-coslr-200e_folder', family='vit', views='crops', batch=128),
    ijepa=Method('ijepa', 'ijepa/ijepa_vit-small-p16_1xb64-coslr-600e_folder', family='vit', views='one', batch=128),
    interclr=Method('interclr-moco', 'interclr/interclr-moco_resnet50_8xb32-coslr-200e_in1k', batch=128),
    jigsaw=Method(
        'jigsaw', 'jigsaw/jigsaw-perm100_resnet50_8xb32-steplr-105e_in1k', views='patches', batch=128, optimizer='SGD'),
    lejepa=Method('lejepa', 'lejepa/lejepa_resnet18_1xb128-coslr-200e_folder', views='crops', batch=128),
    mae=Method('mae', 'mae/mae_vit-base-p16_8xb512-coslr-400e_in1k', family='vit', views='one'),
    maskfeat=Method('maskfeat', 'maskfeat/maskfeat_vit-base-p16_8xb256-coslr-300e_in1k', family='vit', views='one'),
    mocov1=Method('mocov1', 'mocov1/mocov1_resnet50_8xb32-steplr-200e_in1k', batch=128),
    mocov2=Method('mocov2', 'mocov2/mocov2-splitbn_resnet18_1xb64-coslr-100e_folder', batch=128),
    mocov3=Method('mocov3', 'mocov3/mocov3_vit-small-p16_32xb128-fp16-coslr-300e_in1k-224', family='vit'),
    msn=Method(
        'msn', 'msn/msn_vit-small-p16_1xb64-mcrop-2-4-coslr-200e_folder', family='vit', views='crops', batch=128),
    nnclr=Method('nnclr', 'nnclr/nnclr_resnet18_1xb128-coslr-200e_folder'),
    npid=Method('npid', 'npid/npid_resnet50_8xb32-steplr-200e_in1k', views='one', batch=128),
    odc=Method('odc', 'odc/odc_resnet50_8xb64-steplr-440e_in1k', views='one', batch=128),
    pirl=Method('pirl', 'pirl/pirl-mlp_resnet50_32xb32-coslr-200e_in1k', views='patches', batch=128),
    relational_distillation=Method(
        '',
        'relational_distillation/relational-distill_resnet18-dinov2_1xb128-coslr-200e_folder',
        views='one',
        needs='teacher',
        batch=128,
        hint=_TEACHER),
    relative_loc=Method(
        'relative-loc',
        'relative_loc/relative-loc_resnet50_8xb64-steplr-70e_in1k',
        views='patches',
        batch=128,
        optimizer='SGD'),
    ressl=Method('ressl', 'ressl/ressl_resnet18_1xb128-coslr-200e_folder', batch=128),
    rotation_pred=Method(
        'rotation-pred', 'rotation_pred/rotation-pred_resnet50_8xb16-steplr-70e_in1k', views='one', batch=64),
    seed=Method(
        '',
        'seed/seed_resnet18-dinov2_1xb128-coslr-200e_folder',
        views='one',
        needs='teacher',
        batch=128,
        hint=_TEACHER),
    simclr=Method('simclr', 'simclr/simclr_resnet50_8xb32-coslr-200e_in1k'),
    simmim=Method('simmim', 'simmim/simmim_swin-base_8xb256-coslr-100e_in1k-192', family='swin', views='one'),
    simreg=Method(
        '',
        'simreg/simreg_resnet18-dinov2_1xb128-coslr-200e_folder',
        views='one',
        needs='teacher',
        batch=128,
        hint=_TEACHER),
    simsiam=Method('simsiam', 'simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k', batch=128),
    supcon=Method(
        'supcon',
        'supcon/supcon_resnet18_1xb128-coslr-200e_folder',
        needs='labels',
        hint='give a folder for each class, or --labels FILE.npy with a label for each image'),
    swav=Method('swav', 'swav/swav_resnet50_8xb32-mcrop-2-6-coslr-200e_in1k-224-96', views='crops', batch=128),
    vicreg=Method('vicreg', 'vicreg/vicreg_resnet18_1xb128-coslr-200e_folder'))

# those that push an image away from others
NEGATIVES = ('dcl', 'dclw', 'densecl', 'interclr', 'mocov1', 'mocov2', 'mocov3', 'nnclr', 'npid', 'pirl', 'simclr')

# other names of them
ALIASES = dict(
    moco='mocov2',
    barlow='barlowtwins',
    barlow_twins='barlowtwins',
    deepcluster_v2='deepclusterv2',
    moco_v1='mocov1',
    moco_v2='mocov2',
    moco_v3='mocov3',
    dino_v2='dinov2',
    i_jepa='ijepa',
    rotation='rotation_pred',
    relativeloc='relative_loc',
    interclr_moco='interclr')


@dataclass(frozen=True)
class Row:
    """What is taken where the user names no method.

    Attributes:
        fits (callable): Facts of the data, facts of the machine, seconds or None -> whether this row is for them.
        method (str): One of METHODS.
        reason (str): One sentence.
        network (str): One of networks.NAMES; '' leaves the choice to choose.network.
        values (dict): Value by dotted key, put over the config that the method starts from.
        keys (dict): Of other choices: `size`, `batch`, `lr`, `scale`, `weight_decay`, and `jitter`, the strength of
            changes of brightness and contrast of images that are grey, and `features`, that section of the config
            where the network is a ResNet.
    """
    fits: callable
    method: str
    reason: str
    network: str = ''
    values: dict = field(default_factory=dict)
    keys: dict = field(default_factory=dict)


# the first row that fits is taken; docs/en/recipes.md, "Measured", has the figures behind them
AUTO = (
    # in the light of its own that each image has, VICReg finds a short cut: below random weights after 2 minutes
    Row(fits=lambda data, machine, seconds: data.sizes[1] <= 64 and machine.device == 'cpu' and data.channels > 4,
        method='mocov2',
        reason='of two methods tried on images of 13 channels it learned, and VICReg did not',
        network='resnet10-narrow'),
    Row(fits=lambda data, machine, seconds: data.sizes[1] <= 64 and machine.device == 'cpu' and data.coloured,
        method='simclr',
        reason='on small photographs in colour it learned more within minutes than VICReg and MoCo v2',
        network='resnet10-narrow'),
    Row(fits=lambda data, machine, seconds: data.sizes[1] <= 64 and machine.device == 'cpu',
        method='vicreg',
        reason='of the methods tried on small grey images within minutes it learned most',
        network='resnet10-narrow',
        values={
            'model.neck.hid_channels': 512,
            'model.neck.out_channels': 512,
        },
        keys=dict(lr=4e-3, jitter=0.8, features=dict(layers=['stage3', 'stage4'], pool_type='grid:2', power=0.15))),
    Row(fits=lambda data, machine, seconds: data.sizes[1] <= 64,
        method='simclr',
        reason='of the methods tried on small images it is the simplest',
        values={
            'model.neck.hid_channels': 512,
            'model.neck.out_channels': 128,
            'model.neck.num_layers': 3,
            'model.head.temperature': 0.5
        }),
    Row(fits=lambda data, machine, seconds: True,
        method='simclr',
        reason='it has no teacher and no queue that would have to be tuned (docs/en/which_method.md)'),
)
