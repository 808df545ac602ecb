# Copyright (c) mmssl contributors. All rights reserved.
"""`python -m mmssl` is the command `mmssl`."""
from mmssl.cli import main

if __name__ == '__main__':
    main()
