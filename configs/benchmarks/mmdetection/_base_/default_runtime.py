# Copyright (c) mmssl contributors. All rights reserved.
from mmssl.downstream.base_configs import base_configs

_base_ = base_configs('mmdet', 'default_runtime.py')

custom_imports = dict(imports=['mmssl.downstream.detection'], allow_failed_imports=False)
