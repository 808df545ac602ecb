# Copyright (c) mmssl contributors. All rights reserved.
"""Cluster the features of any checkpoint, and write the clusters as labels to train on (ClusterFit, step 1).

Into the folder go SPLIT_labels.npy (the cluster of each image of data.SPLIT; of other splits than the first the nearest
centroid; -1 for images that cannot be read), centroids.npy, pca.npz where --pca is given, clusters.json, and the
features, which another run takes again. Several processes share the work.
"""
import argparse

from mmssl.utils.misc import run_tool


def parse_args():
    from mmssl.utils.evaluation_options import add_evaluation_options
    parser = argparse.ArgumentParser(description=__doc__)
    add_evaluation_options(parser, 'configs/benchmarks/classification/knn_imagenet.py')
    parser.add_argument('--clusters', type=int, required=True, help='their number, such as 16000')
    parser.add_argument('--out-dir', required=True, metavar='FOLDER', help='for the files')
    parser.add_argument('--iterations', type=int, default=50, help='of k-means (default: %(default)s)')
    parser.add_argument('--pca', type=int, metavar='D', help='cluster D principal components (default: the features)')
    parser.add_argument(
        '--backend',
        choices=['torch', 'faiss'],
        default='torch',
        help='torch shares k-means over processes, faiss works in the first one alone (default: %(default)s)')
    parser.add_argument(
        '--splits',
        nargs='+',
        default=['train', 'val'],
        help='sections of data; the first is clustered, the others take its clusters (default: train val)')
    parser.add_argument('--seed', type=int, default=0, help='of the first centroids')
    parser.add_argument('--dtype', choices=['float32', 'float16'], default='float32', help='of the stored features')
    parser.add_argument('--overwrite', action='store_true', help='throw away features with other settings')
    args = parser.parse_args()
    if len(args.layers) != 1:
        parser.error(f'clusters are those of one layer, --layers names {len(args.layers)}: {" ".join(args.layers)}')
    return args


def main():
    args = parse_args()
    from mmssl.apis.clusterfit import cluster_features
    from mmssl.apis.evaluation import EvaluationRun
    cluster_features(EvaluationRun(args, [f'data.{split}' for split in args.splits], 'cluster_features'), args)


if __name__ == '__main__':
    run_tool(main, distributed=True)
