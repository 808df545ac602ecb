# Copyright (c) mmssl contributors. All rights reserved.
"""Weights that travel: key layouts of other libraries, files of weights, conversion, checks and export."""
