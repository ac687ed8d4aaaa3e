"""Where the cells of a damage table are measured: in this process, in several on this machine, or on a Ray cluster.

A cell is one metric of one option of one layer.  Cells are independent of each other, so any engine gives the same numbers; a unit
of work is some cells that share what is done once.
"""
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ir import Registry, UserError
from ir.store import digest

from .metrics import Metric
from .probe import Probe, Remembering

ENGINES: Registry = Registry("engine")
SPARE = 0.8   # of the memory that is free may be filled with copies of the probe
COPIES = 2.5  # what a worker needs, in sizes of the pickled probe: the probe, and activations on their way

Cell = tuple[str, str, str]     # metric, layer, option
Unit = tuple[Cell, ...]
Answer = tuple[Cell, float]     # with its damage


def work(probe: Probe, metrics: Sequence[Metric], unit: Unit) -> Iterator[Answer]:
    """The cells of one unit, one after the other; metrics of one option share its runs of the model."""
    of = {m.name: m for m in metrics}
    for metric, layer, option in unit:
        yield (metric, layer, option), float(of[metric](probe, layer, option))


@ENGINES.register("local")
def local(probe: Probe, metrics: Sequence[Metric], units: Sequence[Unit], workers: int) -> Iterator[Answer]:
    """In this process for one worker, else in worker processes (joblib's loky), as many as memory allows."""
    if workers == 1 or len(units) < 2:
        for unit in units:
            yield from work(probe, metrics, unit)
        return
    import joblib
    with tempfile.TemporaryDirectory(prefix="qsearch-") as folder:
        path = Path(folder) / "probe.pickle"
        path.write_bytes(_pickled(probe, metrics))
        count = fitting(workers, path.stat().st_size)
        tasks = (joblib.delayed(_from_file)(str(path), unit) for unit in units)
        with joblib.parallel_config("loky", n_jobs=count, inner_max_num_threads=1):
            for answers in joblib.Parallel(return_as="generator_unordered", batch_size=1)(tasks):
                yield from answers


@ENGINES.register("ray")
def ray(probe: Probe, metrics: Sequence[Metric], units: Sequence[Unit], workers: int) -> Iterator[Answer]:
    """On the Ray cluster that RAY_ADDRESS names, or on one started here with `workers` CPUs and stopped at the end.

    The cluster's machines need this package installed.  The probe travels once to each of them.
    """
    try:
        import ray
    except ImportError:
        raise UserError("engine 'ray' needs the package ray; pip install ray, or take --engine local") from None
    started = not ray.is_initialized()
    if started:
        address = os.environ.get("RAY_ADDRESS")
        paths = {"env_vars": {"PYTHONPATH": os.pathsep.join(p for p in (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")) if p)}}
        try:
            ray.init(address=address, num_cpus=None if address else workers, include_dashboard=False, log_to_driver=False,
                     configure_logging=True, logging_level="ERROR", runtime_env=None if address else paths)
        except Exception as e:
            raise UserError(f"cannot reach a Ray cluster{f' at {address}' if address else ''} ({str(e).splitlines()[0]}); "
                            "start one with `ray start --head`, or take --engine local") from None
    try:
        pickled = _pickled(probe, metrics)
        shared = ray.put(np.frombuffer(pickled, np.uint8))  # an array is read where it lies, without a copy for each task
        task = ray.remote(num_cpus=1, max_retries=3)(_from_array)
        waiting = [task.remote(digest(pickled), shared, unit) for unit in units]
        while waiting:
            done, waiting = ray.wait(waiting, num_returns=1)
            for answers in done:
                try:
                    yield from ray.get(answers)
                except ray.exceptions.RayTaskError as e:
                    raise e.cause if isinstance(e.cause, UserError) else e from None
    finally:
        if started:
            ray.shutdown()


def fitting(workers: int, size: int) -> int:
    """How many workers with a probe of `size` bytes fit into the memory that is free: at least one, at most `workers`."""
    return max(1, min(workers, int(SPARE * free_memory() / (COPIES * size + 2**28))))


def free_memory() -> int:
    """Bytes that new processes may take."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 1 << 32  # not a Linux: assume 4 GiB


def _pickled(probe: Probe, metrics: Sequence[Metric]) -> bytes:
    import cloudpickle  # takes metrics that were written in a script or a notebook, too
    probe = probe.probe if isinstance(probe, Remembering) else probe
    try:
        return cloudpickle.dumps((probe, list(metrics)), protocol=pickle.HIGHEST_PROTOCOL)
    except (TypeError, AttributeError, pickle.PicklingError) as e:
        raise UserError(f"the probe cannot be sent to workers ({str(e).splitlines()[0]}); measure with one worker") from None


_OPEN: dict[str, tuple] = {}  # of a worker: the one probe it has open


def _from_file(path: str, unit: Unit) -> list[Answer]:
    return _answers(path, lambda: Path(path).read_bytes(), unit)


def _from_array(key: str, pickled: np.ndarray, unit: Unit) -> list[Answer]:
    return _answers(key, pickled.tobytes, unit)


def _answers(key: str, read: Callable[[], bytes], unit: Unit) -> list[Answer]:
    if key not in _OPEN:
        probe, metrics = pickle.loads(read())
        _OPEN.clear()
        _OPEN[key] = Remembering(probe), metrics
    return list(work(*_OPEN[key], unit))
