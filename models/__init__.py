from clusterfolio.models import openmp  # noqa: F401 - before any module here imports torch
