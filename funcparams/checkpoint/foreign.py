"""Files of other formats: what they are, and how to convert them; none of them is opened here.

Most of them hold pickled objects, or can, and unpickling runs whatever code the file brings.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, NoReturn

from funcparams.checkpoint.errors import CheckpointError, refuse

_TORCH = """\
{path}: a file of PyTorch's, of pickled objects. Unpickling runs any code that a file brings, so
  this library never does it.
To mend: convert it once, where PyTorch is installed; weights_only=True runs no code of the file:
  tensors = torch.load({source!r}, weights_only=True)
  safetensors.torch.save_file({{n: t.contiguous().clone() for n, t in tensors.items()}}, {target!r})
"""

_NUMPY = """\
{path}: an archive of numpy's, which can hold pickled objects, so it is not read here.
To mend: convert it once; numpy refuses pickled objects by itself:
  arrays = dict(numpy.load({source!r}))
  safetensors.numpy.save_file(arrays, {target!r})"""

_HDF5 = """\
{path}: an HDF5 file, whose names and layout every library chooses for itself.
To mend: read it with h5py, and give the arrays by name to load_state_dict:
  file = h5py.File({source!r})
  fp.load_state_dict(model, {{name: file[name][()] for name in names}}, rename=...)"""

_MSGPACK = """\
{path}: a msgpack file, as flax writes it.
To mend: read it with flax, and give the arrays by name to load_state_dict:
  tree = flax.serialization.msgpack_restore(open({source!r}, "rb").read())
  fp.load_state_dict(model, flax.traverse_util.flatten_dict(tree, sep="."), rename=...)"""


def refuse_foreign(path: Path, file: BinaryIO, head: bytes) -> NoReturn:
    """Say what a file is that is no safetensors file.

    Args:
        path: The file.
        file: The same, open.
        head: Its first bytes.
    """
    advice = _advice(path, file, head)
    if advice:
        target = str(path.with_suffix(".safetensors"))
        raise CheckpointError(advice.format(path=path, source=str(path), target=target).rstrip())
    if len(head) <= 8:
        size = f"{len(head)} bytes" if head else "empty"
        raise refuse(path, [f"not a safetensors file: it is {size}"])
    raise refuse(
        path,
        [f"not a safetensors file: it begins with {head!r}"],
        "fp.save and safetensors' save_file write files that can be read",
    )


def _advice(path: Path, file: BinaryIO, head: bytes) -> str:
    if head.startswith(b"PK\x03\x04"):
        return _NUMPY if _first_member(file).endswith(b".npy") else _TORCH
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return _TORCH  # a bare pickle, as PyTorch wrote before version 1.6
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return _HDF5
    if path.suffix == ".msgpack":
        return _MSGPACK
    return ""


def _first_member(file: BinaryIO) -> bytes:
    """Give the name of a zip archive's first member, as the archive begins with it."""
    file.seek(26)
    length = int.from_bytes(file.read(2), "little")
    file.seek(30)
    return file.read(length)
