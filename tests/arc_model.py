"""The rival of the exact method: the same stages as an integer program, solved by HiGHS.

A column is a stage (first layer, last layer, type) with the fewest devices that reach the goal; rows say that
stages follow each other, that neighbours have different types, and how many devices there are of a type.
"""

from typing import NamedTuple

import highspy
import numpy as np

import stageplan as sp


class Stages(NamedTuple):
    """Every stage within the limits that reaches the goal: one entry a stage in each array."""

    first: np.ndarray
    past: np.ndarray
    type: np.ndarray
    devices: np.ndarray


def stages(problem: sp.Problem) -> Stages:
    """List the stages of a problem with send, without receive, tensors, memory or split."""
    L, T = problem.compute.shape
    tau = (1 + 1e-9) / problem.goal.min_throughput
    alpha, beta = problem.compute_parallel, problem.transfer_parallel
    work = np.vstack([np.zeros(T), np.cumsum(problem.compute, axis=0)])
    serial = np.vstack([np.zeros(T), np.cumsum(problem.compute * (1 - alpha), axis=0)])
    first, past = np.triu_indices(L + 1, 1)
    send = np.vstack([problem.send[:-1], np.zeros(T)])[past - 1]  # the end of the pipeline costs nothing
    fixed = serial[past] - serial[first]
    need = [
        _fewest(fixed, work[past] - work[first] - fixed, tau),
        _fewest(send * (1 - beta), send * beta, tau),
    ]
    devices = np.maximum(1, np.maximum(*need))
    rows, types = np.nonzero(devices <= problem.limit)
    return Stages(first[rows], past[rows], types, devices[rows, types])


def _fewest(serial: np.ndarray, parallel: np.ndarray, tau: float) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(serial < tau, np.ceil(parallel / (tau - serial)), np.inf)


def model(problem: sp.Problem) -> highspy.Highs:
    """Build the program; its optimum is the least price per hour at the goal's throughput."""
    L, T = problem.compute.shape
    s = stages(problem)
    n, columns = len(s.first), np.arange(len(s.first))
    inner_in, inner_out = s.past < L, s.first > 0
    row = np.concatenate([
        s.first, s.past,  # leave a cut, reach a cut
        (L + 1) + s.past[inner_in] * T + s.type[inner_in],
        (L + 1) + s.first[inner_out] * T + s.type[inner_out],
        (L + 1) * (T + 1) + s.type,
    ])  # fmt: skip
    column = np.concatenate([columns, columns, columns[inner_in], columns[inner_out], columns])
    apart = np.ones(inner_in.sum() + inner_out.sum())
    value = np.concatenate([np.ones(n), -np.ones(n), apart, s.devices])
    flow = np.zeros(L + 1)
    flow[0], flow[L] = 1, -1
    order = np.lexsort((row, column))
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = n, (L + 1) * (T + 1) + T
    lp.col_cost_ = problem.price[s.type] * s.devices
    lp.col_lower_, lp.col_upper_ = np.zeros(n), np.ones(n)
    lp.row_lower_ = np.concatenate([flow, np.full((L + 1) * T + T, -np.inf)])
    lp.row_upper_ = np.concatenate([flow, np.ones((L + 1) * T), problem.limit])
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_ = np.concatenate([[0], np.cumsum(np.bincount(column, minlength=n))])
    lp.a_matrix_.index_, lp.a_matrix_.value_ = row[order], value[order]
    lp.integrality_ = [highspy.HighsVarType.kInteger] * n
    highs = highspy.Highs()
    highs.silent()
    for option, setting in (("threads", 1), ("mip_rel_gap", 1e-9), ("time_limit", 60.0)):
        highs.setOptionValue(option, setting)
    highs.passModel(lp)
    return highs


def price(highs: highspy.Highs) -> float:
    """Solve; $/hour of the devices, infinity where no plan keeps the limits."""
    highs.run()
    if highs.getModelStatus() == highspy.HighsModelStatus.kOptimal:
        return float(highs.getInfo().objective_function_value)
    if highs.getModelStatus() == highspy.HighsModelStatus.kInfeasible:
        return float("inf")
    raise RuntimeError(f"HiGHS ended with {highs.getModelStatus()}")
