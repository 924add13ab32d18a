r"""Drawings of what :mod:`companion.history.autograd` computed: nodes and edges, a table, a mermaid diagram."""

from dataclasses import dataclass

from companion.history.autograd import Array, Value, topological_order


@dataclass(frozen=True)
class Node:
    """One value in a drawing; ``label`` is its name, its operation, or else its number or its shape."""

    label: str
    value: Value


def graph(root: Value) -> tuple[list[Node], list[tuple[int, int]]]:
    """The nodes in topological order, and an edge (parent's number, child's number) for each use of a value.

    >>> a = Value(3.0, "a")
    >>> nodes, edges = graph(a * a + 1.0)
    >>> [node.label for node in nodes], edges
    (['a', '×', '1', '+'], [(0, 1), (0, 1), (1, 3), (2, 3)])
    """
    order = topological_order(root)
    number = {id(value): i for i, value in enumerate(order)}
    edges = [(number[id(parent)], i) for i, value in enumerate(order) for parent in value.parents]
    return [Node(value.name or value.operation or _show(value.data), value) for value in order], edges


def mermaid(root: Value) -> str:
    """The graph as the text of a mermaid diagram, each node with its value and its gradient.

    >>> w = Value(2.0, "w")
    >>> loss = w * 3.0
    >>> loss.backward()
    >>> print(mermaid(loss))
    graph LR
        n0["w<br/>value 2<br/>grad 3"]
        n1["3<br/>grad 2"]
        n2(("×<br/>value 6<br/>grad 1"))
        n0 --> n2
        n1 --> n2
    """
    nodes, edges = graph(root)
    lines = ["graph LR"]
    for i, node in enumerate(nodes):
        shown = _show(node.value.data)
        parts = [node.label] + [f"value {shown}"] * (node.label != shown) + [f"grad {_show(node.value.grad)}"]
        left, right = ("((", "))") if node.value.parents else ("[", "]")
        lines.append(f'    n{i}{left}"{"<br/>".join(parts)}"{right}')
    return "\n".join(lines + [f"    n{parent} --> n{child}" for parent, child in edges])


def table(root: Value) -> str:
    """The graph as lines of text: number, what it is, what it was made from, value, gradient.

    >>> w = Value(2.0, "w")
    >>> loss = w * 3.0
    >>> loss.backward()
    >>> print(table(loss))
     0  w           value 2  grad 3
     1  3           value 3  grad 2
     2  ×     0, 1  value 6  grad 1
    """
    nodes, edges = graph(root)
    lines = []
    for i, node in enumerate(nodes):
        parents = ", ".join(str(parent) for parent, child in edges if child == i)
        lines.append(f"{i:2}  {node.label:5} {parents:5} value {_show(node.value.data)}  grad {_show(node.value.grad)}")
    return "\n".join(lines)


def _show(data: Array) -> str:
    return f"{data.item() + 0.0:.4g}" if data.size == 1 else "×".join(map(str, data.shape))
