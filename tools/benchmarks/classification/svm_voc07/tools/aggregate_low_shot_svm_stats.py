# Copyright (c) mmssl contributors. All rights reserved.
"""Low-shot SVMs: mean, maximum, minimum and standard deviation over the draws, of the best cost of each k."""
from mmssl.utils.misc import run_tool
from mmssl.utils.svm_options import parser


def main():
    args = parser(__doc__, 'output_path', 'k_values', 'sample_inds').parse_args()
    from mmssl.evaluation import svm_steps
    found = svm_steps.aggregate(args.output_path, args.k_values, [index + 1 for index in args.sample_inds])
    for k, values in found.items():
        print(f'k={k}: mean/min/max/std: ' + ' / '.join(f'{100 * values[name]:.2f}'
                                                        for name in ('mean', 'min', 'max', 'std')))


if __name__ == '__main__':
    run_tool(main)
