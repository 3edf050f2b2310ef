"""What users test their own modules with: the contract that every layer of `nn` is put through."""

from funcparams.testing.check import Report, check_module
from funcparams.testing.programs import assert_same_program, operation_counts
from funcparams.testing.retrace import assert_no_retrace
from funcparams.testing.ties import assert_ties_kept

__all__ = [
    "Report",
    "assert_no_retrace",
    "assert_same_program",
    "assert_ties_kept",
    "check_module",
    "operation_counts",
]
