"""Bindings: what is generated is formatted, is accepted by mypy and by compilers, and reads a sample back."""

import importlib.util
import json
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from forebay import InvalidParameterValue, _core
from forebay._schema import STYLES, bind

ORDER = {
    "version": "0",
    "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
    "detail-type": "Order Placed",
    "source": "com.example.shop",
    "account": "111111111111",
    "time": "2026-01-31T23:59:59Z",
    "region": "us-east-1",
    "resources": ["r"],
    "detail": {
        "orderId": 183214,
        "customer": {"name": "Ada", "vip": False, "address": {"city": "Köln", "lat": 50.94}},
        "placedAt": "2026-01-31T23:59:58Z",
        "total": 149.95,
        "coupon": None,
        "lines": [{"sku": "BX-1002", "quantity": 3}, {"sku": "HM-0001", "quantity": 1}],
        "tags": ["web", "first"],
        "empty": [],
        "byId": {"0a787ecb-4015-4015-4015-000000000001": {"x": 1}},
        "readOnly": True,
    },
}
# A second sample: some keys are optional now, and some may be null.
LATER = {
    **ORDER,
    "detail": {
        key: value for key, value in ORDER["detail"].items() if key not in {"coupon", "tags", "lines", "placedAt"}
    }
    | {"customer": None, "lines": [{"sku": None, "quantity": 1}]},
}
# Keys that are not names, or somebody else's, or alike.
AWKWARD = {
    **ORDER,
    "detail": {
        "class": 1,
        "self": 1,
        "None": None,
        "list": [1],
        "datetime": "2026-01-31T23:59:59Z",
        "str": "x",
        "model_dump": 1,
        "json": 1,
        "_private": 1,
        "1st": 1,
        "a-b": 1,
        "a_b": 2,
        "a b": 3,
        "x": 1,
        "X": 2,
        'qu"ote\\': 1,
        "ü": 1,
        "any": {"basemodel": {"y": 1}},
        "marshaller": {"z": 1},
        "load": {"z": 2, "w": 1},
        "this": "x",
        "additionalProperties": 1,
    },
}
SAMPLES = {
    "order": [ORDER],
    "optional": [ORDER, LATER],
    "awkward": [AWKWARD],
    "plain": [{"a": {"b": 1}, "c": [{"d": 1}]}],
}
NAME = "com.example.shop@OrderPlaced"


def schema(samples, schema_format="OpenApi3"):
    return _core.infer_schema([json.dumps(sample) for sample in samples], schema_format)


def bound(samples, language, style, schema_format="OpenApi3", name=NAME):
    content = schema(samples, schema_format)
    return bind(content, schema_format, name=name, version="1", language=language, style=style)


def loaded(folder: Path, path: str):
    spec = importlib.util.spec_from_file_location("generated", folder / path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["generated"] = module
    spec.loader.exec_module(module)
    return module


def written(folder: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def root(samples):
    return "AWSEvent" if "detail" in samples[0] else "Event"


def same(one, other):
    """Compare what JSON holds; a moment in two notations is one moment."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, str) and "T" in one and one != other:
        return datetime.fromisoformat(one) == datetime.fromisoformat(other)
    return one == other


@pytest.fixture(params=SAMPLES)
def samples(request):
    return SAMPLES[request.param]


@pytest.mark.parametrize("schema_format", ["OpenApi3", "JSONSchemaDraft4"])
def test_a_dataclass_reads_a_sample_and_gives_it_back(tmp_path, samples, schema_format):
    [(path, text)] = bound(samples, "python", "dataclass", schema_format).items()
    module = loaded(written(tmp_path, {path: text}), path)
    for sample in samples:
        given = module.dump(module.load(getattr(module, root(samples)), sample))
        # What is optional and null is not told from what is absent.
        is_exact = len(samples) == 1
        assert same(given, sample) if is_exact else same(without_null(given), without_null(sample))


@pytest.mark.parametrize("schema_format", ["OpenApi3", "JSONSchemaDraft4"])
def test_a_pydantic_model_reads_a_sample_and_gives_it_back(tmp_path, samples, schema_format):
    [(path, text)] = bound(samples, "python", "pydantic", schema_format).items()
    module = loaded(written(tmp_path, {path: text}), path)
    for sample in samples:
        model = getattr(module, root(samples)).model_validate(sample)
        assert same(model.model_dump(mode="json", by_alias=True, exclude_unset=True), sample)


def test_a_pydantic_model_refuses_what_does_not_fit(tmp_path):
    pydantic = pytest.importorskip("pydantic")
    [(path, text)] = bound([ORDER], "python", "pydantic").items()
    module = loaded(written(tmp_path, {path: text}), path)
    with pytest.raises(pydantic.ValidationError, match="orderId"):
        module.OrderPlaced.model_validate({**ORDER["detail"], "orderId": "x"})
    assert module.AWSEvent.model_validate(ORDER).detail_type == "Order Placed"


@pytest.mark.parametrize("style", ["dataclass", "pydantic", "typeddict", "aws"])
def test_a_list_that_was_empty_in_all_samples_takes_any_elements(tmp_path, style):
    """A model of a discovered schema refused each event that had resources."""
    empty = {**ORDER, "resources": []}
    text = "".join(bound([empty], "python", style).values())
    assert ('"list[object]"' if style == "aws" else "list[Any]") in text
    if style == "pydantic":
        model = loaded(written(tmp_path, {"model.py": text}), "model.py").AWSEvent
        assert model.model_validate(ORDER).resources == ["r"]


def test_aws_style_reads_a_sample_and_gives_it_back(tmp_path, samples, monkeypatch):
    written(tmp_path, bound(samples, "python", "aws"))
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.split(".")[0] == "schema"]:
        monkeypatch.delitem(sys.modules, name)
    package = importlib.import_module("schema.com_example_shop.orderplaced")
    for sample in samples:
        event = package.Marshaller.unmarshall(sample, getattr(package, root(samples)))
        assert same(package.Marshaller.marshall(event), without_null(sample))
        assert event == package.Marshaller.unmarshall(sample, type(event))
        assert str(event) == event.to_str()


def without_null(value):
    """AWS's classes do not tell null from absent."""
    if isinstance(value, dict):
        return {key: without_null(item) for key, item in value.items() if item is not None}
    return [without_null(item) for item in value] if isinstance(value, list) else value


def checked(*command, cwd):
    ran = subprocess.run([sys.executable, "-m", *command], capture_output=True, check=False, text=True, cwd=cwd)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_python_is_formatted_and_typed(tmp_path):
    for number, samples in enumerate(SAMPLES.values()):
        for language, style in STYLES:
            if language == "python":
                written(tmp_path, bound(samples, language, style, name=f"shop{number}@{style}"))
    checked("ruff", "format", "--isolated", "--diff", ".", cwd=tmp_path)
    checked("ruff", "check", "--isolated", "--select", "E4,E7,E9,F,I", ".", cwd=tmp_path)
    modules = [str(path) for path in tmp_path.glob("schema/shop*/*.py") if path.stem != "__init__"]
    assert len(modules) == 12
    checked("mypy", "--strict", "--config-file=", "--cache-dir", "cache", *modules, cwd=tmp_path)


def test_the_same_schema_gives_the_same_code_with_its_hash_at_the_top():
    for language, style in STYLES:
        files = bound([ORDER], language, style)
        assert files == bound([ORDER], language, style)
        assert all(f"Schema {NAME} version 1, sha256" in text for path, text in files.items() if text), (
            language,
            style,
        )


def test_a_type_checker_sees_what_the_schema_says():
    [(_, text)] = bound([ORDER, LATER], "python", "pydantic").items()
    assert "    coupon: Any = None" in text
    assert "    customer: Customer | None\n" in text
    assert "    placedAt: datetime | None = None" in text
    [(_, text)] = bound([ORDER, LATER], "python", "typeddict").items()
    assert "    placedAt: NotRequired[str]" in text
    assert '        "detail-type": "str",' in text


def test_typescript_says_what_may_be_absent_or_null():
    [(path, text)] = bound([ORDER, LATER], "typescript", "interface").items()
    assert path == "schema/com_example_shop/orderplaced.ts"
    assert '  "detail-type": string;' in text
    assert "  placedAt?: string;" in text
    assert "  customer: Customer | null;" in text


@pytest.mark.skipif(shutil.which("tsc") is None, reason="there is no tsc on the path")
@pytest.mark.parametrize("style", ["interface", "aws"])
def test_typescript_compiles(tmp_path, samples, style):
    files = bound(samples, "typescript", style)
    paths = [str(written(tmp_path, files) / path) for path in files]
    command = ["tsc", "--strict", "--noEmit", "--target", "es2020", "--module", "commonjs", *paths]
    ran = subprocess.run(command, capture_output=True, check=False, text=True)
    assert ran.returncode == 0, ran.stdout


@pytest.mark.skipif(
    shutil.which("tsc") is None or shutil.which("node") is None, reason="there is no tsc or node on the path"
)
def test_typescript_classes_read_a_sample_and_give_it_back(tmp_path, samples):
    files = bound(samples, "typescript", "aws")
    written(tmp_path, files)
    program = f"""
import {{ Marshaller }} from "./schema/com_example_shop/orderplaced";
const sample = {json.dumps(samples[0])};
const event = Marshaller.unmarshall(sample, "{root(samples)}");
console.log(JSON.stringify(Marshaller.marshall(event, "{root(samples)}")));
"""
    (tmp_path / "main.ts").write_text(program)
    command = ["tsc", "--target", "es2020", "--module", "commonjs", str(tmp_path / "main.ts")]
    ran = subprocess.run(command, capture_output=True, check=False, text=True)
    assert ran.returncode == 0, ran.stdout
    told = subprocess.run(["node", str(tmp_path / "main.js")], capture_output=True, check=True, text=True).stdout
    assert same(json.loads(told), samples[0])


# As much of Jackson as the generated code names: it compiles against it, and needs no download.
JACKSON = {
    "annotation/JsonAutoDetect": "public @interface JsonAutoDetect { enum Visibility { NONE } Visibility fieldVisibility();"
    " Visibility getterVisibility(); Visibility isGetterVisibility(); Visibility setterVisibility(); }",
    "annotation/JsonIgnoreProperties": "public @interface JsonIgnoreProperties { boolean ignoreUnknown(); }",
    "annotation/JsonInclude": "public @interface JsonInclude { enum Include { NON_NULL } Include value(); }",
    "annotation/JsonProperty": "public @interface JsonProperty { String value(); }",
    "annotation/JsonAnyGetter": "public @interface JsonAnyGetter {}",
    "annotation/JsonAnySetter": "public @interface JsonAnySetter {}",
    "databind/DeserializationFeature": "public enum DeserializationFeature { ADJUST_DATES_TO_CONTEXT_TIME_ZONE }",
    "databind/SerializationFeature": "public enum SerializationFeature { WRITE_DATES_AS_TIMESTAMPS }",
    "databind/JavaType": "public class JavaType {}",
    "databind/TypeFactory": "public class TypeFactory {"
    " public JavaType constructParametricType(Class<?> a, Class<?>... b) { return null; } }",
    "databind/ObjectMapper": "public class ObjectMapper { public ObjectMapper registerModule(Object o) { return this; }"
    " public ObjectMapper disable(SerializationFeature f) { return this; }"
    " public ObjectMapper disable(DeserializationFeature f) { return this; }"
    " public TypeFactory getTypeFactory() { return null; }"
    " public void writeValue(java.io.OutputStream o, Object v) throws java.io.IOException {}"
    " public <T> T readValue(java.io.InputStream i, Class<T> t) throws java.io.IOException { return null; }"
    " public <T> T readValue(java.io.InputStream i, JavaType t) throws java.io.IOException { return null; } }",
    "datatype/jsr310/JavaTimeModule": "public class JavaTimeModule {}",
}


@pytest.mark.skipif(shutil.which("javac") is None, reason="there is no javac on the path")
def test_java_compiles(tmp_path, samples):
    files = bound(samples, "java", "aws")
    for name, text in JACKSON.items():
        package = f"com.fasterxml.jackson.{name.rpartition('/')[0].replace('/', '.')}"
        files[f"com/fasterxml/jackson/{name}.java"] = f"package {package};\n{text}\n"
    paths = [str(written(tmp_path, files) / path) for path in files]
    command = ["javac", "-encoding", "utf-8", "-d", str(tmp_path / "classes"), *paths]
    ran = subprocess.run(command, capture_output=True, check=False, text=True)
    assert ran.returncode == 0, ran.stderr


def test_schemas_that_name_themselves_and_that_nobody_inferred_are_bound(tmp_path):
    node = {"type": "object", "required": ["v"], "properties": {"v": {}, "next": {"$ref": "#/definitions/Node"}}}
    inline = {"type": "object", "properties": {"deep": {"type": "object", "properties": {"x": {"type": "integer"}}}}}
    document = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "title": "List",
        "type": "object",
        "definitions": {"Node": node},
        "properties": {"head": {"$ref": "#/definitions/Node"}, "inline": inline, "either": {"anyOf": [{}, {}]}},
    }
    sample = {"head": {"v": 1, "next": {"v": "x"}}, "inline": {"deep": {"x": 1}}, "either": [1]}
    for style in ("dataclass", "pydantic"):
        content = json.dumps(document)
        files = bind(content, "JSONSchemaDraft4", name="lists@List", version="3", language="python", style=style)
        module = loaded(written(tmp_path / style, files), "schema/lists/list.py")
        if style == "dataclass":
            assert module.dump(module.load(module.List, sample)) == sample
        else:
            told = module.List.model_validate(sample).model_dump(by_alias=True, exclude_unset=True)
            assert told == sample


def test_a_root_of_the_name_of_another_schema_is_another_class(tmp_path):
    order = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}
    document = {"title": "Order", "type": "object", "properties": {"order": {"$ref": "#/definitions/Order"}}}
    for root_name, written_document, sample in [
        ("OrderRoot", document, {"order": {"id": 1}}),
        ("Order", {"title": "Order", "$ref": "#/definitions/Order"}, {"id": 1}),
    ]:
        content = json.dumps(written_document | {"definitions": {"Order": order}})
        files = bind(content, "JSONSchemaDraft4", name="s@Order", version="1", language="python", style="dataclass")
        module = loaded(written(tmp_path / root_name, files), "schema/s/order.py")
        assert module.dump(module.load(getattr(module, root_name), sample)) == sample


def test_a_schema_that_is_wrong_or_has_no_object_is_refused():
    for content, told in [('{"type": "text"}', r"\$\.type"), ('{"type": "string"}', "no object")]:
        with pytest.raises(InvalidParameterValue, match=told):
            bind(content, "JSONSchemaDraft4", name="s@T", version="1", language="java", style="aws")


def test_a_long_chain_of_references_is_read():
    chain = {
        f"C{number}": {"type": "object", "properties": {"next": {"$ref": f"#/definitions/C{number + 1}"}}}
        for number in range(900)
    }
    chain["C900"] = {"type": "object", "properties": {"end": {"type": "integer"}}}
    content = json.dumps({"$ref": "#/definitions/C0", "definitions": chain})
    [(_, text)] = bind(
        content, "JSONSchemaDraft4", name="s@C", version="1", language="python", style="pydantic"
    ).items()
    assert text.index("class C900(") < text.index("class C0(")


def test_an_unknown_language_is_refused_with_what_there_is():
    with pytest.raises(InvalidParameterValue, match="python dataclass"):
        bound([ORDER], "python", "attrs")
