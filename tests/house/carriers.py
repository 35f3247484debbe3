"""The functions of the package whose result carries a follow-up, as found in the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

CARRIED = {"FollowUp", "NewBuild"}
ROLLED_BACK = {"Plan"}
"""Functions whose transaction is rolled back, so that there is nothing to send."""
REGROUPS = "builds_by_host"
"""Shows what its caller has in another order."""
OTHERS = {
    "database.run": "returns rows",
    "provisioner.claim": "a step of a build",
    "self._isolated.run": "runs a build in a process that sends its follow-up",
}
"""Methods that return no carrier, although another method of the same name does, with what they are."""
Function = ast.FunctionDef | ast.AsyncFunctionDef
OUT_OF_ORDER = (ast.For, ast.While, ast.IfExp, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
"""What may run a line, or a part of one, before one that stands above it."""


@dataclass
class Module:
    """A module's functions, by `name` or `Class.name`, and the objects that its names refer to."""

    name: str
    tree: ast.Module
    functions: dict[str, Function] = field(default_factory=dict)
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    imported: dict[str, str] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    """Modules that are imported as a whole, all from other packages."""
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in ast.walk(self.tree):
            self.parents.update((child, node) for child in ast.iter_child_nodes(node))
            if isinstance(node, ast.ImportFrom):
                self.imported.update(
                    (alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names
                )
            elif isinstance(node, ast.Import):
                self.foreign.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ClassDef):
                self.classes[node.name] = node
        for node in ast.walk(self.tree):
            if isinstance(node, Function):
                owner = self.parents[node]
                self.functions[f"{owner.name}.{node.name}" if isinstance(owner, ast.ClassDef) else node.name] = node

    def around(self, node: ast.AST, kind: type[ast.AST] | tuple[type[ast.AST], ...]) -> ast.AST | None:
        """Return the nearest enclosing node of a kind."""
        while (found := self.parents.get(node)) is not None and not isinstance(found, kind):
            node = found
        return found

    def returns_its_argument(self, function: Function) -> bool:
        """Tell whether the type of a function's result is a variable, and so depends on the arguments."""
        variables = {
            name.id
            for node in self.tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("TypeVar(")
            for name in node.targets
            if isinstance(name, ast.Name)
        }
        return isinstance(function.returns, ast.Name) and function.returns.id in variables

    def may_reach(self, assignment: ast.AST, use: ast.Name) -> bool:
        """Tell whether a name that is used may have the value of an assignment, as far as the order of lines tells."""
        if self.around(assignment, Function.__args__) is not self.around(use, Function.__args__):
            return True
        if _starts(use) < _starts(assignment):
            return any(use in ast.walk(node) for node in self._out_of_order(assignment))
        return not any(_starts(later) < _starts(use) for later in self._replacements(assignment, use))

    def _out_of_order(self, node: ast.AST) -> Iterator[ast.AST]:
        while (node := self.parents.get(node, self.tree)) is not self.tree:
            if isinstance(node, OUT_OF_ORDER):
                yield node

    def _replacements(self, node: ast.AST, use: ast.Name) -> Iterator[ast.stmt]:
        """List the assignments after a node, in its block and those around it, that do not read the name."""
        while not isinstance(node, Function | ast.Module):
            parent = self.parents[node]
            for block in (getattr(parent, part, ()) for part in ("body", "orelse", "finalbody")):
                if isinstance(block, list) and node in block:
                    yield from (later for later in block[block.index(node) + 1 :] if _replaces(later, use.id))
            if isinstance(parent, ast.Try) and node not in parent.finalbody:
                yield from (later for later in parent.finalbody if _replaces(later, use.id))
            node = parent


@dataclass
class Sources:
    """All modules together."""

    modules: Mapping[str, Module]

    @cached_property
    def carriers(self) -> set[str]:
        """Return the carrier classes, by name."""
        found = set(CARRIED)
        while True:
            fields = {
                name: [*(item.annotation for item in node.body if isinstance(item, ast.AnnAssign)), *_properties(node)]
                for module in self.modules.values()
                for name, node in module.classes.items()
            }
            more = {
                name for name, kinds in fields.items() if any(mentions(kind, found) for kind in kinds)
            } - ROLLED_BACK
            if more <= found:
                return found
            found |= more

    @cached_property
    def methods(self) -> Mapping[str, list[tuple[Module, Function]]]:
        """Return all methods, by name."""
        found: dict[str, list[tuple[Module, Function]]] = {}
        for module in self.modules.values():
            for name, node in module.functions.items():
                owner, _, method = name.rpartition(".")
                if owner:
                    found.setdefault(method, []).append((module, node))
        return found

    def callees(self, module: Module, target: ast.expr) -> list[tuple[Module, Function]]:
        """Return the function that a name refers to, or all methods of that name if the object's type is unknown."""
        if isinstance(target, ast.Name):
            return self.named(module, target.id)
        if not isinstance(target, ast.Attribute) or ast.unparse(target) in OTHERS:
            return []
        if isinstance(target.value, ast.Name):
            name = target.value.id
            owner = module.imported.get(name, "")
            if owner in self.modules:
                return self.named(self.modules[owner], target.attr)
            if (home := self.home_of(module, name)) is not None:
                return self.named(home[0], f"{home[1]}.{target.attr}")
            if name in module.foreign or owner:
                return []
            enclosing = module.around(target, ast.ClassDef)
            if name == "self" and isinstance(enclosing, ast.ClassDef):
                own = self.named(module, f"{enclosing.name}.{target.attr}")
                return own or self.methods.get(target.attr, [])
        return self.methods.get(target.attr, [])

    def home_of(self, module: Module, name: str) -> tuple[Module, str] | None:
        """Return the module that defines the class of this name, and its name there."""
        if name in module.classes:
            return module, name
        owner, _, original = module.imported.get(name, "").rpartition(".")
        return self.home_of(self.modules[owner], original) if owner in self.modules else None

    def named(self, module: Module, name: str) -> list[tuple[Module, Function]]:
        """Return the function of this name, or none."""
        if name in module.functions:
            return [(module, module.functions[name])]
        owner, _, original = module.imported.get(name, "").rpartition(".")
        return self.named(self.modules[owner], original) if owner in self.modules else []

    def answer_of(self, module: Module, target: ast.expr) -> ast.expr | None:
        """Return the type of a function's result, if it carries a follow-up."""
        if isinstance(target, ast.Name) and target.id in self.carriers:
            return target
        for _, function in self.callees(module, target):
            if function.returns and function.name != REGROUPS and mentions(function.returns, self.carriers):
                return function.returns
        return None


def _starts(node: ast.AST) -> tuple[int, int]:
    return node.lineno, node.col_offset  # type: ignore[attr-defined]


def _replaces(statement: ast.stmt, name: str) -> bool:
    match statement:
        case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
            return not any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(value))
    return False


def is_property(function: Function) -> bool:
    """Tell whether a function is read like an attribute."""
    return any("property" in ast.unparse(decorator) for decorator in function.decorator_list)


def _properties(node: ast.ClassDef) -> Iterator[ast.expr]:
    for item in node.body:
        if isinstance(item, Function) and item.returns and is_property(item):
            yield item.returns


def mentions(annotation: ast.AST, names: set[str]) -> bool:
    """Tell whether an annotation has one of these names."""
    return any(isinstance(node, ast.Name) and node.id in names for node in ast.walk(annotation))
