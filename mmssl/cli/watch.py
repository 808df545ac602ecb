# Copyright (c) mmssl contributors. All rights reserved.
"""Show the page of a run in a browser while it trains.

The page renews itself. It is served to this machine alone; from another one, go through SSH:
  ssh -L 8000:localhost:8000 USER@MACHINE
"""


def add_arguments(parser):
    parser.add_argument('run', metavar='RUN', help='folder of a run')
    parser.add_argument('--port', type=int, default=8000, help='(default: %(default)s; 0 takes a free one)')
    parser.add_argument(
        '--host', default='127.0.0.1', help='address to listen at (default: %(default)s); others need a token')
    parser.add_argument(
        '--token', nargs='?', const='', metavar='WORD',
        help='serve only those who know it; without WORD one is drawn and printed')  # yapf: disable


def run(args):
    from mmssl.evaluation.run_server import serve
    serve(args.run, args.host, args.port, args.token)
