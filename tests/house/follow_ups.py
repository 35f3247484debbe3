"""Every follow-up that a service returns is sent or handed on, as checked in the sources.

A carrier is `FollowUp`, `NewBuild`, or a class with a field of such a type. The value of each call that returns one
must be sent, returned, joined, or passed to a function that does so. Reading its other fields, or testing whether it
is empty, is not enough.

A method of an object whose type is unknown may be any method of that name. A follow-up that is passed to an unknown
function is lost. A function that returns a carrier is only called, never passed on.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2] / "prebuild_tasks"
CARRIED = {"FollowUp", "NewBuild"}
ROLLED_BACK = {"Plan"}
"""Functions whose transaction is rolled back, so that there is nothing to send."""
HANDED_ON = {"follow_up", "builds", "wake"}
"""Attributes of a carrier that hold its follow-up."""
REGROUPS = "builds_by_host"
"""Shows what its caller has in another order."""
LEFT_ON_PURPOSE = "leave_to_upkeep"
PASSED_ON = {"replace", "list", "tuple", "sorted"}
"""Functions whose result holds their arguments."""
OTHERS = {
    "database.run": "returns rows",
    "provisioner.claim": "a step of a build",
    "self._isolated.run": "runs a build in a process that sends its follow-up",
}
"""Methods that return no carrier, although another method of the same name does, with what they are."""
LOOKED_AT = {"len", "bool", "isinstance", "sum", "any", "all"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


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


@dataclass
class Sources:
    """All modules together."""

    modules: Mapping[str, Module]
    followed: set[ast.AST] = field(default_factory=set)
    """Assignments whose target is being followed."""

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
                name for name, kinds in fields.items() if any(_mentions(kind, found) for kind in kinds)
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
            return self._named(module, target.id)
        if not isinstance(target, ast.Attribute) or ast.unparse(target) in OTHERS:
            return []
        if isinstance(target.value, ast.Name):
            name = target.value.id
            owner = module.imported.get(name, "")
            if owner in self.modules:
                return self._named(self.modules[owner], target.attr)
            if (home := self.home_of(module, name)) is not None:
                return self._named(home[0], f"{home[1]}.{target.attr}")
            if name in module.foreign or owner:
                return []
            enclosing = module.around(target, ast.ClassDef)
            if name == "self" and isinstance(enclosing, ast.ClassDef):
                own = self._named(module, f"{enclosing.name}.{target.attr}")
                return own or self.methods.get(target.attr, [])
        return self.methods.get(target.attr, [])

    def home_of(self, module: Module, name: str) -> tuple[Module, str] | None:
        """Return the module that defines the class of this name, and its name there."""
        if name in module.classes:
            return module, name
        owner, _, original = module.imported.get(name, "").rpartition(".")
        return self.home_of(self.modules[owner], original) if owner in self.modules else None

    def _named(self, module: Module, name: str) -> list[tuple[Module, Function]]:
        if name in module.functions:
            return [(module, module.functions[name])]
        owner, _, original = module.imported.get(name, "").rpartition(".")
        return self._named(self.modules[owner], original) if owner in self.modules else []

    def answer_of(self, module: Module, target: ast.expr) -> ast.expr | None:
        """Return the type of a function's result, if it carries a follow-up."""
        if isinstance(target, ast.Name) and target.id in self.carriers:
            return target
        for _, function in self.callees(module, target):
            if function.returns and function.name != REGROUPS and _mentions(function.returns, self.carriers):
                return function.returns
        return None

    def dropped(self, *only: str) -> Iterator[str]:
        """List each call whose follow-up is lost, as `module:line function`, in some modules or in all."""
        for module in (self.modules[name] for name in only or self.modules):
            for call in (node for node in ast.walk(module.tree) if isinstance(node, ast.Call)):
                kind = self.answer_of(module, call.func)
                if kind is not None and not self.is_handed_on(module, call, kind):
                    yield f"{module.name}:{call.lineno} {ast.unparse(call.func)}"
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Name | ast.Attribute) and self._is_passed_on(module, node):
                    yield f"{module.name}:{node.lineno} {ast.unparse(node)}, not called"

    def _is_passed_on(self, module: Module, name: ast.Name | ast.Attribute) -> bool:
        """Tell whether a function that returns a carrier is named without being called."""
        parent = module.parents[name]
        if not isinstance(name.ctx, ast.Load) or isinstance(parent, ast.Attribute):
            return False
        if isinstance(parent, ast.Call) and parent.func is name:
            return False
        known = {*module.imported, *module.functions, "self"}
        root = name.value if isinstance(name, ast.Attribute) else name
        if not isinstance(root, ast.Name) or root.id not in known:
            return False
        if isinstance(name, ast.Name) and name.id in self.carriers:
            return False
        return any(
            function.returns and _mentions(function.returns, self.carriers) and not _is_property(function)
            for _, function in self.callees(module, name)
        )

    def is_handed_on(self, module: Module, value: ast.AST, kind: ast.expr | None = None) -> bool:
        """Tell whether the value of an expression goes to code that may send it."""
        parent = module.parents[value]
        match parent:
            case ast.Expr() | ast.If() | ast.While() | ast.Assert() | ast.UnaryOp() | ast.Compare():
                return False
            case ast.IfExp(test=test) if test is value:
                return False
            case ast.Attribute():
                if parent.attr not in HANDED_ON:
                    return self._is_method(parent)
                return self.is_handed_on(module, parent)
            case ast.Subscript(slice=ast.Constant(value=int(place))):
                return place in _places(kind, self.carriers) and self.is_handed_on(module, parent)
            case ast.Assign(targets=[ast.Tuple(elts=names)]):
                carrying = [names[place] for place in _places(kind, self.carriers)]
                return all(self._is_used(module, parent, name) for name in carrying)
            case ast.Assign(targets=[target]) | ast.AnnAssign(target=target) | ast.AugAssign(target=target):
                return self._is_used(module, parent, target)
            case ast.NamedExpr(target=target):
                return self._is_used(module, parent, target)
            case ast.IfExp() | ast.BoolOp() | ast.Starred() | ast.BinOp():
                return self.is_handed_on(module, parent)
            case ast.Call():
                return self._is_taken(module, parent, value)
            case ast.keyword():
                call = module.parents[parent]
                return isinstance(call, ast.Call) and self._is_taken(module, call, value, parent.arg)
        return True

    def _is_method(self, attribute: ast.Attribute) -> bool:
        return any(
            _mentions(node.returns, self.carriers) for _, node in self.methods.get(attribute.attr, ()) if node.returns
        )

    def _is_used(self, module: Module, statement: ast.AST, target: ast.AST) -> bool:
        if not isinstance(target, ast.Name):
            return True  # an attribute: code that has the object
        scope = module.around(statement, (*Function.__args__, ast.Module))
        assert scope is not None
        if statement in self.followed:
            return False  # `x = replace(x)`: the other uses count
        self.followed.add(statement)
        try:
            return self._is_used_in(module, scope, target.id, statement)
        finally:
            self.followed.remove(statement)

    def _is_used_in(self, module: Module, scope: ast.AST, name: str, but: ast.AST | None = None) -> bool:
        loads = (node for node in ast.walk(scope) if isinstance(node, ast.Name) and node.id == name)
        return any(
            isinstance(node.ctx, ast.Load) and module.parents[node] is not but and self.is_handed_on(module, node)
            for node in loads
        )

    def _is_taken(self, module: Module, call: ast.Call, value: ast.AST, keyword: str | None = None) -> bool:
        """Tell whether the called function, or each that it may be, uses an argument."""
        if isinstance(call.func, ast.Name):
            name = call.func.id
            if name in LOOKED_AT:
                return False
            if name in {*self.carriers, *ROLLED_BACK, "cls"}:
                return True  # the carrier that is made is checked itself
            if name in PASSED_ON:
                return self.is_handed_on(module, call)
        found = self.callees(module, call.func)
        return bool(found) and all(self._is_taken_by(*one, call, value, keyword) for one in found)

    def _is_taken_by(
        self, owner: Module, function: Function, call: ast.Call, value: ast.AST, keyword: str | None
    ) -> bool:
        if function.name == LEFT_ON_PURPOSE:
            return True
        names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
        names = names[1:] if names[:1] in (["self"], ["cls"]) else names
        name = keyword or dict(enumerate(names)).get(call.args.index(value), "")  # type: ignore[arg-type]
        if not name or name not in [*names, *(argument.arg for argument in function.args.kwonlyargs)]:
            return False
        return self._is_used_in(owner, function, name)


def _is_property(function: Function) -> bool:
    return any("property" in ast.unparse(decorator) for decorator in function.decorator_list)


def _properties(node: ast.ClassDef) -> Iterator[ast.expr]:
    for item in node.body:
        if (
            isinstance(item, Function)
            and item.returns
            and any("property" in ast.unparse(d) for d in item.decorator_list)
        ):
            yield item.returns


def _mentions(annotation: ast.AST, names: set[str]) -> bool:
    return any(isinstance(node, ast.Name) and node.id in names for node in ast.walk(annotation))


def _places(annotation: ast.expr | None, carriers: set[str]) -> list[int]:
    """Return the positions of carriers in the tuple that a function returns."""
    match annotation:
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=kinds)):
            return [place for place, kind in enumerate(kinds) if _mentions(kind, carriers)]
    return [0]


@cache
def read() -> Sources:
    """Parse the package."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join((ROOT.name, *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
        found[name] = Module(name, ast.parse(path.read_text()))
    return Sources(found)
