# cython: language_level=3, freethreading_compatible=True
"""The C API for compiled callers: ``from stageplan.capi cimport ...`` (``stageplan docs compiled-callers``).

Its functions have no Python names. ``__pyx_capi__`` has a capsule with the address of each, from which numba and
ctypes call them.
"""

cimport cython
from libc.stdint cimport int8_t, int32_t, uintptr_t

from . import _core
from .arguments import check_number
from .errors import InputError
from .problem import check_problem


cdef extern from "stageplan/capi.h":
    ctypedef struct Api "stageplan_api":
        void (*arrays_init)(Arrays *) noexcept nogil
        void (*goal_init)(Goal *) noexcept nogil
        void (*search_init)(Search *) noexcept nogil
        int (*problem_new)(const Arrays *, const Goal *, Problem **, Error *) noexcept nogil
        int (*problem_free)(Problem *, Error *) noexcept nogil
        int (*scorer_new)(const Problem *, double, Scorer **, Error *) noexcept nogil
        int (*scorer_free)(Scorer *, Error *) noexcept nogil
        int (*score)(const Scorer *, const int8_t *, size_t, int32_t, double *, double *, double *, double *,
                     Error *) noexcept nogil
        int (*provision)(const Problem *, const int8_t *, int32_t, Plan *, Stage *, Error *) noexcept nogil
        int (*solve)(const Problem *, const Search *, int32_t, Result *, int8_t *, Stage *,
                     Error *) noexcept nogil

    const Api *stageplan_import() except NULL


cdef const Api *api = stageplan_import()


cdef void arrays_init(Arrays *arrays) noexcept nogil:
    api.arrays_init(arrays)


cdef void goal_init(Goal *goal) noexcept nogil:
    api.goal_init(goal)


cdef void search_init(Search *search) noexcept nogil:
    api.search_init(search)


cdef int problem_new(const Arrays *arrays, const Goal *goal, Problem **problem, Error *error) noexcept nogil:
    return api.problem_new(arrays, goal, problem, error)


cdef int problem_free(Problem *problem, Error *error) noexcept nogil:
    return api.problem_free(problem, error)


cdef int scorer_new(const Problem *problem, double target, Scorer **scorer, Error *error) noexcept nogil:
    return api.scorer_new(problem, target, scorer, error)


cdef int scorer_free(Scorer *scorer, Error *error) noexcept nogil:
    return api.scorer_free(scorer, error)


cdef int score(const Scorer *scorer, const int8_t *schemes, size_t count, int32_t layers, double *cost,
               double *time, double *violation, double *price, Error *error) noexcept nogil:
    return api.score(scorer, schemes, count, layers, cost, time, violation, price, error)


cdef int provision(const Problem *problem, const int8_t *scheme, int32_t layers, Plan *plan, Stage *stages,
                   Error *error) noexcept nogil:
    return api.provision(problem, scheme, layers, plan, stages, error)


cdef int solve(const Problem *problem, const Search *search, int32_t layers, Result *result, int8_t *scheme,
               Stage *stages, Error *error) noexcept nogil:
    return api.solve(problem, search, layers, result, scheme, stages, error)


@cython.final
cdef class Handles:
    """A problem as compiled code takes it, and a scorer of its schemes.

    Parameters
    ----------
    problem : Problem
        Any problem without a `plan_cost`; it is copied.
    target : float, optional
        Of the scorer, as in `evaluate`.

    Attributes
    ----------
    problem, scorer : int
        Addresses of the handles. They are freed with this object.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, the value and what is allowed.

    Examples
    --------
    >>> import stageplan as sp
    >>> from stageplan import capi
    >>> handles = capi.Handles(sp.Problem.from_arrays([[4.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0]), target=1.0)
    >>> handles.problem > 0 and handles.scorer > 0
    True
    """

    cdef Problem *_problem
    cdef Scorer *_scorer

    def __cinit__(self, problem, target=None):
        cdef Error error
        cdef double throughput = 0
        cdef int status
        check_problem(problem)
        if problem.plan_cost is not None:
            raise InputError(
                f"problem has the plan_cost {problem.plan_cost.name}; the C API takes problems without one"
            )
        if target is not None:
            check_number("target", target, above=0)
            throughput = target
        self._problem = <Problem *><uintptr_t>_core.capi_problem(problem.core)
        with nogil:
            status = scorer_new(self._problem, throughput, &self._scorer, &error)
        if status != OK:
            raise (MemoryError if status == NO_MEMORY else InputError)(error.message.decode())

    def __dealloc__(self):
        scorer_free(self._scorer, NULL)
        problem_free(self._problem, NULL)

    @property
    def problem(self):
        return <uintptr_t>self._problem

    @property
    def scorer(self):
        return <uintptr_t>self._scorer
