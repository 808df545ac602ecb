# Copyright (c) mmssl contributors. All rights reserved.
"""Write the page of a run: curves, warnings, views, nearest neighbours, a map of the features, its evaluations.

It is one file that opens in any browser and loads nothing else.
"""


def add_arguments(parser):
    parser.add_argument('run', metavar='RUN', help='folder of a run, under way, finished or of long ago')
    parser.add_argument('--out', metavar='FILE', help='write here instead of report.html in the folder of the run')


def run(args):
    from mmssl.apis.report import write_report
    print(write_report(args.run, args.out))
