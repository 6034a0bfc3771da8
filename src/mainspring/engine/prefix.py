"""A radix tree over token ids that knows which holders have which prefix.

A *holder* is any integer name for a run of tokens: a KV slot, or a sequence that was moved out to memory. Its path from
the root spells its tokens and always ends at the end of a node. The tree holds no keys or values and decides nothing;
`kv.py` does.

Equal tokens have equal keys and values only under the same weights, so each *space* (an adapter, or the model itself)
has a root of its own, and nothing is shared between them.
"""

from collections.abc import Iterator, Sequence

__all__ = ["PrefixTree"]


class Node:
    """An edge's tokens and the node at its end. `holders` are all holders whose path passes through here."""

    __slots__ = ("children", "holders", "parent", "tokens")

    def __init__(self, tokens: list[int], parent: "Node | None") -> None:
        self.tokens = tokens
        self.parent = parent
        self.children: dict[int, Node] = {}
        self.holders: set[int] = set()


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common prefix."""
    limit = min(len(a), len(b))
    if a[:limit] == b[:limit]:
        return limit
    return next(i for i in range(limit) if a[i] != b[i])


class PrefixTree:
    """See the module. All costs are linear in the tokens walked, not in the number of holders."""

    def __init__(self) -> None:
        self._roots: dict[str | None, Node] = {}  # only of spaces that somebody holds something in
        self._spaces: dict[int, str | None] = {}
        self._ends: dict[int, Node] = {}
        self._lengths: dict[int, int] = {}

    def __contains__(self, holder: int) -> bool:
        return holder in self._ends

    def length(self, holder: int) -> int:
        """Tokens on the holder's path."""
        return self._lengths[holder]

    def path(self, holder: int) -> list[int]:
        """The holder's tokens."""
        node: Node | None = self._ends[holder]
        edges: list[list[int]] = []
        while node is not None:
            edges.append(node.tokens)
            node = node.parent
        return [token for edge in reversed(edges) for token in edge]

    def space(self, holder: int) -> str | None:
        """Where the holder's path begins."""
        return self._spaces[holder]

    def insert(self, holder: int, tokens: Sequence[int], space: str | None = None) -> None:
        """Give a new holder its path."""
        assert holder not in self._ends, f"holder {holder} is in the tree already"
        root = self._roots.setdefault(space, Node([], None))
        root.holders.add(holder)
        self._spaces[holder] = space
        self._ends[holder] = self._grow(root, holder, list(tokens))
        self._lengths[holder] = len(tokens)

    def extend(self, holder: int, tokens: Sequence[int]) -> None:
        """Append tokens to a holder's path."""
        end = self._ends[holder]
        if end.parent is not None and not end.children and len(end.holders) == 1:
            end.tokens.extend(tokens)  # the path of every decode step: nobody else stands on this edge
        else:
            self._ends[holder] = self._grow(end, holder, list(tokens))
        self._lengths[holder] += len(tokens)

    def truncate(self, holder: int, length: int) -> None:
        """Shorten a holder's path to its first `length` tokens."""
        node, at = self._ends[holder], self._lengths[holder]
        assert 0 <= length <= at, f"cannot truncate {at} tokens to {length}"
        while node.parent is not None and at - len(node.tokens) >= length:
            at -= len(node.tokens)
            self._leave(node, holder)
            node = node.parent
        if at > length:
            upper = self._split(node, len(node.tokens) - (at - length))
            self._leave(node, holder)
            node = upper
        self._ends[holder] = node
        self._lengths[holder] = length

    def remove(self, holder: int) -> None:
        """Forget a holder."""
        self.truncate(holder, 0)
        del self._ends[holder], self._lengths[holder]
        space = self._spaces.pop(holder)
        self._roots[space].holders.discard(holder)
        if not self._roots[space].holders:
            del self._roots[space]

    def match(self, tokens: Sequence[int], space: str | None = None) -> Iterator[tuple[int, frozenset[int]]]:
        """For each node along `tokens`: (how many of the tokens are on its path, who holds those), shortest first."""
        node, depth = self._roots.get(space), 0
        while node is not None and depth < len(tokens):
            child = node.children.get(tokens[depth])
            if child is None:
                return
            common = _common(child.tokens, tokens[depth : depth + len(child.tokens)])
            depth += common
            yield depth, frozenset(child.holders)
            if common < len(child.tokens):
                return
            node = child

    def _grow(self, node: Node, holder: int, tokens: list[int]) -> Node:
        """Walk or build the path `tokens` below `node`, marking it; returns its end."""
        while tokens:
            child = node.children.get(tokens[0])
            if child is None:
                child = Node(tokens, node)
                node.children[tokens[0]] = child
                child.holders.add(holder)
                return child
            common = _common(child.tokens, tokens)
            if common < len(child.tokens):
                child = self._split(child, common)
            child.holders.add(holder)
            node, tokens = child, tokens[common:]
        return node

    def _split(self, node: Node, at: int) -> Node:
        """Cut an edge after `at` tokens; the new upper node has the same holders and is returned."""
        assert node.parent is not None
        assert 0 < at < len(node.tokens)
        upper = Node(node.tokens[:at], node.parent)
        upper.holders = set(node.holders)
        node.parent.children[upper.tokens[0]] = upper
        node.tokens, node.parent = node.tokens[at:], upper
        upper.children[node.tokens[0]] = node
        return upper

    @staticmethod
    def _leave(node: Node, holder: int) -> None:
        node.holders.discard(holder)
        if not node.holders:
            assert node.parent is not None
            del node.parent.children[node.tokens[0]]

    def check_integrity(self) -> None:
        """Raise AssertionError unless every invariant of the tree holds. For tests; cost is the whole tree."""
        seen: dict[int, int] = {}
        for space, root in self._roots.items():
            assert root.holders == {holder for holder, where in self._spaces.items() if where == space}
            assert root.holders, "a space that nobody uses"
            self._check_below(root, seen)
        assert seen == self._lengths, "lengths differ from paths"
        assert set(self._spaces) == set(self._ends), "a holder without a space"

    def _check_below(self, root: Node, seen: dict[int, int]) -> None:
        """Check one space; `seen` gets the length of each holder's path."""
        stack = [(root, 0)]
        while stack:
            node, depth = stack.pop()
            assert node is root or node.tokens, "an empty edge"
            assert node.holders, "a node that nobody holds"
            below: set[int] = set()
            for first, child in node.children.items():
                assert child.parent is node, "a child that does not know its parent"
                assert child.tokens[0] == first, "a child under another token than its first"
                assert child.holders <= node.holders, "a holder that skips its parent"
                assert not child.holders & below, "a holder on two branches"
                below |= child.holders
                stack.append((child, depth + len(child.tokens)))
            for holder in node.holders - below:
                assert self._ends[holder] is node, f"holder {holder} does not end where its path does"
                seen[holder] = depth
