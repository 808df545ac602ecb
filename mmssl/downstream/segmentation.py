# Copyright (c) mmssl contributors. All rights reserved.
"""For configs of mmsegmentation: custom_imports = dict(imports=['mmssl.downstream.segmentation'])."""
from .mend import mend

mend('mmseg')
