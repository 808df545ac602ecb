# Copyright (c) mmssl contributors. All rights reserved.
"""The same as train_svm_kfold.py, which uses all cores."""
import runpy
from pathlib import Path

if __name__ == '__main__':
    runpy.run_path(str(Path(__file__).with_name('train_svm_kfold.py')), run_name='__main__')
