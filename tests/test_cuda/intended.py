"""Where the host may wait for the device, by file and function, with the reason."""

# Within an iteration of training: each wait leaves the device idle until the host has queued what comes next
IN_ITERATION = {
    ('mmssl/core/hooks/collapse_monitor.py', 'after_train_iter'): 'logs what it saw, at its interval only',
    ('mmssl/core/hooks/odc_hook.py', 'evaluate'): 'logs the sizes of clusters, at its interval only',
    ('mmssl/core/hooks/uniform_scores.py', 'after_train_iter'): 'compares the loss, at its interval only',
    ('mmssl/core/log_buffer.py', 'average'): 'one transfer of all means, at the log interval only',
    ('mmssl/models/algorithms/cae.py', 'check_batch'): 'looks once at the first batch',
    ('mmssl/models/heads/cae_head.py', 'tokens'): 'moves the tokenizer to the device, once',
    ('mmssl/models/memories/cluster.py', 'deal_with_small_clusters'): 'which clusters are small decides what is done',
    ('mmssl/models/memories/cluster.py', 'split_in_two'): 'where there are small clusters',
    ('mmssl/models/memories/cluster.py', 'update_centroids_memory'): 'where there were small clusters',
    ('mmssl/utils/checkpoint.py', 'load_weights'): 'a frozen teacher reads its weights when it is first asked',
    ('mmssl/core/hooks/optimizer_hook.py', '_update'): 'float16: torch asks whether to leave the step out',
}

# Before, between and after the iterations
ELSEWHERE = {
    ('mmssl/core/hooks/deepcluster_hook.py', 'cluster'): 'clusters come from the host, an epoch',
    ('mmssl/core/hooks/deepclusterv2_hook.py', 'before_run'): 'whether the memory holds features, once',
    ('mmssl/core/hooks/deepclusterv2_hook.py', 'before_train_epoch'): 'logs the sizes of clusters, an epoch',
    ('mmssl/core/hooks/odc_hook.py', 'before_run'): 'warns of an empty memory',
    ('mmssl/core/hooks/odc_hook.py', 'evaluate'): 'logs the sizes of clusters',
    ('mmssl/core/parallel.py', 'prepare_model'): 'moves the model',
    ('mmssl/datasets/loader.py', '__init__'): 'mean and std of the images, once a loader',
    ('mmssl/evaluation/features.py', '_extract_part'): 'features go to the memory of the host, a batch',
    ('mmssl/models/algorithms/deepcluster.py', 'set_reweight'): 'clusters come from the host, an epoch',
    ('mmssl/models/memories/cluster.py', '_set_labels'): 'clusters come from the host',
    ('mmssl/models/memories/cluster.py', 'cluster_sizes'): 'clusters come from the host',
    ('mmssl/models/memories/cluster.py', 'init_memory'): 'features come from the host',
    ('mmssl/models/memories/crop_memory.py', 'cluster'): 'the samples that have been seen, an epoch',
    ('mmssl/models/utils/frozen_teacher.py', '_apply'): 'moves the teacher',
    ('mmssl/utils/kmeans.py', '__init__'): 'the numbers of rows, once a clustering',
    ('mmssl/utils/kmeans.py', 'check_finite'): 'looks at the features once a clustering',
    ('mmssl/utils/kmeans.py', 'distributed_kmeans'): 'the losses of all iterations at the end',
    ('mmssl/utils/kmeans.py', 'take'): 'the first centroids, from where the features are',
}

MET = set()  # places of both lists where some test has waited


def unintended(device):
    """Where the host has waited although neither list says so, one line a place."""
    MET.update(device.syncs)
    return [
        f'{file}:{device.lines[file, function]} in {function}, {count} times' +
        (' within the iterations' if inside else '') for (inside, file, function), count in device.syncs.items()
        if (file, function) not in (IN_ITERATION if inside else ELSEWHERE)
    ]


def left_over():
    """Entries where no test has waited."""
    known = {(True, *place) for place in IN_ITERATION} | {(False, *place) for place in ELSEWHERE}
    return known - MET
