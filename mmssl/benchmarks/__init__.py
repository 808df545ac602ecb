# Copyright (c) mmssl contributors. All rights reserved.
"""Speed: a training step, the data path, cluster assignment, MAE, and all algorithms side by side."""
