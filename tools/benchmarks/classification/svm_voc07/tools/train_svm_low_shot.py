# Copyright (c) mmssl contributors. All rights reserved.
"""Low-shot SVMs: train one for each class and cost on one draw of samples, on all cores.

The name of the file of targets ends with sample{draw}_k{k}.npy, as
create_voc_low_shot_challenge_samples.py writes it.
"""
import re

from mmssl.utils.misc import run_tool
from mmssl.utils.svm_options import parser


def main():
    args = parser(__doc__, 'data_file', 'targets_data_file', 'output_path', 'costs_list').parse_args()
    from mmssl.evaluation import svm_steps
    from mmssl.utils.errors import ConfigError
    sample = re.search(r'sample\d+_k\d+(?=\.npy$)', args.targets_data_file)
    if not sample:
        raise ConfigError(
            f'--targets_data_file {args.targets_data_file}: the name must end with sample1_k4.npy or such')
    features, targets = svm_steps.read_arrays(args.data_file, args.targets_data_file)
    count = svm_steps.train_low_shot(features, targets, args.output_path, args.costs_list, sample[0])
    print(f'{count} SVMs trained, in {args.output_path}')


if __name__ == '__main__':
    run_tool(main)
