"""Queries: T-SQL read by sqlglot, the views in it put in from the instance, and the rest run by DuckDB.

A view has exactly the columns of the server's version, so DuckDB finds those that are not there; what it says becomes
the error that SQL Server gives.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import duckdb
import sqlglot
from sqlglot import exp

from .catalogue import View
from .errors import SqlError
from .instance import Database
from .wire import Result

if TYPE_CHECKING:
    from .session import Session

_ARGUMENTS = {
    "sys.dm_exec_sql_text": ("sql_handle",),
    "sys.dm_exec_input_buffer": ("session_id", ""),
    "sys.dm_io_virtual_file_stats": ("database_id", "file_id"),
    "sys.dm_os_volume_stats": ("database_id", "file_id"),
}
# What a column of DuckDB is for the client.
_TYPES = {
    "TINYINT": "smallint",
    "UTINYINT": "tinyint",
    "SMALLINT": "smallint",
    "INTEGER": "int",
    "BIGINT": "bigint",
    "HUGEINT": "bigint",
    "FLOAT": "real",
    "DOUBLE": "float",
    "BOOLEAN": "bit",
    "VARCHAR": "nvarchar",
    "BLOB": "varbinary",
    "TIMESTAMP": "datetime2",
    "DATE": "date",
    "UUID": "uniqueidentifier",
    '"NULL"': "int",
}
_UNKNOWN_COLUMN = re.compile(
    r'(?:Referenced column|does not have a column named|not found in FROM clause.*?column) "?([^"]+)"?'
)
_ERRORS: tuple[tuple[type[duckdb.Error], int, str, int], ...] = (
    (duckdb.ParserException, 102, "Incorrect syntax near '{0}'.", 15),
    (duckdb.ConversionException, 245, "Conversion failed: {0}", 16),
    (duckdb.ConstraintException, 2627, "Violation of a constraint: {0}", 14),
    (
        duckdb.TransactionException,
        1205,
        "Transaction was deadlocked with another process and has been chosen as the deadlock victim.",
        13,
    ),
)


def run(session: Session, sql: str, parameters: Mapping[str, Any]) -> Result:
    """Run one query or change of data."""
    try:
        tree = sqlglot.parse_one(sql, read="tsql")
    except sqlglot.errors.SqlglotError as error:
        found = error.errors[0].get("highlight") if isinstance(error, sqlglot.ParseError) and error.errors else sql[:40]
        raise SqlError(102, f"Incorrect syntax near '{found}'.", 15) from None
    bound: dict[str, Any] = {}
    translated = tree.transform(_Translation(session, parameters, bound).node, copy=False)
    _lock_tables(session, translated)
    statement = translated.sql(dialect="duckdb")
    try:
        cursor = session.cursor.execute(statement, bound or None)
        described = cursor.description or []
        rows = cursor.fetchall()
    except duckdb.Error as error:
        raise _as_sql_server_says(error) from None
    if not isinstance(tree, (exp.Query, exp.Values)):
        counted = rows[0][0] if rows and rows[0] and isinstance(rows[0][0], int) else None
        return Result(affected=counted)
    kinds = [_type_of(str(column[1])) for column in described]
    return Result(
        columns=[
            (_label(tree, at, str(column[0])), kind)
            for at, (column, kind) in enumerate(zip(described, kinds, strict=True))
        ],
        rows=rows,
    )


def _label(tree: exp.Query | exp.Values, at: int, name: str) -> str:
    """The name of a column: none for an expression that was given none, as SQL Server has it."""
    selected = tree.selects if isinstance(tree, exp.Query) else []
    if len(selected) > at and not any(isinstance(found, exp.Star) for found in selected):
        return str(selected[at].alias_or_name)
    return name


def _type_of(kind: str) -> str:
    if kind.startswith("DECIMAL"):
        return f"decimal(38,{kind.rstrip(')').partition(',')[2]}".replace(" ", "")
    return _TYPES.get(kind.partition("(")[0], "nvarchar")


def _as_sql_server_says(error: duckdb.Error) -> SqlError:
    text = str(error).splitlines()[0]
    if isinstance(error, duckdb.BinderException) and (column := _UNKNOWN_COLUMN.search(text)):
        return SqlError(207, f"Invalid column name '{column[1]}'.")
    if isinstance(error, duckdb.CatalogException):
        name = re.search(r"with name \"?(\S+?)\"? (does not|already)", text)
        if name and name[2] == "already":
            return SqlError(2714, f"There is already an object named '{name[1]}' in the database.", 16, 6)
        if "Function" in text:
            return SqlError(195, f"'{name[1] if name else '?'}' is not a recognized built-in function name.", 15, 10)
        return SqlError(208, f"Invalid object name '{name[1] if name else text}'.")
    for kind, number, words, severity in _ERRORS:
        if isinstance(error, kind):
            near = re.search(r'near "(.*?)"', text)
            return SqlError(number, words.format(near[1] if near else text), severity)
    return SqlError(8180, f"Statement(s) could not be prepared: {text}")


def _lock_tables(session: Session, tree: exp.Expr) -> None:
    """Take the locks that SQL Server would: tables that are changed, until the transaction ends."""
    changed = isinstance(tree, (exp.Insert, exp.Update, exp.Delete, exp.Create, exp.Drop, exp.Alter))
    names = {
        f"{table.catalog}.{table.name}".lower() for table in tree.find_all(exp.Table) if table.catalog.startswith("db")
    }
    for name in sorted(names):
        session.lock_table(name, exclusive=changed)


class _Translation:
    """The nodes of T-SQL that DuckDB does not have."""

    def __init__(self, session: Session, parameters: Mapping[str, Any], bound: dict[str, Any]) -> None:
        self._session = session
        self._instance = session.instance
        self._parameters = {name.lstrip("@").lower(): value for name, value in parameters.items()}
        self._bound = bound

    def node(self, node: exp.Expr) -> exp.Expr:
        for kind, change in self._CHANGES:
            if isinstance(node, kind):
                return change(self, node)
        return node

    # -------------------------------------------------------------- tables and views
    def _table(self, node: exp.Table) -> exp.Expr:
        node.set("hints", None)
        function = node.this if isinstance(node.this, exp.Anonymous) else None
        name = ".".join(part for part in (node.catalog, node.db, function.name if function else node.name) if part)
        if node.db.lower() == "information_schema":
            store = exp.Literal.string(self._database(node.catalog).store)
            node.set("catalog", None)
            alias = node.alias or node.name
            node.set("alias", None)
            return exp.select("*").from_(node).where(exp.column("table_catalog").eq(store)).subquery(alias)
        found = self._find(name)
        if found is None:
            if node.db.lower() in ("sys",) or function:
                raise SqlError(208, f"Invalid object name '{name}'.")
            node.set("catalog", exp.to_identifier(self._database(node.catalog).store) if node.name else None)
            if self._is_common_table(node):
                node.set("catalog", None)
                return node
            node.set("db", exp.to_identifier("dbo") if node.db in ("", "dbo") else node.args.get("db"))
            return node
        view, database = found
        made = self._rows(view, database, list(function.expressions) if function else [])
        return made.as_(node.alias or view.name.rpartition(".")[2], table=True)

    def _is_common_table(self, node: exp.Table) -> bool:
        scope: exp.Expr | None = node
        while scope is not None:
            with_ = scope.args.get("with_") or scope.args.get("with")
            if with_ is not None and any(found.alias.lower() == node.name.lower() for found in with_.expressions):
                return not node.db
            scope = scope.parent
        return False

    def _lateral(self, node: exp.Lateral) -> exp.Expr:
        called = node.this
        if not isinstance(called, exp.Dot):
            return node
        function = called.expression
        name = f"{called.this.name}.{function.name}"
        found = self._find(name)
        if found is None:
            raise SqlError(208, f"Invalid object name '{name}'.")
        made = self._rows(*found, list(function.expressions))
        node.set("this", made)
        join = node.parent
        node.set("cross_apply", None)
        if isinstance(join, exp.Join) and not isinstance(join.args.get("on"), exp.Expr):
            join.set("side", "LEFT")
            join.set("on", exp.true())
        return node

    def _find(self, name: str) -> tuple[View, Database] | None:
        parts = name.lower().split(".")
        views = self._instance.views
        if (view := views.get(name.lower())) is not None:
            return view, self._session.database
        if len(parts) == 3 and (view := views.get(".".join(parts[1:]))) is not None:
            return view, self._instance.database(parts[0])
        return None

    def _database(self, name: str) -> Database:
        found = self._instance.database(name) if name else self._session.database
        if found.state != "ONLINE":
            raise SqlError(942, f"Database '{found.name}' cannot be opened because it is {found.state.lower()}.", 14, 4)
        return found

    def _rows(self, view: View, database: Database, arguments: list[exp.Expr]) -> exp.Subquery:
        rows = list(self._instance.rows(view, database, self._session))
        named = _ARGUMENTS.get(view.name, ())
        if view.is_function and len(arguments) != len(named):
            raise SqlError(
                313, f"An insufficient number of arguments were supplied for the function {view.name}.", 16, 3
            )
        hidden = {name: "BLOB" for name in named if name and name not in view.columns}
        columns = {**view.columns, **hidden}
        casts = [
            exp.cast(exp.column(f"c{at}"), kind, dialect="duckdb").as_(name, quoted=True)
            if kind != "VARCHAR"
            else exp.Collate(
                this=exp.cast(exp.column(f"c{at}"), kind, dialect="duckdb"), expression=exp.var("NOCASE")
            ).as_(name, quoted=True)
            for at, (name, kind) in enumerate(columns.items())
        ]
        lines = [exp.Tuple(expressions=[_literal(row.get(name)) for name in columns]) for row in rows]
        nothing = exp.Tuple(expressions=[exp.null() for _ in columns])
        source = exp.Values(
            expressions=lines or [nothing],
            alias=exp.TableAlias(
                this=exp.to_identifier("v"), columns=[exp.to_identifier(f"c{at}") for at in range(len(columns))]
            ),
        )
        made = exp.select(*casts).from_(source)
        if not lines:
            made = made.where(exp.false())
        for name, argument in zip(named, arguments, strict=False):
            if name and not isinstance(argument, (exp.Null, exp.Var)):
                number = list(columns).index(name)
                made = made.where(
                    exp.EQ(
                        this=exp.cast(exp.column(f"c{number}"), columns[name], dialect="duckdb"), expression=argument
                    )
                )
        return made.subquery()

    # -------------------------------------------------------------- values
    def _parameter(self, node: exp.Parameter) -> exp.Expr:
        if isinstance(node.parent, exp.Parameter):
            return node
        inner = node.this
        if isinstance(inner, exp.Parameter):
            return _literal(self._session.variable("@@" + inner.name.lower()))
        name = inner.name.lower()
        if name not in self._parameters:
            raise SqlError(137, f'Must declare the scalar variable "@{inner.name}".', 15, 2)
        self._bound[name] = self._parameters[name]
        return exp.Parameter(this=exp.var(name))

    def _national(self, node: exp.National) -> exp.Expr:
        return exp.Literal.string(node.name)

    def _now(self, _node: exp.Expr) -> exp.Expr:
        return _literal(self._instance.now())

    def _login(self, node: exp.Expr) -> exp.Expr:
        return _login_name(self._session, [node.this] if node.this else [])

    def _type(self, node: exp.DataType) -> exp.Expr:
        if node.this is exp.DType.BIT:
            return exp.DataType(this=exp.DType.BOOLEAN)
        return exp.DataType(this=node.this) if str(node.args.get("expressions")).lower().find("max") >= 0 else node

    def _convert(self, node: exp.Convert) -> exp.Expr:
        """Style 1 of a text shows bytes as a literal of them."""
        style = node.args.get("style")
        if style is None or style.name != "1" or not node.this.is_type(*exp.DataType.TEXT_TYPES):
            return node
        return exp.Concat(
            expressions=[exp.Literal.string("0x"), exp.Anonymous(this="HEX", expressions=[node.expression])]
        )

    def _function(self, node: exp.Anonymous) -> exp.Expr:
        name = node.name.upper()
        made = _FUNCTIONS.get(name)
        if made is None:
            return node
        return made(self._session, list(node.expressions))

    _CHANGES: tuple[tuple[type[exp.Expr], Callable[..., exp.Expr]], ...] = (
        (exp.Lateral, _lateral),
        (exp.Table, _table),
        (exp.Parameter, _parameter),
        (exp.National, _national),
        (exp.Convert, _convert),
        (exp.CurrentTimestamp, _now),
        (exp.CurrentUser, _login),
        (exp.DataType, _type),
        (exp.Anonymous, _function),
    )


def _literal(value: Any) -> exp.Expr:
    if value is None:
        return exp.null()
    if isinstance(value, bool):
        return exp.Boolean(this=value)
    if isinstance(value, (int, float)):
        return exp.Literal.number(value) if value >= 0 else exp.Neg(this=exp.Literal.number(-value))
    if isinstance(value, bytes):
        return exp.cast(exp.Literal.string("".join(f"\\x{byte:02x}" for byte in value)), "BLOB")
    if isinstance(value, dt.datetime):
        return exp.cast(exp.Literal.string(value.isoformat(" ")), "TIMESTAMP")
    return exp.Literal.string(str(value))


def _choice(pairs: Mapping[Any, Any], argument: exp.Expr) -> exp.Expr:
    """What a function of one argument is, as a CASE over all that it can be."""
    case = exp.Case(this=argument)
    for key, value in pairs.items():
        case = case.when(_literal(key), _literal(value))
    return case.else_(exp.null()) if pairs else exp.null()


def _text_of(argument: exp.Expr) -> str:
    return argument.name if isinstance(argument, (exp.Literal, exp.National)) else ""


def _property(session: Session, arguments: list[exp.Expr]) -> exp.Expr:
    return _literal(session.server_property(_text_of(arguments[0])))


def _database_name(session: Session, arguments: list[exp.Expr]) -> exp.Expr:
    if not arguments:
        return _literal(session.database.name)
    return _choice({found.database_id: found.name for found in session.instance.databases.values()}, arguments[0])


def _database_number(session: Session, arguments: list[exp.Expr]) -> exp.Expr:
    if not arguments:
        return _literal(session.database.database_id)
    names = {found.name.lower(): found.database_id for found in session.instance.databases.values()}
    return _choice(names, exp.Lower(this=arguments[0]))


def _login_name(session: Session, arguments: list[exp.Expr]) -> exp.Expr:
    if not arguments:
        return _literal(session.login.name)
    return _choice({found.sid: found.name for found in session.instance.logins.values() if found.sid}, arguments[0])


def _has_permission(session: Session, arguments: list[exp.Expr]) -> exp.Expr:
    permission, what = _text_of(arguments[2]).upper(), _text_of(arguments[0])
    if _text_of(arguments[1]).upper() == "OBJECT":
        permission = f"{permission} ON {what.lower()}"
    return _literal(int(session.instance.may(session.login, permission)))


def _has_access(session: Session, arguments: list[exp.Expr]) -> exp.Expr:
    may = session.instance.may(session.login, "CONNECT ANY DATABASE")
    names = session.instance.databases
    # The guest of these lets everybody in.
    open_to_all = {"master", "msdb", "tempdb"}
    return _choice(
        {
            name: int(may or name in open_to_all or session.login.name.lower() in found.principals)
            for name, found in names.items()
        },
        exp.Lower(this=arguments[0]),
    )


def _user_number(session: Session, arguments: list[exp.Expr]) -> exp.Expr:
    found = session.database.principals.get(_text_of(arguments[0]).lower())
    return _literal(found.principal_id if found is not None else None)


def _is_member(session: Session, arguments: list[exp.Expr]) -> exp.Expr:
    role = session.instance.logins.get(_text_of(arguments[0]).lower())
    return _literal(None if role is None else int(session.login.principal_id in role.members))


def _utc(session: Session, _arguments: list[exp.Expr]) -> exp.Expr:
    return _literal(session.instance.now() - session.instance.offset)


_FUNCTIONS: Mapping[str, Callable[[Session, list[exp.Expr]], exp.Expr]] = {
    "SERVERPROPERTY": _property,
    "DB_NAME": _database_name,
    "DB_ID": _database_number,
    "SUSER_SNAME": _login_name,
    "SUSER_NAME": _login_name,
    "ORIGINAL_LOGIN": _login_name,
    "HAS_DBACCESS": _has_access,
    "HAS_PERMS_BY_NAME": _has_permission,
    "USER_ID": _user_number,
    "IS_SRVROLEMEMBER": _is_member,
    "GETUTCDATE": _utc,
    "SYSUTCDATETIME": _utc,
    "XACT_STATE": lambda session, _: _literal(int(session.variable("@@trancount") > 0)),
}
