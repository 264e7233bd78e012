"""Whatever a plan's file holds, reading it gives a plan or the one error that says why not."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from coord_cli.command import UsageProblem
from coord_cli.plan import load_plan
from coord_cli.plan_import import FORMS, import_plan
from coord_cli.plan_problems import PlanError
from coord_cli.plan_shape import shape_lines, shape_of
from hypothesis import given, settings
from hypothesis import strategies as st

FIELDS = ("title", "prompt", "prompt_file", "deps", "priority", "timeout", "budget", "!!bool x")
# A good plan but for one field, and the issues of other tools.
FORMS_OF_PLANS = {
    "p.toml": '[[tasks]]\nid = "a"\nprompt = "x"\n[defaults]\nFIELD = VALUE\n',
    "p.yaml": "tasks:\n- {id: a, prompt: x}\n- id: b\n  FIELD: VALUE\n",
    "p.json": '{"tasks": [{"id": "a", "prompt": "x"}, {"id": "b", "prompt": "x", "FIELD": VALUE}]}',
    "p.md": "---\nFIELD: VALUE\n---\nDo it.\n",
}
ISSUES = '[{"number": 1, "id": "a", "title": "t", "FIELD": VALUE}]'
VALUES = (
    *("99999999999999999999h", '"99999999999999999999h"', "1e400", "-1", "nan"),
    *("9" * 400, "9" * 5_000),
    *("0x" + "f" * 5_000, "!!int x", "!!bool x", "!!timestamp x", "!!binary x", "!!set {a}"),
    *('"\\0"', '"\\ud800"', '"\\u0000"', "\0", "[" * 1_200, "[" * 1_200 + "]" * 1_200, "~"),
    *('{"a": ' * 2_000, "a." * 3_000, "'''", "&a x", "*a", "<<: ", "? ", "# ", '"', "2026-99-99"),
    *("{a: 1}", '{"a": 1}', "[1]", '["a"]', '{"\\ud800": "x"}', "$99999999999", "\ufeff"),
)
PIECE = st.one_of(st.sampled_from(VALUES), st.text(max_size=5))


def contents(template: str) -> st.SearchStrategy[bytes]:
    value = st.one_of(st.sampled_from(VALUES), st.lists(PIECE, max_size=3).map("".join))
    field = st.sampled_from(FIELDS)
    filled = st.builds(lambda f, v: template.replace("FIELD", f).replace("VALUE", v), field, value)
    return st.one_of(filled, filled, st.text()).map(lambda text: text.encode()) | st.binary()


@pytest.mark.parametrize("name", FORMS_OF_PLANS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_file_is_a_plan_or_the_one_error(name: str, data: st.DataObject) -> None:
    content = data.draw(contents(FORMS_OF_PLANS[name]))
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            shape_lines(shape_of(load_plan(path if name != "p.md" else path.parent)))
        except PlanError as error:
            assert error.problems  # noqa: PT017 - a plan is as good an outcome.


@settings(max_examples=60, deadline=None)
@given(content=contents(ISSUES), form=st.sampled_from([None, *FORMS]))
def test_any_text_can_be_imported_or_is_the_one_error(content: bytes, form: str | None) -> None:
    try:
        assert import_plan(content, form).content["tasks"]
    except UsageProblem as problem:
        assert str(problem)  # noqa: PT017 - a plan is as good an outcome.
