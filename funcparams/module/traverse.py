"""PyTorch's traversals: the same on definitions (declarations) and bound views (arrays)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from funcparams.core.declarations import Buffer, Param
from funcparams.core.definition import Bound, Definition, parts, record
from funcparams.core.names import Path, dotted
from funcparams.core.walk import Kind, item

if TYPE_CHECKING:
    from funcparams.module.module import Module


def declarations(
    root: Definition, kind: Kind, prefix: str, recurse: bool, remove_duplicate: bool
) -> Iterator[tuple[str, Any]]:
    """Yield (name, declaration or array), a module's own before its children's, depth first."""
    known = record(root)
    values = known.context.values if isinstance(known, Bound) else None
    start = known.definition if isinstance(known, Bound) else root
    seen: set[int] = set()
    for path, node in _nodes(start, (), recurse, set() if remove_duplicate else None):
        for name, declaration in parts(node)[0]:
            if not isinstance(declaration, kind) or (remove_duplicate and id(declaration) in seen):
                continue
            seen.add(id(declaration))
            value = declaration if values is None else values[id(declaration)]
            yield dotted((prefix, *path, name) if prefix else (*path, name)), value


def _nodes(
    node: Any, path: Path, recurse: bool, seen: set[int] | None
) -> Iterator[tuple[Path, Any]]:
    """Yield (path, module or container), depth first; a seen module once, if `seen` is given."""
    yield path, node
    for name, child in parts(node)[1]:
        if isinstance(child, Definition):
            if not recurse or (seen is not None and id(child) in seen):
                continue
            if seen is not None:
                seen.add(id(child))
        yield from _nodes(child, (*path, name), recurse, seen)


def named_modules(
    root: Definition, prefix: str, remove_duplicate: bool
) -> Iterator[tuple[str, Definition]]:
    """Yield (name, module) of the root and all below it."""
    yield from _modules(
        root, root, tuple(prefix.split(".")) if prefix else (), {id(root)}, remove_duplicate
    )


def _modules(
    node: Any, shown: Any, path: Path, seen: set[int], once: bool
) -> Iterator[tuple[str, Definition]]:
    if isinstance(shown, Definition):
        yield dotted(path), shown
    for name, child in parts(node)[1]:
        if isinstance(child, Definition) and once:
            if id(child) in seen:
                continue
            seen.add(id(child))
        yield from _modules(child, item(shown, name), (*path, name), seen, once)


def named_children(node: Any, shown: Any, path: Path = ()) -> Iterator[tuple[str, Definition]]:
    """Yield (name, module) of the direct children, those in containers included; each once."""
    seen: set[int] = set()
    for name, child in _direct(node, shown, path):
        if id(child) not in seen:
            seen.add(id(child))
            yield name, child


def _direct(node: Any, shown: Any, path: Path) -> Iterator[tuple[str, Definition]]:
    for name, child in parts(node)[1]:
        below = item(shown, name)
        if isinstance(child, Definition):
            yield dotted((*path, name)), below
        else:
            yield from _direct(child, below, (*path, name))


class Traversable(Definition):
    """The methods of `Module` that list its parts, on definitions and on bound views alike."""

    __slots__ = ()

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        """List the parameters with their dotted names, in PyTorch's order.

        Args:
            prefix: Put before every name.
            recurse: Whether parameters of children are meant too.
            remove_duplicate: Whether a shared one comes once, under its owner's name.

        Returns:
            (name, declaration) on a definition, (name, array) on a bound view.

        Example:
            >>> from funcparams import nn
            >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
            >>> [(name, p.shape) for name, p in net.named_parameters()][:2]
            [('0.weight', (3, 4)), ('0.bias', (3,))]

        References:
            [torch.nn.Module.named_parameters](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.named_parameters)
        """
        return declarations(self, Param, prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Any]:
        """List the parameters, each once, in PyTorch's order.

        Args:
            recurse: Whether parameters of children are meant too.

        Returns:
            Declarations on a definition, arrays on a bound view.

        Example:
            >>> from funcparams import nn
            >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
            >>> sum(p.size for p in net.parameters())
            19

        References:
            [torch.nn.Module.parameters](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.parameters)
        """
        return (value for _, value in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        """List the buffers with their dotted names, in PyTorch's order.

        Args:
            prefix: Put before every name.
            recurse: Whether buffers of children are meant too.
            remove_duplicate: Whether a shared one comes once, under its owner's name.

        Returns:
            (name, declaration) on a definition, (name, array) on a bound view.

        Example:
            >>> from funcparams import nn
            >>> [name for name, _ in nn.BatchNorm1d(2).named_buffers()]
            ['running_mean', 'running_var', 'num_batches_tracked']

        References:
            [torch.nn.Module.named_buffers](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.named_buffers)
        """
        return declarations(self, Buffer, prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Any]:
        """List the buffers, each once, in PyTorch's order.

        Args:
            recurse: Whether buffers of children are meant too.

        Returns:
            Declarations on a definition, arrays on a bound view.

        Example:
            >>> from funcparams import nn
            >>> [b.shape for b in nn.BatchNorm1d(2).buffers()]
            [(2,), (2,), ()]

        References:
            [torch.nn.Module.buffers](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.buffers)
        """
        return (value for _, value in self.named_buffers(recurse=recurse))

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """List the direct child modules with their names; those in a tuple or dict are `layers.0`.

        Returns:
            (name, module), a shared one once.

        Example:
            >>> from funcparams import nn
            >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
            >>> [name for name, _ in net.named_children()]
            ['0', '1', '2']

        References:
            [torch.nn.Module.named_children](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.named_children)
        """
        return cast("Iterator[tuple[str, Module]]", named_children(self, self))

    def children(self) -> Iterator[Module]:
        """List the direct child modules, a shared one once.

        Returns:
            Modules: definitions on a definition, views on a bound view.

        Example:
            >>> from funcparams import nn
            >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
            >>> len(list(net.children()))
            3

        References:
            [torch.nn.Module.children](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.children)
        """
        return (module for _, module in self.named_children())

    def named_modules(
        self, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """List this module and all below it with their dotted names, depth first.

        Args:
            prefix: Put before every name.
            remove_duplicate: Whether a shared module comes once.

        Returns:
            (name, module); the name of the module itself is the prefix.

        Example:
            >>> from funcparams import nn
            >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
            >>> [name for name, _ in net.named_modules()]
            ['', '0', '1', '2']

        References:
            [torch.nn.Module.named_modules](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.named_modules)
        """
        found = named_modules(self, prefix, remove_duplicate)
        return cast("Iterator[tuple[str, Module]]", found)

    def modules(self) -> Iterator[Module]:
        """List this module and all below it, each once, depth first.

        Returns:
            Modules: definitions on a definition, views on a bound view.

        Example:
            >>> from funcparams import nn
            >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
            >>> [type(module).__name__ for module in net.modules()]
            ['Sequential', 'Linear', 'ReLU', 'Linear']

        References:
            [torch.nn.Module.modules](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.modules)
        """
        return (module for _, module in self.named_modules())
