# Copyright (c) mmssl contributors. All rights reserved.
"""What fits what is there: data, device and time -> a config, each value with its reason."""
from .recipe import Choice, Recipe

__all__ = ['Choice', 'Recipe']
