"""A module that runs no query when it is imported, and yet starts threads: it asks what columns functions give."""

from lakehouse.dataset import load
from lakehouse.layers import porting

porting.refuse(load())
