# Copyright (c) mmssl contributors. All rights reserved.
from mmssl.downstream.base_configs import base_configs

_base_ = base_configs('mmseg', 'default_runtime.py')

custom_imports = dict(imports=['mmssl.downstream.segmentation'], allow_failed_imports=False)
