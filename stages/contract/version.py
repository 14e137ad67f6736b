"""VERSION: the version of this program, as its artefacts, stores and command line record it.

A constant and not the metadata of an installation: what is recorded is the code that ran.
"""

VERSION = "0.1.0"
