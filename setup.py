"Reads everything from settings.ini (edit there, not here)"
from configparser import ConfigParser
from pathlib import Path
from setuptools import setup, find_packages

cfg = ConfigParser(delimiters=['='])
cfg.read(Path(__file__).parent/'settings.ini', encoding='utf-8')
cfg = cfg['DEFAULT']

def lines(k): return cfg.get(k, '').split()

readme = Path(__file__).parent/'README.md'
setup(
    name=cfg['lib_name'], version=cfg['version'], description=cfg['description'],
    author=cfg['author'], author_email=cfg['author_email'], keywords=cfg['keywords'],
    url=cfg['git_url'], license='Apache-2.0', python_requires='>='+cfg['min_python'],
    packages=find_packages(include=[cfg['lib_path'], cfg['lib_path']+'.*']), include_package_data=True,
    package_data={cfg['lib_path']: ['pretrained/**/*', 'page/**/*']},
    install_requires=lines('requirements'), extras_require={k: lines(f'{k}_requirements') for k in ('dev', 'text')},
    long_description=readme.read_text(encoding='utf-8') if readme.exists() else '',
    long_description_content_type='text/markdown',
    classifiers=['Programming Language :: Python :: 3', 'Framework :: Jupyter'],
    project_urls={'Documentation': cfg['doc_host']+cfg['doc_baseurl']},
    zip_safe=False,
    entry_points={'console_scripts': [o.strip() for o in cfg.get('console_scripts','').split('\n') if o.strip()],
                  'nbdev': [f"{cfg['lib_path']}={cfg['lib_path']}._modidx:d"]},
)
