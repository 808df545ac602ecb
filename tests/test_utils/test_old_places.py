"""Names of MMSelfSup 0.x are importable from where users import them."""
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmssl import old_places

# module of MMSelfSup 0.x: what it defines
DEFINED = """
apis.inference: init_model inference_model
apis.train: init_random_seed set_random_seed train_model
core.hooks.cosine_annealing_hook: StepFixCosineAnnealingLrUpdaterHook
core.hooks.deepcluster_hook: DeepClusterHook
core.hooks.densecl_hook: DenseCLHook
core.hooks.interclr_hook: InterCLRHook
core.hooks.momentum_update_hook: MomentumUpdateHook
core.hooks.odc_hook: ODCHook
core.hooks.optimizer_hook: DistOptimizerHook
core.hooks.simsiam_hook: SimSiamHook
core.hooks.swav_hook: SwAVHook
core.optimizer.builder: build_optimizer
core.optimizer.constructor: DefaultOptimizerConstructor
core.optimizer.optimizers: LARS
core.optimizer.transformer_finetune_constructor: TransformerFinetuneConstructor
datasets.base: BaseDataset
datasets.builder: build_datasource build_dataset build_dataloader worker_init_fn
datasets.data_sources.base: BaseDataSource
datasets.data_sources.cifar: CIFAR10 CIFAR100
datasets.data_sources.image_list: ImageList
datasets.data_sources.imagenet: has_file_allowed_extension find_folders get_samples ImageNet
datasets.data_sources.imagenet_21k: ImageNet21k
datasets.dataset_wrappers: ConcatDataset RepeatDataset
datasets.deepcluster: DeepClusterDataset
datasets.multi_view: MultiViewDataset
datasets.pipelines.transforms: ToTensor SimMIMMaskGenerator BEiTMaskGenerator
    RandomResizedCropAndInterpolationWithTwoPic RandomAug RandomAppliedTrans Lighting GaussianBlur Solarization
    MaskFeatMaskGenerator
datasets.relative_loc: image_to_patches RelativeLocDataset
datasets.rotation_pred: rotate RotationPredDataset
datasets.samplers.distributed_sampler: DistributedSampler DistributedGivenIterationSampler
datasets.samplers.group_sampler: GroupSampler DistributedGroupSampler
datasets.single_view: SingleViewDataset
datasets.utils: to_numpy rm_suffix calculate_md5 check_md5 check_integrity download_url_to_file download_url
    extract_archive download_and_extract_archive PrefetchLoader
models.algorithms.barlowtwins: BarlowTwins
models.algorithms.base: BaseModel
models.algorithms.byol: BYOL
models.algorithms.cae: CAE
models.algorithms.classification: Classification
models.algorithms.deepcluster: DeepCluster
models.algorithms.densecl: DenseCL
models.algorithms.interclr_moco: InterCLRMoCo
models.algorithms.mae: MAE
models.algorithms.maskfeat: MaskFeat
models.algorithms.mmcls_classifier_wrapper: MMClsImageClassifierWrapper
models.algorithms.moco: MoCo
models.algorithms.mocov3: MoCoV3
models.algorithms.npid: NPID
models.algorithms.odc: ODC
models.algorithms.relative_loc: RelativeLoc
models.algorithms.rotation_pred: RotationPred
models.algorithms.simclr: SimCLR
models.algorithms.simmim: SimMIM
models.algorithms.simsiam: SimSiam
models.algorithms.swav: SwAV
models.backbones.cae_vit: CAEViT
models.backbones.mae_vit: MAEViT
models.backbones.maskfeat_vit: MaskFeatViT
models.backbones.mim_cls_vit: MIMVisionTransformer
models.backbones.resnet: ResNet ResNetV1d
models.backbones.resnext: ResNeXt
models.backbones.simmim_swin: SimMIMSwinTransformer
models.backbones.vision_transformer: VisionTransformer
models.builder: build_algorithm build_backbone build_neck build_head build_memory
models.heads.cae_head: CAEHead
models.heads.cls_head: ClsHead
models.heads.contrastive_head: ContrastiveHead
models.heads.latent_pred_head: LatentPredictHead LatentClsHead LatentCrossCorrelationHead
models.heads.mae_head: MAEPretrainHead MAEFinetuneHead MAELinprobeHead
models.heads.maskfeat_head: MaskFeatPretrainHead MaskFeatFinetuneHead
models.heads.mocov3_head: MoCoV3Head
models.heads.multi_cls_head: MultiClsHead
models.heads.simmim_head: SimMIMHead
models.heads.swav_head: SwAVHead
models.memories.interclr_memory: InterCLRMemory
models.memories.odc_memory: ODCMemory
models.memories.simple_memory: SimpleMemory
models.necks.avgpool2d_neck: AvgPool2dNeck
models.necks.cae_neck: CAENeck
models.necks.densecl_neck: DenseCLNeck
models.necks.linear_neck: LinearNeck
models.necks.mae_neck: MAEPretrainDecoder
models.necks.mocov2_neck: MoCoV2Neck
models.necks.nonlinear_neck: NonLinearNeck
models.necks.odc_neck: ODCNeck
models.necks.relative_loc_neck: RelativeLocNeck
models.necks.simmim_neck: SimMIMNeck
models.necks.swav_neck: SwAVNeck
models.utils.accuracy: accuracy Accuracy
models.utils.dall_e: Conv2d EncoderBlock Encoder
models.utils.extract_process: ExtractProcess MultiExtractProcess
models.utils.gather_layer: GatherLayer
models.utils.hog_layer: HOGLayerC
models.utils.knn_classifier: knn_classifier
models.utils.multi_pooling: MultiPooling
models.utils.multi_prototypes: MultiPrototypes
models.utils.position_embedding: build_2d_sincos_position_embedding
models.utils.sobel: Sobel
models.utils.transformer_blocks: MultiheadAttention MultiheadAttentionWithRPE TransformerEncoderLayer
    CAETransformerRegressorLayer CrossMultiheadAttention
utils.alias_multinomial: AliasMethod
utils.batch_shuffle: batch_shuffle_ddp batch_unshuffle_ddp
utils.clustering: preprocess_features make_graph run_kmeans Kmeans make_adjacencyW run_pic find_maxima_cluster PIC
utils.collect: nondist_forward_collect dist_forward_collect
utils.collect_env: collect_env
utils.dist_utils: sync_random_seed
utils.distributed_sinkhorn: distributed_sinkhorn
utils.extractor: Extractor
utils.gather: gather_tensors gather_tensors_batch concat_all_gather
utils.logger: get_root_logger
utils.misc: tensor2imgs find_latest_checkpoint
utils.setup_env: setup_multi_processes
utils.test_helper: single_gpu_test multi_gpu_test
version: parse_version_info
"""

# package of MMSelfSup 0.x: what it exports besides, as users import it
EXPORTED = """
: __version__ version_info digit_version
apis: inference_model init_model init_random_seed set_random_seed train_model
core: DeepClusterHook DenseCLHook DistOptimizerHook InterCLRHook LARS MomentumUpdateHook ODCHook SimSiamHook SwAVHook
    StepFixCosineAnnealingLrUpdaterHook TransformerFinetuneConstructor build_optimizer
datasets: DATASETS DATASOURCES PIPELINES BaseDataset ConcatDataset RepeatDataset DeepClusterDataset MultiViewDataset
    RelativeLocDataset RotationPredDataset SingleViewDataset build_dataloader build_dataset build_datasource
datasets.builder: DATASETS DATASOURCES PIPELINES
datasets.data_sources: BaseDataSource CIFAR10 CIFAR100 ImageList ImageNet ImageNet21k
datasets.samplers: DistributedSampler DistributedGivenIterationSampler DistributedGroupSampler GroupSampler
models: ALGORITHMS BACKBONES HEADS MEMORIES NECKS BaseModel build_algorithm build_backbone build_head build_memory
    build_neck
models.builder: ALGORITHMS BACKBONES HEADS MEMORIES NECKS
models.utils: Accuracy accuracy Encoder ExtractProcess MultiExtractProcess GatherLayer knn_classifier MultiPooling
    MultiPrototypes Sobel build_2d_sincos_position_embedding CAETransformerRegressorLayer MultiheadAttention
    TransformerEncoderLayer
utils: AliasMethod Extractor batch_shuffle_ddp batch_unshuffle_ddp collect_env concat_all_gather dist_forward_collect
    distributed_sinkhorn find_latest_checkpoint gather_tensors gather_tensors_batch get_root_logger multi_gpu_test
    nondist_forward_collect setup_multi_processes single_gpu_test sync_random_seed
"""


def places(text):
    """(module, names) of each paragraph."""
    for entry in text.strip().replace('\n    ', ' ').splitlines():
        module, _, names = entry.partition(':')
        yield f'mmssl.{module}'.rstrip('.'), names.split()


@pytest.mark.parametrize('module, names', [*places(DEFINED), *places(EXPORTED)])
def test_name_is_importable_from_its_old_place(module, names):
    found = importlib.import_module(module)
    assert [name for name in names if not hasattr(found, name)] == []


@pytest.mark.parametrize('old, new', old_places.MODULES.items())
def test_old_module_is_the_new_one(old, new):
    """One module under two names: a registry or a class must not exist twice."""
    assert importlib.import_module(old) is importlib.import_module(new)
    assert importlib.import_module(new).__spec__.name == new


@pytest.mark.parametrize('package, name', [('mmssl.utils', 'collect_env'), ('mmssl.utils', 'distributed_sinkhorn'),
                                           ('mmssl.models.utils', 'knn_classifier'),
                                           ('mmssl.models.utils', 'accuracy')])
def test_function_wins_over_the_submodule_of_its_name(package, name):
    importlib.import_module(f'{package}.{name}')
    assert getattr(importlib.import_module(package), name).__name__ == name


@pytest.mark.long
def test_old_places_cost_no_import():
    code = ('import sys, mmssl, mmssl.utils\n'
            'assert not {"torch", "mmcv", "mmssl.evaluation"} & set(sys.modules)\n'
            'from mmssl import digit_version\n'
            'assert digit_version("1.7.2") < digit_version("2.0.0rc1") < digit_version("2.0.0")')
    subprocess.run([sys.executable, '-c', code],
                   check=True,
                   env={
                       **os.environ, 'PYTHONPATH': str(Path(__file__).resolve().parents[2])
                   })


@pytest.mark.parametrize('module', sorted(old_places.NAMES))
def test_unknown_name_is_an_attribute_error(module):
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'no_such_name'"):
        importlib.import_module(module).no_such_name


def test_helpers_of_data_sets(tmp_path):
    from mmssl.datasets.utils import calculate_md5, check_integrity, rm_suffix
    assert rm_suffix('a/b.tar.gz') == 'a/b.tar' and rm_suffix('a/b.tar.gz', '.tar.gz') == 'a/b'
    assert rm_suffix('plain') == 'plain' and rm_suffix('a.b', '.gz') == 'a.b'
    (tmp_path / 'file').write_bytes(b'mmssl')
    md5 = calculate_md5(str(tmp_path / 'file'))
    assert md5 == '2cea4cf426ba9fbdf10234f65694ae39'
    assert check_integrity(str(tmp_path / 'file'), md5) and not check_integrity(str(tmp_path / 'file'), '0' * 32)
