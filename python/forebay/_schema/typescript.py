"""TypeScript: interfaces of what JSON is read as, or classes and a marshaller as AWS's registry writes them."""

import json
import re
from collections.abc import Sequence
from typing import Final

from forebay._schema.names import TYPESCRIPT_WORDS, identifiers
from forebay._schema.read import Component, Type

_GLOBALS: Final = frozenset({"Array", "Date", "Marshaller", "Object", "Record"})
_PLAIN: Final = {
    "any": "unknown",
    "boolean": "boolean",
    "date-time": "string",
    "integer": "number",
    "number": "number",
    "string": "string",
}
_AWS: Final = {**_PLAIN, "any": "any", "date-time": "Date"}

_MARSHALLER: Final = """
const scalars = new Set(["any", "boolean", "number", "string"]);

export class Marshaller {
    public static marshall(data: any, type: string): any {
        return Marshaller.each(data, type, "baseName", (date: Date) => date.toISOString());
    }

    public static unmarshall(data: any, type: string): any {
        return Marshaller.each(data, type, "name", (text: string) => new Date(text));
    }

    private static each(data: any, type: string, to: "name" | "baseName", date: (value: any) => any): any {
        if (data === undefined || data === null || scalars.has(type)) {
            return data;
        }
        if (type === "Date") {
            return date(data);
        }
        if (type.startsWith("Array<")) {
            return data.map((item: any) => Marshaller.each(item, type.slice(6, -1), to, date));
        }
        if (type.startsWith("{ [key: string]: ")) {
            const inner = type.slice(17, -2);
            const pairs = Object.keys(data).map((key) => [key, Marshaller.each(data[key], inner, to, date)]);
            return Object.fromEntries(pairs);
        }
        const from = to === "name" ? "baseName" : "name";
        const made: any = to === "name" ? new typeMap[type]() : {};
        for (const attribute of typeMap[type].getAttributeTypeMap()) {
            const value = Marshaller.each(data[attribute[from]], attribute.type, to, date);
            if (value !== undefined) {
                made[attribute[to]] = value;
            }
        }
        return made;
    }
}
"""


def interfaces(components: Sequence[Component], header: str, path: str) -> dict[str, str]:
    """Make one file of interfaces."""
    names = _names(components)
    text = f"// {header}\n"
    for component in components:
        text += f"\nexport interface {names[component.name]} {{\n"
        for field in component.fields:
            key = field.key if re.fullmatch(r"[A-Za-z_$][\w$]*", field.key, re.ASCII) else json.dumps(field.key)
            text += f"  {key}{'' if field.required else '?'}: {_type(field.type, names, _PLAIN)};\n"
        # An index must allow what the named keys have.
        text += "  [key: string]: unknown;\n" if component.additional else ""
        text += "}\n"
    return {f"{path}.ts": text}


def classes(components: Sequence[Component], header: str, path: str) -> dict[str, str]:
    """Make a package: a class a file, `marshaller/marshaller.ts`, and `index.ts`."""
    names = _names(components)
    files = {}
    for component in components:
        files[f"{path}/{_file(names[component.name])}.ts"] = f"// {header}\n{_class(component, names)}"
    each = [(name, _file(name)) for name in names.values()]
    imports = "".join(f'import {{ {name} }} from "../{file}";\n' for name, file in each)
    table = (
        "const typeMap: { [name: string]: any } = {\n" + "".join(f"    {name}: {name},\n" for name, _ in each) + "};\n"
    )
    files[f"{path}/marshaller/marshaller.ts"] = f"// {header}\n\n{imports}\n{table}{_MARSHALLER}"
    exports = "".join(f'export * from "./{file}";\n' for _, file in each)
    files[f"{path}/index.ts"] = f'// {header}\n\n{exports}export * from "./marshaller/marshaller";\n'
    return files


def _class(component: Component, names: dict[str, str]) -> str:
    own = identifiers((field.key for field in component.fields), {"constructor", "prototype"})
    used = sorted({name for field in component.fields for name in _named(field.type, names)} - {names[component.name]})
    text = "".join(f'\nimport {{ {name} }} from "./{_file(name)}";' for name in used) + ("\n" if used else "")
    is_event = component.name == "AWSEvent" and any(
        field.key == "detail" and field.type.component for field in component.fields
    )
    text += f"\nexport class {names[component.name]}{'<T>' if is_event else ''} {{\n"
    rows = ""
    for field in component.fields:
        kind = _type(field.type, names, _AWS, nullable=False)
        shown = "T" if is_event and field.key == "detail" else kind
        text += f'    "{own[field.key]}"?: {shown};\n'
        row = {"name": own[field.key], "baseName": field.key, "type": kind}
        rows += "        " + json.dumps(row, ensure_ascii=False) + ",\n"
    text += "\n    public static discriminator: string | undefined = undefined;\n"
    if is_event:
        text += '\n    public static detail = "detail";\n\n    public static genericType = "T";\n'
    text += "\n    public static attributeTypeMap: Array<{ name: string; baseName: string; type: string }> = [\n"
    getter = f"public static getAttributeTypeMap() {{\n        return {names[component.name]}.attributeTypeMap;\n    }}"
    return f"{text}{rows}    ];\n\n    {getter}\n}}\n"


def _names(components: Sequence[Component]) -> dict[str, str]:
    return identifiers((component.name for component in components), TYPESCRIPT_WORDS | _GLOBALS, cased=False)


def _file(name: str) -> str:
    return name[0].lower() + name[1:]


def _named(kind: Type, names: dict[str, str]) -> list[str]:
    inner = _named(kind.inner, names) if kind.inner else []
    return [names[kind.component], *inner] if kind.component else inner


def _type(kind: Type, names: dict[str, str], scalars: dict[str, str], *, nullable: bool = True) -> str:
    match kind.kind:
        case "array":
            text = f"Array<{_type(kind.inner or kind, names, scalars, nullable=nullable)}>"
        case "map":
            text = f"{{ [key: string]: {_type(kind.inner or kind, names, scalars, nullable=nullable)} }}"
        case "component":
            text = names[kind.component]
        case _:
            text = scalars[kind.kind]
    return f"{text} | null" if kind.nullable and nullable and text != "unknown" else text
