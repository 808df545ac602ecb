# Copyright (c) mmssl contributors. All rights reserved.
"""Head of CAE."""
import functools

import torch
from mmcv.runner import BaseModule

from mmssl.utils.checkpoint import CheckpointError, get_state_dict, read_checkpoint
from mmssl.utils.errors import ConfigError
from ..backbones.cae_vit import split_patches
from ..builder import HEADS
from ..losses import cross_entropy, masked_mse
from ..utils.dall_e import Encoder, map_pixels


@HEADS.register_module()
class CAEHead(BaseModule):
    """Masked patches are predicted twice (CAE, https://arxiv.org/abs/2202.03026): as tokens of DALL-E's encoder
    and as latents of a teacher.

    The file of the tokenizer is read when the first loss is computed: building, initialising or evaluating a model
    does not need it.

    Args:
        tokenizer_path (str | None): File with the weights of DALL-E's encoder, a state dict; the sizes of the encoder
            are those of the weights.
        lambd (float): Weight of the loss of the latents.
        init_cfg (dict, optional): Initialisation.
        random_tokenizer (dict, optional): Sizes of a random encoder that takes the place of the file (arguments of
            Encoder), and its `seed`: for a try without DALL-E's weights.
    """

    def __init__(self, tokenizer_path, lambd, init_cfg=None, random_tokenizer=None):
        super().__init__(init_cfg)
        self.tokenizer_path = tokenizer_path
        self.lambd = lambd
        self.random_tokenizer = random_tokenizer

    @functools.cached_property
    def tokenizer(self):
        """The encoder, which as a property is no part of the module, and so is not trained, counted or saved.

        Raises:
            FileNotFoundError: There is no such file.
            CheckpointError: The file holds something else.
        """
        if self.random_tokenizer is not None:
            sizes = dict(self.random_tokenizer)
            with torch.random.fork_rng(devices=[]):  # the training's random numbers stay as they are
                torch.default_generator.manual_seed(sizes.pop('seed', 0))
                return Encoder(**sizes).eval()
        try:
            weights = get_state_dict(read_checkpoint(self.tokenizer_path))
            print(f'{self.tokenizer_path}:')
            return Encoder.from_weights(weights).eval()
        except (FileNotFoundError, CheckpointError) as error:
            message = (f'{error}. CAE predicts tokens of the image encoder of DALL-E, which is a file of yours: '
                       f'tokenizer_path is {self.tokenizer_path!r} and must name its weights as a state dict. Put it '
                       'there, or set model.head.tokenizer_path; of a pickled encoder.pkl, '
                       'torch.save(encoder.state_dict(), PATH) makes one, once, where you trust that file')
            raise type(error)(message) from error

    @torch.no_grad()
    def tokens(self, img):
        """Images between 0 and 1, B x C x H x W, to the indices of their tokens, B x H/8 x W/8."""
        # no part of this module, it does not move with it; half precision would round its weights for good
        encoder = self.tokenizer.to(img.device, torch.promote_types(img.dtype, torch.float32))
        return encoder(map_pixels(img)).argmax(1)

    def forward(self, img_target, outputs, latent_pred, latent_target, mask):
        """The loss.

        Args:
            img_target (Tensor): Images between 0 and 1 with a token for each patch, B x C x 8h x 8w.
            outputs (Tensor): Scores of the tokens of the M masked patches of each image, in row order,
                B x M x vocabulary or B*M x vocabulary.
            latent_pred (Tensor): Predicted latents of the masked patches, B x M x D.
            latent_target (Tensor): Those of the teacher, B x M x D; they get no gradient.
            mask (Tensor): B x h x w or B x h*w, 1 for a masked patch; M of them in each image.

        Returns:
            dict[str, Tensor]: `loss`, and its parts `main` (tokens) and `align` (latents, weighted).

        Raises:
            ConfigError: Tokens, mask and scores do not fit each other.
        """
        tokens = self.tokens(img_target)
        grid = tokens.shape if mask.dim() == 3 else tokens.flatten(1).shape
        if mask.shape != grid:
            raise ConfigError(f'the mask is {tuple(mask.shape)}, the tokens of the second images of '
                              f'{tuple(img_target.shape[2:])} pixels are {tuple(grid)}: second_size must be 8 times '
                              'the number of patches along a side')
        if outputs.shape[-1] != self.tokenizer.vocab_size:
            raise ConfigError(f'scores of {outputs.shape[-1]} tokens are predicted, {self.tokenizer_path} has '
                              f'{self.tokenizer.vocab_size}: set model.neck.num_classes')
        outputs = outputs.flatten(0, -2)
        mask = mask.flatten(1)
        masked = split_patches(mask, mask.shape[1] - len(outputs) // len(mask))[1]  # B x M
        main = cross_entropy(outputs, tokens.flatten(1).gather(1, masked).flatten())
        align = self.lambd * masked_mse(latent_pred, latent_target.detach())
        return dict(loss=main + align, main=main, align=align)
