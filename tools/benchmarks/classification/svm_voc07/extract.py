# Copyright (c) mmssl contributors. All rights reserved.
"""Step 1 of the SVM benchmark: WORK_DIR/features/voc07_trainval_feat5.npy, voc07_test_feat5.npy and so on.

The targets lie beside them: voc07_trainval_targets.npy and voc07_test_targets.npy.
"""
import argparse


def parse_args():
    from mmssl.utils.evaluation_options import add_evaluation_options
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_evaluation_options(parser, 'configs/benchmarks/classification/svm_voc07.py', layers=('stage4', ))
    parser.set_defaults(pool_type='specified')
    args = parser.parse_args()
    if not args.work_dir:
        parser.error('--work-dir is needed: the features go to its folder features')
    return args


def main():
    args = parse_args()

    from pathlib import Path

    import numpy as np

    from mmssl.apis.evaluation import EvaluationRun
    from mmssl.utils import dist
    from mmssl.utils.misc import atomic_write

    run = EvaluationRun(args, name='extract')
    for split, name in (('train', 'voc07_trainval'), ('val', 'voc07_test')):
        found = run.extract(split)
        arrays = {
            f'feat{int(layer[-1]) + 1}' if layer[:-1] == 'stage' else layer: found[layer]
            for layer in args.layers
        }
        targets = getattr(run.dataset(split).data_source, 'targets', None)
        if targets is not None:
            arrays['targets'] = targets[found.index]
        for key, array in arrays.items() if dist.get_rank() == 0 else ():
            with atomic_write(Path(args.work_dir) / f'features/{name}_{key}.npy', 'wb') as file:
                np.save(file, array.reshape(len(array), -1))
    run.logger.info(f'features are in {args.work_dir}/features')


if __name__ == '__main__':
    from mmssl.utils.misc import run_tool
    run_tool(main, distributed=True)
