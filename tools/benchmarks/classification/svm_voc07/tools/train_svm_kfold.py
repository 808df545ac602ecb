# Copyright (c) mmssl contributors. All rights reserved.
"""Step 2 of the SVM benchmark: train an SVM for each class and cost, with 3-fold cross-validation, on all cores."""
from mmssl.utils.misc import run_tool
from mmssl.utils.svm_options import parser


def main():
    args = parser(__doc__, 'data_file', 'targets_data_file', 'output_path', 'costs_list', 'cls_list').parse_args()
    from mmssl.evaluation import svm_steps
    features, targets = svm_steps.read_arrays(args.data_file, args.targets_data_file)
    count = svm_steps.train(features, targets, args.output_path, args.costs_list, args.cls_list)
    print(f'{count} SVMs trained, in {args.output_path}')


if __name__ == '__main__':
    run_tool(main)
