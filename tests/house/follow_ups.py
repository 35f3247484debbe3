"""Every follow-up that a service returns is sent or handed on, as checked in the sources.

A carrier is `FollowUp`, `NewBuild`, or a class with a field of such a type. The value of each call that returns one
must be sent, returned, joined, or passed to a function that does so. Reading its other fields, or testing whether it
is empty, is not enough; nor is returning it from a function whose type does not say so. Whatever is done with it that
is not listed here counts as losing it.

A method of an object whose type is unknown may be any method of that name. A follow-up that is passed to an unknown
function is lost. A function that returns a carrier is only called, never passed on.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.house.carriers import ROLLED_BACK, Function, Module, Sources, is_property, mentions

ROOT = Path(__file__).parents[2] / "prebuild_tasks"
HANDED_ON = {"follow_up", "builds", "wake"}
"""Attributes of a carrier that hold its follow-up."""
LEFT_ON_PURPOSE = "leave_to_upkeep"
PASSED_ON = {"replace", "list", "tuple", "sorted"}
"""Functions whose result holds their arguments."""
LOOKED_AT = {"len", "bool", "isinstance", "sum", "any", "all"}


@dataclass
class Search(Sources):
    """Follows the value of each call that returns a carrier."""

    followed: set[ast.AST] = field(default_factory=set)
    """Assignments whose target is being followed."""

    def dropped(self, *only: str) -> Iterator[str]:
        """List each call whose follow-up is lost, as `module:line function`, in some modules or in all."""
        for module in (self.modules[name] for name in only or self.modules):
            for call in (node for node in ast.walk(module.tree) if isinstance(node, ast.Call)):
                kind = self.answer_of(module, call.func)
                if kind is not None and not self.is_handed_on(module, call, _places(kind, self.carriers)):
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
            function.returns and mentions(function.returns, self.carriers) and not is_property(function)
            for _, function in self.callees(module, name)
        )

    def is_handed_on(self, module: Module, value: ast.AST, places: Sequence[int] | None = None) -> bool:
        """Tell whether the value of an expression goes to code that may send it.

        `places` are the positions of carriers if the value is a tuple; None: it is not a tuple, or any may be one.
        """
        parent = module.parents[value]
        match parent:
            case ast.Return() | ast.Yield() | ast.YieldFrom():
                return self._returns_one(module, parent)
            case ast.Attribute():
                if parent.attr not in HANDED_ON:
                    return self._is_method(parent)
                return self.is_handed_on(module, parent)
            case ast.Subscript(value=owner, slice=index) if owner is value:
                place = index.value if isinstance(index, ast.Constant) else None
                return (places is None or place in places) and self.is_handed_on(module, parent)
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign() if parent.value is value:
                targets = parent.targets if isinstance(parent, ast.Assign) else [parent.target]
                return any(self._is_received(module, parent, target, places) for target in targets)
            case ast.NamedExpr(target=target):
                return self._is_used(module, parent, target, places) or self.is_handed_on(module, parent, places)
            case ast.For(target=target, iter=items) if items is value:
                return self._is_received(module, parent, target)
            case ast.comprehension(target=target, iter=items) if items is value:
                return isinstance(target, ast.Name) and self._is_used_in(module, module.parents[parent], target.id)
            case ast.Tuple():
                return self.is_handed_on(module, parent, [parent.elts.index(value)])  # type: ignore[arg-type]
            case ast.IfExp(test=test):
                return test is not value and self.is_handed_on(module, parent, places)
            case ast.BoolOp(op=ast.And(), values=[*asked, _]) if value in asked:
                return False
            case ast.BoolOp():
                return self.is_handed_on(module, parent, places)
            case (
                ast.Await() | ast.Starred() | ast.BinOp() | ast.List() | ast.Set() | ast.Dict() | ast.Lambda()
                | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp()
            ):  # fmt: skip
                return self.is_handed_on(module, parent)
            case ast.Call(func=function) if function is value:
                return self.is_handed_on(module, parent)  # what a function returns that has a name
            case ast.Call():
                return self._is_taken(module, parent, value)
            case ast.keyword():
                call = module.parents[parent]
                return isinstance(call, ast.Call) and self._is_taken(module, call, value, parent.arg)
        return False

    def _returns_one(self, module: Module, statement: ast.AST) -> bool:
        """Tell whether the function that returns something is known to return a carrier."""
        function = module.around(statement, Function.__args__)
        return (
            isinstance(function, Function)
            and function.returns is not None
            and mentions(function.returns, self.carriers)
        )

    def _is_received(
        self, module: Module, statement: ast.AST, target: ast.AST, places: Sequence[int] | None = None
    ) -> bool:
        """Tell whether what is assigned is used; of a tuple that is unpacked, each carrier."""
        if not isinstance(target, ast.Tuple):
            return self._is_used(module, statement, target, places)
        return all(
            self._is_used(module, statement, name)
            for place, name in enumerate(target.elts)
            if places is None or place in places
        )

    def _is_method(self, attribute: ast.Attribute) -> bool:
        return any(
            mentions(node.returns, self.carriers) for _, node in self.methods.get(attribute.attr, ()) if node.returns
        )

    def _is_used(
        self, module: Module, statement: ast.AST, target: ast.AST, places: Sequence[int] | None = None
    ) -> bool:
        if isinstance(target, ast.Subscript):
            target, places = target.value, None
        if not isinstance(target, ast.Name):
            return isinstance(target, ast.Attribute)  # code that has the object
        scope = module.around(statement, (*Function.__args__, ast.Module))
        assert scope is not None
        if statement in self.followed:
            return False  # `x = replace(x)`: the other uses count
        self.followed.add(statement)
        try:
            return self._is_used_in(module, scope, target.id, statement, places)
        finally:
            self.followed.remove(statement)

    def _is_used_in(
        self,
        module: Module,
        scope: ast.AST,
        name: str,
        since: ast.AST | None = None,
        places: Sequence[int] | None = None,
    ) -> bool:
        return any(
            module.parents[node] is not since
            and (since is None or module.may_reach(since, node))
            and self.is_handed_on(module, node, places)
            for node in ast.walk(scope)
            if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)
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
        return bool(found) and all(
            self.is_handed_on(module, call) if owner.returns_its_argument(function)
            else self._is_taken_by(owner, function, call, value, keyword)
            for owner, function in found
        )  # fmt: skip

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


def _places(annotation: ast.expr, carriers: set[str]) -> list[int] | None:
    """Return the positions of carriers in the tuple that a function returns; None if it returns another type."""
    match annotation:
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[*kinds])) if (
            ast.unparse(kinds[-1]) != "..."
        ):
            return [place for place, kind in enumerate(kinds) if mentions(kind, carriers)]
    return None


@cache
def read() -> Search:
    """Parse the package."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join((ROOT.name, *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
        found[name] = Module(name, ast.parse(path.read_text()))
    return Search(found)
