/* The C API of stageplan: scores and plans for compiled callers, without Python and without its lock.

   Cython callers write `from stageplan.capi cimport ...`; others call `stageplan_import` once, under the
   interpreter's lock, for the table of the functions. The directory to include is `stageplan.get_include()`.

   Matrices are row-major. A function that can fail returns a status and, if `error` is not NULL, writes a
   sentence that names the argument, its value and what is allowed. Nothing is written to other results then,
   but for `score`, which may have written some. No function throws, and none calls Python.

   Problems and scorers never change: any number of threads may use one at a time. It is freed once, when no
   call uses it any more. */
#ifndef STAGEPLAN_CAPI_H
#define STAGEPLAN_CAPI_H

#include <stddef.h>
#include <stdint.h>

#define STAGEPLAN_CAPI_VERSION 1
#define STAGEPLAN_CAPSULE "stageplan._core.capi" /* which has the table of the functions */
#define STAGEPLAN_MAX_LAYERS 4096
#define STAGEPLAN_MESSAGE_SIZE 512

#ifdef __cplusplus
#define STAGEPLAN_NOEXCEPT noexcept
extern "C" {
#else
#define STAGEPLAN_NOEXCEPT
#endif

/* Statuses. */
enum {
  STAGEPLAN_OK = 0,
  STAGEPLAN_INVALID = 1,   /* an argument is not allowed */
  STAGEPLAN_NO_MEMORY = 2, /* too little memory */
  STAGEPLAN_FAILED = 3     /* anything else */
};

/* Objectives of a goal. */
enum {
  STAGEPLAN_COST = 0,       /* the lowest cost of all examples, $ */
  STAGEPLAN_THROUGHPUT = 1, /* the shortest time, seconds per example */
  STAGEPLAN_PRICE = 2       /* the lowest price of the devices, $/hour */
};

/* Which layers of a scheme form a stage. */
enum {
  STAGEPLAN_ADJACENT = 0, /* neighbouring layers of one label */
  STAGEPLAN_BY_TYPE = 1   /* all layers of one label, wherever they stand */
};

/* Methods of a search. */
enum {
  STAGEPLAN_AUTO = 0, /* the proof for about a second of work, then a genetic search */
  STAGEPLAN_EXACT = 1 /* until a plan is proven optimal, or the problem infeasible; only with ADJACENT */
};

/* What a search found. If tensors allow other orders of the layers, proofs are over this order. */
enum {
  STAGEPLAN_OPTIMAL = 0,    /* proven, up to ties of 1e-9 */
  STAGEPLAN_FEASIBLE = 1,   /* meets all limits */
  STAGEPLAN_INFEASIBLE = 2, /* proven that no plan meets all limits; the plan is one that violates them */
  STAGEPLAN_UNKNOWN = 3     /* no feasible plan found, none excluded */
};

typedef struct stageplan_problem stageplan_problem; /* layers, device types and a goal */
typedef struct stageplan_scorer stageplan_scorer;   /* the tables by which schemes are scored */

typedef struct stageplan_error {
  char message[STAGEPLAN_MESSAGE_SIZE]; /* a sentence, ended by a zero; empty if the status is OK */
} stageplan_error;

/* Layers and device types, as `Problem.from_arrays` takes them; `arrays_init` sets what may be absent. The
   arrays are copied. */
typedef struct stageplan_arrays {
  size_t size;                     /* bytes of this struct; set by `arrays_init` */
  int32_t layers, types;           /* at most STAGEPLAN_MAX_LAYERS and 128 */
  const double* compute;           /* (layers, types) seconds per example; infinity: cannot run there */
  const double* send;              /* (layers, types) seconds per example, or NULL: 0 */
  const double* receive;           /* (layers, types) seconds per example, or NULL: 0 */
  const double* compute_parallel;  /* (layers, types) parallel fractions, or NULL: 1 */
  const double* transfer_parallel; /* (types,) parallel fractions, or NULL: 1 */
  const double* memory;            /* (layers,) bytes on each device, or NULL: 0 */
  const double* workspace;         /* (layers,) bytes while the layer runs, or NULL: 0 */
  const double* price;             /* (types,) $/hour of a device */
  const double* limit;             /* (types,) devices, or NULL: no limit */
  const double* capacity;          /* (types,) bytes of a device, or NULL: no limit */
  const double* bandwidth;         /* (types,) bytes/s of tensors, or NULL: transfers are free */
  double fixed_price;              /* $/hour besides the devices; 0 */
  int32_t tensors;                 /* data passed between layers; 0: the four arrays below are not read */
  const int32_t* producer;         /* (tensors,) layer */
  const double* bytes;             /* (tensors,) */
  const int32_t* consumers;        /* layers that read tensor 0, then those of tensor 1, and so on */
  const int32_t* consumers_end;    /* (tensors,) entries of `consumers` up to and including each tensor's */
} stageplan_arrays;

/* Objective and limits of plans; `goal_init` sets what is given in brackets. */
typedef struct stageplan_goal {
  size_t size;                   /* bytes of this struct; set by `goal_init` */
  int32_t objective;             /* [STAGEPLAN_COST] */
  int32_t merge;                 /* [STAGEPLAN_ADJACENT] */
  int32_t overlap;               /* whether a stage transfers while it computes [1] */
  int32_t split;                 /* whether neighbouring stages may have the same type [0] */
  int32_t max_devices_per_stage; /* [1048576] */
  double examples;               /* [1e6] */
  double min_throughput;         /* examples/s [0] */
  double max_duration;           /* seconds for all examples [infinity] */
  double max_cost;               /* $ for all examples [infinity] */
  double max_price;              /* $/hour [infinity] */
} stageplan_goal;

/* How `solve` searches; `search_init` sets what is given in brackets. */
typedef struct stageplan_search {
  size_t size;        /* bytes of this struct; set by `search_init` */
  int32_t method;     /* [STAGEPLAN_AUTO] */
  int32_t population; /* of the genetic search: schemes per generation [256] */
  int32_t stagnation; /* AUTO ends after this number of steps without a better plan [200] */
  uint64_t seed;      /* the same seed finds the same plan [0] */
  uint64_t work;      /* no step begins after this amount of work, the unit of `MaxWork` [2^64 - 1] */
} stageplan_search;

/* A scheme, merged into stages and provisioned with devices. */
typedef struct stageplan_plan {
  double cost;      /* $ for all examples */
  double time;      /* seconds per example */
  double price;     /* $/hour */
  double violation; /* sum of relative excesses over the limits; 0 exactly where the plan is feasible */
  int64_t devices;
  int32_t stages;
} stageplan_plan;

typedef struct stageplan_stage {
  int32_t label, type;
  int32_t first, last; /* layers; BY_TYPE: the lowest and the highest of them */
  int32_t devices;
  int32_t column;           /* of type and strategy, -1 if none fits; without strategies the type */
  int32_t replicas;         /* copies that share the examples */
  int32_t in_flight;        /* microbatches in flight, with a schedule; else 1 */
  double time;              /* seconds per example */
  double compute, transfer; /* seconds per example */
  double memory;            /* bytes of each device */
} stageplan_stage;

typedef struct stageplan_result {
  stageplan_plan plan; /* the best one found */
  double bound;        /* of the objective: no plan has less $, seconds per example or $/hour */
  int32_t status;      /* STAGEPLAN_OPTIMAL and so on */
  uint64_t work;       /* done, in the unit of the budget */
} stageplan_result;

/* The functions. A scheme has one label per layer: the device type, or with `split` and ADJACENT twice the
   type, or that plus one. */
typedef struct stageplan_api {
  int32_t version; /* STAGEPLAN_CAPI_VERSION */

  /* Set what may be absent. */
  void (*arrays_init)(stageplan_arrays* arrays) STAGEPLAN_NOEXCEPT;
  void (*goal_init)(stageplan_goal* goal) STAGEPLAN_NOEXCEPT;
  void (*search_init)(stageplan_search* search) STAGEPLAN_NOEXCEPT;

  int (*problem_new)(const stageplan_arrays* arrays, const stageplan_goal* goal, stageplan_problem** problem,
                     stageplan_error* error) STAGEPLAN_NOEXCEPT;

  /* Its scorers may still be used. NULL is allowed. A problem that was freed before is refused, unless
     hundreds of others were freed since. */
  int (*problem_free)(stageplan_problem* problem, stageplan_error* error) STAGEPLAN_NOEXCEPT;

  /* `target`, examples/s: each stage gets the fewest devices that reach it or, if none do, that are as fast as
     the maximum allowed. 0: each scheme is provisioned exactly, as by `provision`, which takes longer. */
  int (*scorer_new)(const stageplan_problem* problem, double target, stageplan_scorer** scorer,
                    stageplan_error* error) STAGEPLAN_NOEXCEPT;
  int (*scorer_free)(stageplan_scorer* scorer, stageplan_error* error) STAGEPLAN_NOEXCEPT;

  /* Scores schemes (count, layers) on this thread; results (count,) as in stageplan_plan. `price` may be NULL.
   */
  int (*score)(const stageplan_scorer* scorer, const int8_t* schemes, size_t count, int32_t layers,
               double* cost, double* time, double* violation, double* price,
               stageplan_error* error) STAGEPLAN_NOEXCEPT;

  /* The best devices for the stages of a scheme (layers,). `stages` has room for as many stages as there are
     layers, of which plan->stages are written, or is NULL. */
  int (*provision)(const stageplan_problem* problem, const int8_t* scheme, int32_t layers, stageplan_plan* plan,
                   stageplan_stage* stages, stageplan_error* error) STAGEPLAN_NOEXCEPT;

  /* Searches on this thread for the best plan. `scheme` (layers,) and `stages`, with room as in `provision`,
     may be NULL. */
  int (*solve)(const stageplan_problem* problem, const stageplan_search* search, int32_t layers,
               stageplan_result* result, int8_t* scheme, stageplan_stage* stages,
               stageplan_error* error) STAGEPLAN_NOEXCEPT;
} stageplan_api;

#ifdef __cplusplus
}
#endif

#ifdef PY_VERSION_HEX /* Python.h is included */
/* The table, which is never freed; NULL with a Python error if there is none of this version. */
static inline const stageplan_api* stageplan_import(void) {
  PyObject* core = PyImport_ImportModule("stageplan._core");
  const stageplan_api* api;
  if (core == NULL) return NULL;
  Py_DECREF(core);
  api = (const stageplan_api*)PyCapsule_Import(STAGEPLAN_CAPSULE, 0);
  if (api == NULL || api->version == STAGEPLAN_CAPI_VERSION) return api;
  PyErr_Format(PyExc_ImportError, "version %d of the C API of stageplan is installed; this module needs %d",
               (int)api->version, STAGEPLAN_CAPI_VERSION);
  return NULL;
}
#endif

#endif
