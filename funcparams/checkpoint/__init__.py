"""Names in and out: flat dicts under PyTorch's names."""

from funcparams.checkpoint.load import Loaded, load_state_dict
from funcparams.checkpoint.report import Entry, Report
from funcparams.checkpoint.state_dict import state_dict

__all__ = ["Entry", "Loaded", "Report", "load_state_dict", "state_dict"]
