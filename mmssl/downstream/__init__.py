# Copyright (c) mmssl contributors. All rights reserved.
"""What mmdetection 2.x and mmsegmentation 0.x need of this package when they train on our weights.

Nothing here is imported by the rest of mmssl. Configs of mmdetection name `mmssl.downstream.detection`, those of
mmsegmentation `mmssl.downstream.segmentation` in their custom_imports.
"""
