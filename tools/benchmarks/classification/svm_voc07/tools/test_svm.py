# Copyright (c) mmssl contributors. All rights reserved.
"""Step 3 of the SVM benchmark: average precision of the trained SVMs on the test images."""
from mmssl.utils.misc import run_tool
from mmssl.utils.svm_options import parser


def main():
    args = parser(__doc__, 'data_file', 'targets_data_file', 'output_path', 'costs_list', 'cls_list').parse_args()
    from mmssl.evaluation import svm_steps
    features, targets = svm_steps.read_arrays(args.data_file, args.targets_data_file)
    mean, _ = svm_steps.score(features, targets, args.output_path, args.costs_list, args.cls_list)
    print(f'Mean AP: {100 * mean:.2f}, that of each class in {args.output_path}/test_ap.npy')


if __name__ == '__main__':
    run_tool(main)
