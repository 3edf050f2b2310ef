"""Names in and out: flat dicts under PyTorch's names, and safetensors files."""

from funcparams.checkpoint.compare import Diff, Difference, diff
from funcparams.checkpoint.errors import CheckpointError, CheckpointNotFoundError
from funcparams.checkpoint.files import load, save
from funcparams.checkpoint.inward import load_state_dict
from funcparams.checkpoint.outward import state_dict
from funcparams.checkpoint.reader import File
from funcparams.checkpoint.report import Entry, Report
from funcparams.checkpoint.task import Loaded

__all__ = [
    "CheckpointError",
    "CheckpointNotFoundError",
    "Diff",
    "Difference",
    "Entry",
    "File",
    "Loaded",
    "Report",
    "diff",
    "load",
    "load_state_dict",
    "save",
    "state_dict",
]
