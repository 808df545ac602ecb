# Copyright (c) mmssl contributors. All rights reserved.
"""Low-shot SVMs: mean average precision of each draw, k and cost on the test images."""
from mmssl.utils.misc import run_tool
from mmssl.utils.svm_options import parser


def main():
    args = parser(__doc__, 'data_file', 'targets_data_file', 'output_path', 'costs_list', 'k_values',
                  'sample_inds').parse_args()
    from mmssl.evaluation import svm_steps
    features, targets = svm_steps.read_arrays(args.data_file, args.targets_data_file)
    draws = [index + 1 for index in args.sample_inds]
    svm_steps.score_low_shot(features, targets, args.output_path, args.costs_list, args.k_values, draws)
    print(f'{len(draws) * len(args.k_values)} files test_ap_sample*_k*.npy in {args.output_path}')


if __name__ == '__main__':
    run_tool(main)
