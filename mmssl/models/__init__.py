# Copyright (c) mmssl contributors. All rights reserved.
"""Models. Importing this registers all of them; timm, torchvision's networks and mmcls are imported when used."""
from .algorithms import *  # noqa: F403
from .backbones import *  # noqa: F403
from .builder import (ALGORITHMS, BACKBONES, HEADS, LOSSES, MEMORIES, MODELS, NECKS, build_algorithm, build_backbone,
                      build_head, build_loss, build_memory, build_neck)
from .heads import *  # noqa: F403
from .losses import *  # noqa: F403
from .memories import *  # noqa: F403
from .necks import *  # noqa: F403
from .utils import *  # noqa: F403
