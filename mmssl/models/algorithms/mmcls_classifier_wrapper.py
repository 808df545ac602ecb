# Copyright (c) mmssl contributors. All rights reserved.
"""Classifiers of MMClassification."""
from mmssl.utils.errors import ConfigError
from mmssl.utils.registry import accepted_arguments
from ..builder import ALGORITHMS
from ..losses.precision import in_float32
from ..utils.accuracy import Accuracy
from ..utils.augment import build_augments
from ..utils.position_embedding import resize_bias_table
from .base import BackboneNeckHead, scores_by_stage


@ALGORITHMS.register_module()
class MMClsImageClassifierWrapper(BackboneNeckHead):
    """What mmcls.ImageClassifier is, with its state-dict keys, for our runners, data sets and evaluations.

    Args:
        backbone (dict): Config of the backbone, such as dict(type='mmcls.SwinTransformer', ...). Names without a scope
            are ours.
        neck (dict, optional): Config of the neck.
        head (dict, optional): Config of a head of mmcls for one label an image.
        pretrained (str, optional): Checkpoint of a whole classifier to begin with, in place of `init_cfg`.
        train_cfg (dict, optional): `augments`: config of mmcls's batch augmentations (Mixup, CutMix).
        init_cfg (dict | list[dict], optional): Initialisation.

    Raises:
        ConfigError: A head that is none of mmcls's for one label an image.
    """
    needs_labels = True
    optional_parts = ('neck', 'head')

    def __init__(self, backbone, neck=None, head=None, pretrained=None, train_cfg=None, init_cfg=None):
        _mend_resizing()
        super().__init__(backbone, neck, head,
                         init_cfg if pretrained is None else dict(type='Pretrained', checkpoint=pretrained))
        if self.with_head:
            if not hasattr(self.head, 'simple_test') or 'softmax' not in accepted_arguments(self.head.simple_test)[0]:
                raise ConfigError(f'{type(self).__name__} takes a head of mmcls for one label an image, such as '
                                  f"'mmcls.LinearClsHead', got {head['type']!r}; Classification takes ours")
            # mmcls counts no hit whose score is negative, and fails at mixed labels
            self.head.compute_accuracy = Accuracy(self.head.topk)
        self.augments = build_augments(train_cfg, self.head)

    def _head_input(self, img):
        x = self.extract_feat(img)
        return self.neck(x) if self.with_neck else x

    def forward_train(self, img, label, **kwargs):
        """Images (N x C x H x W) and labels (N) to losses and, with `cal_acc` of the head, accuracies."""
        if label.dim() != 1 or label.is_floating_point():  # a head of mmcls may take them for shares of classes
            raise ConfigError(f'{type(self).__name__} takes one integer an image as its label, got {label.dtype} of '
                              f'shape {tuple(label.shape)}; Classification takes several labels an image')
        if self.augments is not None:
            img, label = self.augments(img, label)
        losses = _losses(label, self._head_input(img), self.head)
        return {**losses.pop('accuracy', {}), **losses}

    def forward_test(self, img, **kwargs):
        """Images to scores before the softmax, N x num_classes on the CPU, by stage as in Classification."""
        scores = self.head.simple_test(self._head_input(img), softmax=False, post_process=False)
        return scores_by_stage(self.backbone, scores if isinstance(scores, (tuple, list)) else [scores])


def _mend_resizing():
    """Have mmcls's Swin fit weights of another window without the function of SciPy that its release 1.14 took out."""
    from mmcls.models.backbones import swin_transformer
    swin_transformer.resize_relative_position_bias_table = \
        lambda src_shape, dst_shape, table, num_head: resize_bias_table(table, dst_shape)


@in_float32
def _losses(label, x, head):
    return head.forward_train(x, label)
