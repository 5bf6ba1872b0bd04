"""Makes plain text for training from Debian packages.

packages    downloads and unpacks packages with apt-get and dpkg-deb; nothing is installed
formats/    one parser per file format: bytes or text in, plain text out; no files, no network
sources/    one module per kind of source: which packages, which files, which parser
output      writes a source's documents and its provenance.toml, all or nothing
command     the command line of `recipes/data/fetch`
"""
