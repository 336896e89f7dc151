"""Paths with a variable as other frameworks write it."""

import pytest


@pytest.mark.parametrize("path", ["/x/:id", "/x/<id>", "/x/<int:id>/y"])
def test_a_variable_of_other_frameworks_is_pointed_out(app, caplog, path):
    """It stands for itself, as on AWS, and nobody got there."""

    async def handler(event, context):
        return None

    function = app.function("handler")(handler)
    app.http_api("shop").route("GET", path)(function)
    app.rest_api("pets").method("GET", path)(function)
    hints = [record.getMessage() for record in caplog.records]
    assert [hint.partition(":")[0] for hint in hints] == ["API shop", "API pets"]
    assert all(path in hint for hint in hints)
    assert all("a variable is written {id}" in hint for hint in hints)


def test_a_colon_within_a_segment_is_no_variable(app, caplog):
    app.http_api("shop").proxy("POST /orders/{id}/items:clear", "http://127.0.0.1:9")
    assert not caplog.records
