"""The linear algebra library keeps to one thread while a decision is made, and gets its own number back."""

from threadpoolctl import threadpool_info, threadpool_limits

from clusterfolio.models.blas import one_blas_thread


def threads():
    return {found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"}


def test_one_thread_inside_and_what_it_was_after():
    with threadpool_limits(2, user_api="blas"):
        before = threads()
        assert one_blas_thread(threads)() == {1}
        assert threads() == before
