"""A plugin for mypy that knows what TaskFlow does: a task takes what another one will have made.

    [tool.mypy]
    plugins = ["exclusive_xcom.mypy_plugin"]

Airflow types a task by the function below it, and what its call gives as an `XComArg`. So mypy refuses
`total(load())`, which is right, and knows no `load()["rows"]`. With the plugin every parameter of a task, a
task group or an operator takes an `XComArg` beside its own type, also in a list or dict that is written in
the call; what a task gives can be asked for a key; and what Airflow fills in (`ti`, `ds`) may be left out.
All else is checked as ever: `total(3)`, a missing argument, the body of a task, and an `XComArg` that is used
as if it were the value.

mypy loads it; nothing else imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mypy.nodes import (
    ARG_NAMED,
    ARG_NAMED_OPT,
    ARG_OPT,
    ARG_POS,
    DictExpr,
    DictionaryComprehension,
    Expression,
    ListComprehension,
    ListExpr,
    SetExpr,
    TupleExpr,
    TypeInfo,
)
from mypy.plugin import AttributeContext, FunctionSigContext, MethodContext, MethodSigContext, Plugin
from mypy.types import (
    CallableType,
    Instance,
    NoneType,
    TupleType,
    Type,
    TypeVarType,
    UnionType,
    get_proper_type,
)

_CONTEXT = "airflow.sdk.definitions.context.Context"
_XCOM = "airflow.sdk.definitions.xcom_arg.XComArg"
_KEYED = "airflow.sdk.definitions.xcom_arg.PlainXComArg"  # what a task really gives; it has keys
_OPERATOR = "airflow.sdk.bases.operator.BaseOperator"
_GROUPS = "airflow.sdk.definitions.decorators.task_group"
_GROUP = f"{_GROUPS}._TaskGroupFactory"
_TASKS = ("airflow.sdk.bases.decorator.Task", "airflow.sdk.bases.decorator._TaskDecorator")
_CALLS = {f"{name}.__call__" for name in (*_TASKS, _GROUP)}
_MAPPINGS = {f"{name}.{method}" for name in (*_TASKS, _GROUP) for method in ("expand", "expand_kwargs")}
_DISPLAYS = (ListExpr, TupleExpr, SetExpr, DictExpr, ListComprehension, DictionaryComprehension)
_OPTIONAL = {ARG_POS: ARG_OPT, ARG_NAMED: ARG_NAMED_OPT}


class TaskFlow(Plugin):
    """How calls of tasks, task groups and operators are checked."""

    def get_method_signature_hook(self, fullname: str) -> Callable[[MethodSigContext], CallableType] | None:
        return self._call if fullname in _CALLS else None

    def get_function_signature_hook(
        self, fullname: str
    ) -> Callable[[FunctionSigContext], CallableType] | None:
        if fullname == f"{_GROUPS}.task_group":
            return _group
        found = self.lookup_fully_qualified(fullname)
        is_operator = found and isinstance(found.node, TypeInfo) and found.node.has_base(_OPERATOR)
        return self._call if is_operator else None

    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        known = fullname in _MAPPINGS
        return (lambda context: self._given(context.type, context.default_return_type)) if known else None

    def get_attribute_hook(self, fullname: str) -> Callable[[AttributeContext], Type] | None:
        known = fullname.endswith(".output")
        return (lambda context: self._given(context.type, context.default_attr_type)) if known else None

    def _call(self, context: MethodSigContext | FunctionSigContext) -> CallableType:
        """Every parameter also takes an XComArg, and what Airflow's context fills in may be left out."""
        signature, xcom = context.default_signature, Instance(self._class(_XCOM), [])
        filled = self._class(_CONTEXT).typeddict_type
        assert filled
        called = context.type if isinstance(context, MethodSigContext) else None
        return signature.copy_modified(
            arg_types=[
                _opened(declared, xcom, actual)
                for declared, actual in zip(signature.arg_types, context.args, strict=True)
            ],
            arg_kinds=[
                _OPTIONAL.get(kind, kind) if called and name in filled.items else kind
                for name, kind in zip(signature.arg_names, signature.arg_kinds, strict=True)
            ],
            ret_type=self._given(called, signature.ret_type),
        )

    def _given(self, called: Type | None, declared: Type) -> Type:
        """What a call, or `output`, gives: of a group what its function does, of a task what has keys."""
        group, proper = get_proper_type(called), get_proper_type(declared)
        if isinstance(group, Instance) and group.type.fullname == _GROUP:
            given = get_proper_type(group.args[-1])
            return declared if isinstance(given, NoneType) else given
        is_xcom = isinstance(proper, Instance) and proper.type.fullname == _XCOM
        return Instance(self._class(_KEYED), []) if is_xcom else declared

    def _class(self, fullname: str) -> TypeInfo:
        found = self.lookup_fully_qualified(fullname)
        assert found and isinstance(found.node, TypeInfo)
        return found.node


def _opened(declared: Type, xcom: Instance, actual: Sequence[Expression]) -> Type:
    """A parameter's type or an XComArg; where a list or the like is written, also one that holds some."""
    written = bool(actual) and isinstance(actual[0], _DISPLAYS)
    return UnionType.make_union([_holding(declared, xcom) if written else declared, xcom])


def _holding(declared: Type, xcom: Instance) -> Type:
    """The type with XComArgs as values in containers. Keys stay: Airflow does not look for any there."""
    proper = get_proper_type(declared)
    if isinstance(proper, UnionType):
        return UnionType.make_union([_holding(item, xcom) for item in proper.items])
    if isinstance(proper, TupleType):
        return proper.copy_modified(items=[_value(item, xcom) for item in proper.items])
    if isinstance(proper, Instance) and proper.args:
        return proper.copy_modified(args=[*proper.args[:-1], _value(proper.args[-1], xcom)])
    return declared


def _value(declared: Type, xcom: Instance) -> Type:
    return UnionType.make_union([_holding(declared, xcom), xcom])


def _group(context: FunctionSigContext) -> CallableType:
    """`@task_group` of a function that gives anything: Airflow's own type forgets what a task gives."""
    signature = context.default_signature
    opened = [
        each.copy_modified(values=[]) if isinstance(each, TypeVarType) else each
        for each in signature.variables
    ]
    return signature.copy_modified(variables=opened)


def plugin(version: str) -> type[Plugin]:
    """What mypy asks for."""
    return TaskFlow
