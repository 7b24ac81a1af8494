# The C API for compiled callers: `from stageplan.capi cimport ...`, with `stageplan.get_include()` among the
# directories to include. stageplan/capi.h describes every field and function.
from libc.stdint cimport int8_t, int32_t, int64_t, uint64_t


cdef extern from "stageplan/capi.h" nogil:
    enum:
        MESSAGE_SIZE "STAGEPLAN_MESSAGE_SIZE"
        MAX_LAYERS "STAGEPLAN_MAX_LAYERS"
        # statuses
        OK "STAGEPLAN_OK"
        INVALID "STAGEPLAN_INVALID"
        NO_MEMORY "STAGEPLAN_NO_MEMORY"
        FAILED "STAGEPLAN_FAILED"
        # objectives
        COST "STAGEPLAN_COST"
        THROUGHPUT "STAGEPLAN_THROUGHPUT"
        PRICE "STAGEPLAN_PRICE"
        # merge
        ADJACENT "STAGEPLAN_ADJACENT"
        BY_TYPE "STAGEPLAN_BY_TYPE"
        # methods
        AUTO "STAGEPLAN_AUTO"
        EXACT "STAGEPLAN_EXACT"
        # what a search found
        OPTIMAL "STAGEPLAN_OPTIMAL"
        FEASIBLE "STAGEPLAN_FEASIBLE"
        INFEASIBLE "STAGEPLAN_INFEASIBLE"
        UNKNOWN "STAGEPLAN_UNKNOWN"

    ctypedef struct Problem "stageplan_problem":
        pass

    ctypedef struct Scorer "stageplan_scorer":
        pass

    ctypedef struct Error "stageplan_error":
        char message[MESSAGE_SIZE]

    ctypedef struct Arrays "stageplan_arrays":
        size_t size
        int32_t layers, types
        const double *compute
        const double *send
        const double *receive
        const double *compute_parallel
        const double *transfer_parallel
        const double *memory
        const double *workspace
        const double *price
        const double *limit
        const double *capacity
        const double *bandwidth
        double fixed_price
        int32_t tensors
        const int32_t *producer
        const double *bytes
        const int32_t *consumers
        const int32_t *consumers_end

    ctypedef struct Goal "stageplan_goal":
        size_t size
        int32_t objective, merge, overlap, split, max_devices_per_stage
        double examples, min_throughput, max_duration, max_cost, max_price

    ctypedef struct Search "stageplan_search":
        size_t size
        int32_t method, population, stagnation
        uint64_t seed, work

    ctypedef struct Plan "stageplan_plan":
        double cost, time, price, violation
        int64_t devices
        int32_t stages

    ctypedef struct Stage "stageplan_stage":
        int32_t label, type, first, last, devices, column, replicas, in_flight
        double time, compute, transfer, memory

    ctypedef struct Result "stageplan_result":
        Plan plan
        double bound
        int32_t status
        uint64_t work


cdef void arrays_init(Arrays *arrays) noexcept nogil
cdef void goal_init(Goal *goal) noexcept nogil
cdef void search_init(Search *search) noexcept nogil

cdef int problem_new(const Arrays *arrays, const Goal *goal, Problem **problem, Error *error) noexcept nogil
cdef int problem_free(Problem *problem, Error *error) noexcept nogil
cdef int scorer_new(const Problem *problem, double target, Scorer **scorer, Error *error) noexcept nogil
cdef int scorer_free(Scorer *scorer, Error *error) noexcept nogil

cdef int score(const Scorer *scorer, const int8_t *schemes, size_t count, int32_t layers, double *cost,
               double *time, double *violation, double *price, Error *error) noexcept nogil
cdef int provision(const Problem *problem, const int8_t *scheme, int32_t layers, Plan *plan, Stage *stages,
                   Error *error) noexcept nogil
cdef int solve(const Problem *problem, const Search *search, int32_t layers, Result *result, int8_t *scheme,
               Stage *stages, Error *error) noexcept nogil
