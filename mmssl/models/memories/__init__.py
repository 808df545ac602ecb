# Copyright (c) mmssl contributors. All rights reserved.
from .queue import enqueue, new_queue

__all__ = ['enqueue', 'new_queue']
