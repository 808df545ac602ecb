# Copyright (c) mmssl contributors. All rights reserved.
"""A teacher whose features were computed once, and are read again."""
import numpy as np
import torch
from torch import nn

from mmssl.utils.errors import ConfigError
from mmssl.utils.stored_arrays import stored_array, stored_settings

_ON_DEVICE = 2 << 30  # bytes


class StoredTeacher(nn.Module):
    """Features of the training images in files, which tools/extract_features.py has written, in place of a network.

    A row belongs to an image, not to a view: the teacher has seen the image as a whole, whatever the student sees of
    it. The files are opened before the training; evaluating a student does not need them. Features of up to 2 GiB
    stay on the device of the images, larger ones in their file: then each iteration waits for the GPU once.

    Args:
        features (str): Folder of the files.
        layer (str): Which of the layers in it.
        split (str): Of which split; its data set is to be that of the training.
    """
    out_channels = None  # the files tell, when they are opened

    def __init__(self, features, layer='pooled', split='train'):
        super().__init__()
        self.features, self.layer, self.split = features, layer, split
        self.files = None
        vars(self)['_rows'] = None  # no buffer: neither checkpoints nor DDP see it

    def open(self):
        """Open the files, once.

        Returns:
            dict: Their settings.

        Raises:
            FileNotFoundError: There are none.
            ConfigError: The layer is not in them, or is no vector an image.
        """
        settings = stored_settings(self.features, self.split, [self.layer])
        if self._rows is None:
            values = stored_array(self.features, self.split, self.layer)
            if values.ndim != 2:
                raise ConfigError(f'{self.features}: {self.layer} has the shape {values.shape}, a teacher has one '
                                  'vector for each image')
            index = np.array(stored_array(self.features, self.split, 'index'))
            places = np.full(settings['samples'], -1)
            places[index] = np.arange(len(index))
            self.out_channels = values.shape[1]
            self.files = settings['files']
            vars(self)['_rows'] = torch.from_numpy(values), torch.from_numpy(places)
        return settings

    def fit_to_data(self, samples, views=None):
        """See that the files have a row for each training sample, see BaseModel.fit_to_data."""
        stored = self.open()['samples']
        if stored != samples:
            raise ConfigError(f'{self.features} has features of {stored} images ({self.split}), the training data has '
                              f'{samples}: they must be those of the same data set')

    def check_files(self, files):
        """See that the features are those of the training's files.

        Args:
            files (str): Digest of their names and sizes, see files_digest of mmssl.evaluation.

        Raises:
            ConfigError: They are not.
        """
        if files != self.files:
            raise ConfigError(f'model.teacher: the images of which {self.features} has features ({self.split}_files.txt'
                              ') have other names, sizes or another order than those of data.train: extract them of '
                              'this data set')

    def forward(self, img, idx):
        """The rows of images, N x D.

        Args:
            img (Tensor): The images, which tell type and device.
            idx (Tensor): Their numbers in the data set, N.

        Raises:
            ConfigError: An image could not be read when the features were made, and can be now.
        """
        self.open()
        values, places = self._rows
        if values.device != img.device and values.numel() * values.element_size() <= _ON_DEVICE:
            # what could not be read gets a row of NaN, at the end
            values = torch.cat([values, values.new_full((1, values.shape[1]), torch.nan)])
            values, places = (x.to(img.device, non_blocking=True) for x in (values, places))
            vars(self)['_rows'] = values, places
        found = places[idx.to(places.device)]
        if not found.is_cuda and (found < 0).any():
            raise ConfigError(
                f'{self.features} has no features of sample {int(idx[found.argmin()])}, which could not be '
                'read then: extract them again')
        return values[found].to(img)
