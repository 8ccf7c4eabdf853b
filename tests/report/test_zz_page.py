import json, os
from pathlib import Path
from tests.report.conftest import *
from codling.report.page import build_page
def test_it(inputs, report_config):
    m=json.load(open(os.environ['TRIAL']))['metrics']
    dev=os.environ.get('TRIAL_DEVICE')
    md=json.load(open(dev))['metrics'] if dev else m
    for side,mm in (('server',m),('device',md)):
        for w in ('before','after'):
            r=mm['retrieval_'+w]
            if isinstance(r['num_documents'],int): r['num_documents']=dict.fromkeys(r['choice'],r['num_documents'])
            inputs[f'{side}_long_context'].manifest.metrics['retrieval_'+w]=r
    page=build_page(report_config, inputs)
    Path('/tmp/longqa-exp/page.html').write_text(page)
    i=page.index('<section id="context">'); j=page.index('<section id="compression">'); head=page[:page.index('<body>')]
    Path('/tmp/longqa-exp/part.html').write_text(head+'<body><main>'+page[i:j]+'</main></body></html>')
    dark=head.replace('@media screen and (prefers-color-scheme: dark)','@media screen')
    Path('/tmp/longqa-exp/dark.html').write_text(dark+'<body><main>'+page[i:j]+'</main></body></html>')
