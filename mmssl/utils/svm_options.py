# Copyright (c) mmssl contributors. All rights reserved.
"""Arguments that the separate steps of the SVM benchmark have in common; both spellings, a-b and a_b."""
import argparse


def numbers(kind):
    """A function that reads '1,2,4' as a list of `kind`."""

    def read(text):
        return [kind(word) for word in text.replace(',', ' ').split()]

    read.__name__ = f'list of {kind.__name__}s'  # what argparse calls it
    return read


def parser(description, *names):
    """A parser with the arguments of these names."""
    known = dict(
        data_file=dict(required=True, help='.npy file of features, N x D'),
        targets_data_file=dict(required=True, help='.npy file of targets, N x C of 1, 0 and -1'),
        output_path=dict(required=True, help='folder of the SVMs and results'),
        costs_list=dict(type=numbers(float), default=[0.01, 0.1], help='weights of the loss (default: 0.01,0.1)'),
        cls_list=dict(type=numbers(int), help='classes by number (default: all)'),
        k_values=dict(
            type=numbers(int),
            default=[1, 2, 4, 8, 16, 32, 64, 96],
            help='numbers of positives (default: 1,2,4,8,16,32,64,96)'),
        sample_inds=dict(
            type=numbers(int), default=[0, 1, 2, 3, 4], help='draws by number, from 0 (default: 0,1,2,3,4)'))
    result = argparse.ArgumentParser(description=description)
    for name in names:
        result.add_argument(f'--{name}', f'--{name.replace("_", "-")}', metavar=name.upper(), **known[name])
    return result
