# Copyright (c) mmssl contributors. All rights reserved.
"""Make a checkpoint of SEED, which distils a small student from a teacher, one of MoCo: the student's weights remain.

--to moco      keys of the MoCo and small-models code: the student is both encoders, what else the file holds (epoch,
               arch, queue, optimizer) stays, so that its --resume FILE --restart begins with it
--to mmssl     keys of the model in --config, a MoCo of ours: --load-from FILE begins a training with it
--to backbone  the network alone, without projector, for evaluations; with --config it is compared with that network
"""
import argparse

from mmssl.utils.misc import run_tool

# fc of the student is its projector: one layer, or two with a ReLU between them
NECK = {'fc.0.': 'neck.mlp.0.', 'fc.2.': 'neck.mlp.2.', 'fc.': 'neck.fc.'}


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', help='of SEED, with keys such as module.student.conv1.weight')
    parser.add_argument('output', help='file to write')
    parser.add_argument('--to', choices=['moco', 'mmssl', 'backbone'], default='moco', help='layout (default: moco)')
    parser.add_argument('--config', help='of a pre-training with the same network')
    args = parser.parse_args()
    if args.to == 'mmssl' and not args.config:
        parser.error('--to mmssl needs --config, the model that the keys are for')
    if args.to == 'moco' and args.config:
        parser.error("--config is for our layouts: MoCo's own keys fit no model of ours")
    return args


def student_weights(checkpoint):
    """The student's weights by their names in it; and all other keys."""
    from mmssl.utils.checkpoint import get_state_dict
    weights = get_state_dict(checkpoint)
    student = {key.removeprefix('student.'): v for key, v in weights.items() if key.startswith('student.')}
    return student, {key: value for key, value in weights.items() if not key.startswith('student.')}


def main():
    args = parse_args()

    from mmssl.utils.checkpoint import CheckpointError, check_other_file, read_checkpoint, save_checkpoint

    check_other_file(args.checkpoint, args.output)
    checkpoint = read_checkpoint(args.checkpoint)
    student, others = student_weights(checkpoint)
    if not student:
        raise CheckpointError(f'nothing in {args.checkpoint} matches: no key begins with student. or module.student., '
                              f'the first ones are {list(others)[:3]}')
    teacher = [key for key in others if key.startswith('teacher.')]
    queue = {key: value for key, value in others.items() if key in ('queue', 'queue_ptr')}
    unexpected = [key for key in others if key not in queue and not key.startswith('teacher.')]
    print(f'{args.checkpoint}: matched {len(student)} weights of the student; left out {len(teacher)} of the teacher; '
          f'unexpected {len(unexpected)}' + (f', such as {unexpected[0]}' if unexpected else ''))

    if args.to == 'moco':
        weights = {f'module.encoder_{part}.{key}': value for part in 'qk' for key, value in student.items()}
        weights.update({f'module.{key}': value for key, value in queue.items()})
        # a bare state dict has nothing besides
        written = {**checkpoint, 'state_dict': weights} if 'state_dict' in checkpoint else dict(state_dict=weights)
    else:
        weights = {key: value for key, value in student.items() if not key.startswith('fc.')}
        if args.to == 'mmssl':
            weights = {f'backbone.{key}': value for key, value in weights.items()}
            for key, value in student.items():
                prefix = next((old for old in NECK if key.startswith(old)), None)
                if prefix:
                    weights[NECK[prefix] + key.removeprefix(prefix)] = value
        if args.config:
            weights = fitting(args, weights)
        written = dict(state_dict=weights)
    save_checkpoint(written, args.output)
    print(f'{args.output}: {len(written["state_dict"])} tensors')


def fitting(args, weights):
    """The weights that the model of --config takes; for the whole model with those of the key encoder."""
    from mmssl.models import build_algorithm
    from mmssl.utils.checkpoint import CheckpointError, load_weights
    from mmssl.utils.config import check_sections, config_section, load_config
    from mmssl.utils.errors import ConfigError

    cfg = load_config(args.config)
    check_sections(cfg, ['model.backbone'])
    with config_section(cfg, 'model'):
        model = build_algorithm(cfg.model)
    whole = args.to == 'mmssl'
    if whole and not hasattr(model, 'encoder_k'):
        raise ConfigError(f'{args.config} has a {type(model).__name__}, which has no key encoder: --to mmssl is for '
                          'MoCo; --to backbone suits any algorithm')
    report = load_weights(model if whole else model.backbone, weights)
    lost = [key for key in (*report.missing, *report.mismatched) if not whole or key.startswith('backbone.')]
    if lost:
        raise CheckpointError(f'the student lacks {len(lost)} weights of the backbone in {args.config}, such as '
                              f'{lost[0]}: it is another network')
    if whole:
        model.encoder_k.copy_from(model.backbone, model.neck)
    own = (model if whole else model.backbone).state_dict()
    return {key: own[key] for key in own if key in report.matched or whole and key.startswith('encoder_k.')}


if __name__ == '__main__':
    run_tool(main)
