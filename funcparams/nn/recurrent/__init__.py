"""Recurrent networks, and their cells."""

from funcparams.nn.recurrent.cells import GRUCell, LSTMCell, RNNCell
from funcparams.nn.recurrent.layers import GRU, LSTM, RNN

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"]
