"""Attention layers."""

from __future__ import annotations

from tests.layer_cases.case import Case

ATTENTION: list[Case] = []
