"""Small models of every algorithm, as the tests use them."""
import torch

from mmssl.models import build_algorithm

DIM = 16
BACKBONE = dict(type='ResNet', depth=18, base_channels=8, stem_channels=8, norm_cfg=dict(type='SyncBN'))
NECK = dict(type='NonLinearNeck', in_channels=64, hid_channels=32, out_channels=DIM)
PREDICTOR = dict(type='LatentPredictHead', predictor=dict(NECK, in_channels=DIM, with_last_bn=False))
CONTRAST = dict(type='ContrastiveHead', temperature=0.2)
CONFIGS = dict(
    SimCLR=dict(type='SimCLR', backbone=BACKBONE, neck=NECK, head=CONTRAST),
    MoCo=dict(
        type='MoCo',
        backbone=BACKBONE,
        neck=dict(type='MoCoV2Neck', in_channels=64, hid_channels=32, out_channels=DIM),
        head=CONTRAST,
        queue_len=20,
        feat_dim=DIM,
        momentum=0.9),
    BYOL=dict(type='BYOL', backbone=BACKBONE, neck=NECK, head=PREDICTOR, base_momentum=0.9),
    SimSiam=dict(type='SimSiam', backbone=BACKBONE, neck=dict(NECK, num_layers=3), head=PREDICTOR),
    Classification=dict(
        type='Classification',
        backbone=BACKBONE,
        head=dict(type='ClsHead', with_avg_pool=True, in_channels=64, num_classes=4)),
    RelativeLoc=dict(
        type='RelativeLoc',
        backbone=BACKBONE,
        neck=dict(type='RelativeLocNeck', in_channels=64, out_channels=32, norm_cfg=dict(type='SyncBN')),
        head=dict(type='ClsHead', in_channels=32, num_classes=8)),
    RotationPred=dict(
        type='RotationPred',
        backbone=BACKBONE,
        head=dict(type='ClsHead', with_avg_pool=True, in_channels=64, num_classes=4)))
# Number of views that the data set of an algorithm gives, where it is not two; 0 is one image, not in a list
VIEWS = dict(Classification=0, RelativeLoc=9, RotationPred=4)
# What a batch holds besides img and idx, computed from idx
TARGETS = dict(
    Classification=dict(label=lambda idx: idx % 4),
    RelativeLoc=dict(patch_label=lambda idx: torch.arange(8).expand(len(idx), 8)),
    RotationPred=dict(rot_label=lambda idx: torch.arange(4).expand(len(idx), 4)))
TWO_VIEWS = [name for name in CONFIGS if name not in VIEWS]


def build(name, seed=0, **changes):
    """An initialised model of the algorithm of this name.

    Without dropout: each process draws it for its own samples, so that two could not equal one.
    """
    torch.manual_seed(seed)
    model = build_algorithm(dict(CONFIGS[name], **changes))
    model.init_weights()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.
    return model


def batch(name, size=8, seed=0, start=0, stop=None):
    """Rows `start` to `stop` of a random batch, as a loader gives it."""
    generator = torch.Generator().manual_seed(seed)
    count = VIEWS.get(name, 2)
    views = [torch.randn(size, 3, 32, 32, generator=generator)[start:stop] for _ in range(count or 1)]
    idx = torch.arange(size)[start:stop]
    targets = {key: target(idx) for key, target in TARGETS.get(name, {}).items()}
    return dict(img=views if count else views[0], idx=idx, **targets)
