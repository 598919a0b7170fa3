"""Threads of the linear algebra library below numpy and scipy; torch has its own (``models.device.torch_threads``)."""

from __future__ import annotations

from threadpoolctl import threadpool_limits

#: Decorates what does many small matrix products and decompositions: a second thread would wait for the first longer
#: than it works, and on a busy machine several times as long.
one_blas_thread = threadpool_limits.wrap(limits=1, user_api="blas")
