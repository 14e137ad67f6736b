"""The programs in examples/, which are files and no package."""
