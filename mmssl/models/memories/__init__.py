# Copyright (c) mmssl contributors. All rights reserved.
from .cluster import InterCLRMemory, ODCMemory
from .queue import enqueue, new_queue

__all__ = ['InterCLRMemory', 'ODCMemory', 'enqueue', 'new_queue']
