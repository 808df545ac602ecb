# Copyright (c) mmssl contributors. All rights reserved.
"""Look at this machine and the packages on it, with a line of advice for each thing that would trouble a training.

  mmssl doctor
  mmssl doctor --json > machine.json
"""


def add_arguments(parser):
    parser.add_argument('--json', action='store_true', help='print JSON, for bug reports and programs')


def run(args):
    from mmssl.apis.doctor import examine
    findings = examine()
    if args.json:
        import json
        print(json.dumps([vars(finding) for finding in findings], indent=2))
        return
    width = max(len(finding.name) for finding in findings)
    group = None
    for finding in findings:
        if finding.group != group:
            group = finding.group
            print(f'\n{group}' if finding is not findings[0] else group)
        value = {
            True: 'yes',
            False: 'no'
        }.get(finding.value, finding.value) if isinstance(finding.value, bool) else finding.value
        print(f'  {finding.name:{width}}  {value}' +
              (f'\n  {"":{width}}  -> {finding.advice}' if finding.advice else ''))
    troubles = [f for f in findings if f.advice and f.group != 'optional packages']
    things = f'{len(troubles)} thing{"s" * (len(troubles) > 1)} to look at (->)'
    print(f'\n{things if troubles else "All is well."}')
