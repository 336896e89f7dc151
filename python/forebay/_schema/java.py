"""Java as AWS's registry writes it: Jackson classes with fluent setters, and a marshaller."""

import json
from collections.abc import Sequence
from typing import Final

from forebay._schema.names import JAVA_WORDS, identifiers, words
from forebay._schema.read import Component, Type

_SCALARS: Final = {
    "any": "Object",
    "boolean": "Boolean",
    "date-time": "OffsetDateTime",
    "integer": "Long",
    "number": "Double",
    "string": "String",
}
_CLASSES: Final = words(
    "AWSEvent Boolean Double HashMap JsonAnyGetter JsonAnySetter JsonAutoDetect JsonIgnoreProperties "
    "JsonInclude JsonProperty List Long Map Marshaller Object Objects OffsetDateTime Override String"
)

# Jackson goes by the fields alone: `getX` of a renamed key would be a second property.
_ANNOTATIONS: Final = """
@JsonAutoDetect(
    fieldVisibility = JsonAutoDetect.Visibility.NONE,
    getterVisibility = JsonAutoDetect.Visibility.NONE,
    isGetterVisibility = JsonAutoDetect.Visibility.NONE,
    setterVisibility = JsonAutoDetect.Visibility.NONE)
@JsonIgnoreProperties(ignoreUnknown = true)
@JsonInclude(JsonInclude.Include.NON_NULL)
"""
_MARSHALLER: Final = """
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JavaType;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.datatype.jsr310.JavaTimeModule;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
%(imports)s
public final class Marshaller {
    private static final ObjectMapper MAPPER = new ObjectMapper()
        .registerModule(new JavaTimeModule())
        .disable(SerializationFeature.WRITE_DATES_AS_TIMESTAMPS)
        .disable(DeserializationFeature.ADJUST_DATES_TO_CONTEXT_TIME_ZONE);

    private Marshaller() {}

    public static <T> void marshal(OutputStream output, T value) throws IOException {
        MAPPER.writeValue(output, value);
    }

    public static <T> T unmarshal(InputStream input, Class<T> type) throws IOException {
        return MAPPER.readValue(input, type);
    }
%(event)s}
"""
_EVENT: Final = """
    public static <T> AWSEvent<T> unmarshalEvent(InputStream input, Class<T> detail) throws IOException {
        JavaType type = MAPPER.getTypeFactory().constructParametricType(AWSEvent.class, detail);
        return MAPPER.readValue(input, type);
    }
"""


def classes(components: Sequence[Component], header: str, path: str) -> dict[str, str]:
    """Make a package: a class a file, and `marshaller/Marshaller.java`."""
    package = path.replace("/", ".")
    is_event = {each.name: _is_event(each) for each in components}
    names = identifiers(
        (each.name for each in components if not is_event[each.name]), JAVA_WORDS | _CLASSES, cased=False
    )
    names |= {name: name for name, generic in is_event.items() if generic}
    files = {}
    for component in components:
        text = f"// {header}\npackage {package};\n{_class(component, names, generic=is_event[component.name])}"
        files[f"{path}/{names[component.name]}.java"] = text
    has_event = any(is_event.values())
    parts = {"imports": f"import {package}.AWSEvent;\n" if has_event else "", "event": _EVENT if has_event else ""}
    files[f"{path}/marshaller/Marshaller.java"] = f"// {header}\npackage {package}.marshaller;\n{_MARSHALLER % parts}"
    return files


def _is_event(component: Component) -> bool:
    return component.name == "AWSEvent" and any(
        field.key == "detail" and field.type.component for field in component.fields
    )


def _class(component: Component, names: dict[str, str], *, generic: bool) -> str:
    name = names[component.name]
    shown = f"{name}<T>" if generic else name
    own = identifiers(
        (field.key for field in component.fields), JAVA_WORDS | {"additionalProperties", "other"}, cased=False
    )
    kinds = {
        field.key: "T" if generic and field.key == "detail" else _type(field.type, names) for field in component.fields
    }
    text = "\nimport com.fasterxml.jackson.annotation.*;\nimport java.time.OffsetDateTime;\nimport java.util.*;\n"
    text += _ANNOTATIONS + f"public class {shown} {{\n"
    for key, kind in kinds.items():
        text += f"    @JsonProperty({json.dumps(key, ensure_ascii=False)})\n    private {kind} {own[key]};\n\n"
    for key, kind in kinds.items():
        field = own[key]
        suffix = field[0].upper() + field[1:]
        text += f"    public {kind} get{suffix}() {{\n        return {field};\n    }}\n\n"
        text += f"    public void set{suffix}({kind} {field}) {{\n        this.{field} = {field};\n    }}\n\n"
        text += f"    public {shown} {field}({kind} {field}) {{\n"
        text += f"        this.{field} = {field};\n        return this;\n    }}\n\n"
    if component.additional:
        text += _additional(_type(component.additional, names))
    fields = [*own.values(), *(["additionalProperties"] if component.additional else [])]
    return text + _object_methods(name, fields, generic=generic) + "}\n"


def _additional(kind: str) -> str:
    name, map_type = "additionalProperties", f"Map<String, {kind}>"
    return (
        f"    private final {map_type} {name} = new HashMap<>();\n\n"
        f"    @JsonAnyGetter\n    public {map_type} {name}() {{\n        return {name};\n    }}\n\n"
        f"    @JsonAnySetter\n    public void additionalProperty(String key, {kind} value) {{\n"
        f"        {name}.put(key, value);\n    }}\n\n"
    )


def _object_methods(name: str, fields: Sequence[str], *, generic: bool) -> str:
    shown = f"{name}<?>" if generic else name
    same = "".join(f"\n            && Objects.equals({field}, other.{field})" for field in fields)
    shows = ' + ", " + '.join(f'"{field}=" + {field}' for field in fields) or '""'
    return (
        "    @Override\n    public boolean equals(Object object) {\n"
        f"        if (!(object instanceof {name})) {{\n            return false;\n        }}\n"
        f"        {shown} other = ({shown}) object;\n        return other != null{same};\n    }}\n\n"
        f"    @Override\n    public int hashCode() {{\n        return Objects.hash({', '.join(fields)});\n    }}\n\n"
        f'    @Override\n    public String toString() {{\n        return "{name}{{" + {shows} + "}}";\n    }}\n'
    )


def _type(kind: Type, names: dict[str, str]) -> str:
    match kind.kind:
        case "array":
            return f"List<{_type(kind.inner or kind, names)}>"
        case "map":
            return f"Map<String, {_type(kind.inner or kind, names)}>"
        case "component":
            return names[kind.component]
        case _:
            return _SCALARS[kind.kind]
