//! From Smithy's JSON form of a service to the table that the product reads.

use serde_json::{json, Map, Value};

const PRELUDE: &[(&str, &str)] = &[
    ("String", "string"),
    ("Blob", "blob"),
    ("Boolean", "boolean"),
    ("PrimitiveBoolean", "boolean"),
    ("Byte", "byte"),
    ("PrimitiveByte", "byte"),
    ("Short", "short"),
    ("PrimitiveShort", "short"),
    ("Integer", "integer"),
    ("PrimitiveInteger", "integer"),
    ("Long", "long"),
    ("PrimitiveLong", "long"),
    ("Float", "float"),
    ("PrimitiveFloat", "float"),
    ("Double", "double"),
    ("PrimitiveDouble", "double"),
    ("BigInteger", "bigInteger"),
    ("BigDecimal", "bigDecimal"),
    ("Timestamp", "timestamp"),
    ("Document", "document"),
];

pub(crate) fn short(id: &str) -> &str {
    id.split_once('#').map_or(id, |(_, name)| name)
}

/// The operations of a service, those of its resources included.
pub(crate) fn operations(ast: &Map<String, Value>, service: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![service.to_owned()];
    while let Some(id) = open.pop() {
        let shape = &ast[&id];
        for place in ["operations", "collectionOperations"] {
            for target in shape[place].as_array().into_iter().flatten() {
                found.push(target["target"].as_str().unwrap().to_owned());
            }
        }
        for place in ["create", "put", "read", "update", "delete", "list"] {
            found.extend(shape[place]["target"].as_str().map(str::to_owned));
        }
        for target in shape["resources"].as_array().into_iter().flatten() {
            open.push(target["target"].as_str().unwrap().to_owned());
        }
    }
    found
}

pub(crate) struct Converter<'a> {
    ast: &'a Map<String, Value>,
    is_xml: bool,
    shapes: Map<String, Value>,
}

impl<'a> Converter<'a> {
    pub(crate) fn table(ast: &'a Map<String, Value>, service: &str, protocol: &str) -> String {
        let is_xml = protocol.ends_with("Query") || protocol.ends_with("restXml");
        let mut converter = Self { ast, is_xml, shapes: Map::new() };
        for (name, kind) in PRELUDE {
            converter.shapes.insert((*name).into(), json!({"type": kind}));
        }
        let given = &ast[service];
        let is_s3 = service == "com.amazonaws.s3#AmazonS3";
        let mut table = Map::new();
        for id in operations(ast, service) {
            let converted = converter.operation(&id, protocol, given);
            table.insert(short(&id).into(), converted);
        }
        let mut metadata = json!({
            "endpointPrefix": if is_s3 { "s3" } else { "test" },
            "targetPrefix": short(service),
            "apiVersion": given["version"],
            "protocol": if protocol.ends_with("restXml") { "rest-xml" } else { "json" },
        });
        if let Some(uri) = given["traits"]["smithy.api#xmlNamespace"]["uri"].as_str() {
            metadata["xmlNamespace"] = uri.into();
        }
        if ["awsJson1_0", "rpcv2Cbor"].iter().any(|name| protocol.ends_with(name)) {
            metadata["errorNamespace"] = service.split('#').next().into();
        }
        if given["traits"]["aws.protocols#awsQueryCompatible"].is_object() {
            metadata["awsQueryCompatible"] = json!({});
        }
        json!({"metadata": metadata, "operations": table, "shapes": converter.shapes}).to_string()
    }

    fn operation(&mut self, id: &str, protocol: &str, service: &Value) -> Value {
        let given = &self.ast[id];
        let http = &given["traits"]["smithy.api#http"];
        let mut converted = json!({
            "name": short(id),
            "http": {
                "method": http["method"].as_str().unwrap_or("POST"),
                "requestUri": http["uri"].as_str().unwrap_or("/"),
                "responseCode": http["code"].as_u64().unwrap_or(200),
            },
        });
        for place in ["input", "output"] {
            let Some(target) = given[place]["target"].as_str().filter(|target| *target != "smithy.api#Unit") else {
                continue;
            };
            converted[place] = json!({"shape": self.shape(target)});
        }
        if protocol.ends_with("awsQuery") {
            converted["output"]["shape"] = converted["output"]["shape"].as_str().map_or(Value::Null, Into::into);
            if converted["output"]["shape"].is_null() {
                self.shapes.insert("Unit".into(), json!({"type": "structure", "members": {}}));
                converted["output"]["shape"] = "Unit".into();
            }
            converted["output"]["resultWrapper"] = format!("{}Result", short(id)).into();
        }
        if given["traits"].get("aws.customizations#s3UnwrappedXmlOutput").is_some() {
            converted["unwrappedOutput"] = true.into();
        }
        let mut errors = Vec::new();
        for error in given["errors"].as_array().into_iter().chain(service["errors"].as_array()).flatten() {
            errors.push(json!({"shape": self.shape(error["target"].as_str().unwrap())}));
        }
        converted["errors"] = errors.into();
        converted
    }

    fn shape(&mut self, id: &str) -> String {
        let name = short(id).to_owned();
        if self.shapes.contains_key(&name) {
            return name;
        }
        let Some(given) = self.ast.get(id) else { panic!("no shape {id}") };
        let given = given.clone();
        self.shapes.insert(name.clone(), Value::Null);
        let mut converted = match given["type"].as_str().unwrap() {
            "structure" | "union" => self.structure(&given),
            "list" | "set" => json!({"type": "list", "member": self.member(&given["member"])}),
            "map" => json!({"type": "map", "key": self.member(&given["key"]), "value": self.member(&given["value"])}),
            "enum" => {
                let members = given["members"].as_object().unwrap();
                let values = members.values().map(|member| member["traits"]["smithy.api#enumValue"].clone());
                json!({"type": "string", "enum": values.collect::<Vec<_>>()})
            }
            "intEnum" => json!({"type": "integer"}),
            other => json!({"type": other}),
        };
        for mixin in given["mixins"].as_array().into_iter().flatten() {
            self.traits(&self.ast[mixin["target"].as_str().unwrap()]["traits"], &mut converted);
        }
        self.traits(&given["traits"], &mut converted);
        self.shapes.insert(name.clone(), converted);
        name
    }

    fn structure(&mut self, given: &Value) -> Value {
        let mut members = Map::new();
        let (mut required, mut payload) = (Vec::new(), None);
        for (name, member) in self.own_and_mixed_in(given) {
            let (name, member) = (&name, &member);
            let traits = &member["traits"];
            if !traits["smithy.api#required"].is_null() {
                required.push(name.clone());
            }
            if !traits["smithy.api#httpPayload"].is_null() {
                payload = Some(name.clone());
            }
            members.insert(name.clone(), self.member(member));
        }
        let mut converted = json!({"type": "structure", "members": members, "required": required});
        if given["type"] == "union" {
            converted["union"] = true.into();
        }
        if let Some(payload) = payload {
            converted["payload"] = payload.into();
        }
        converted
    }

    /// The members of a structure, those of its mixins first.
    fn own_and_mixed_in(&self, given: &Value) -> Vec<(String, Value)> {
        let mut members: Vec<(String, Value)> = Vec::new();
        for mixin in given["mixins"].as_array().into_iter().flatten() {
            members.extend(self.own_and_mixed_in(&self.ast[mixin["target"].as_str().unwrap()]));
        }
        for (name, member) in given["members"].as_object().into_iter().flatten() {
            members.retain(|(other, _)| other != name);
            members.push((name.clone(), member.clone()));
        }
        members
    }

    fn member(&mut self, given: &Value) -> Value {
        let target = given["target"].as_str().unwrap();
        let mut converted = json!({"shape": if target == "smithy.api#Unit" {
            self.shapes.insert("Unit".into(), json!({"type": "structure", "members": {}}));
            "Unit".into()
        } else if target.starts_with("smithy.api#") {
            short(target).to_owned()
        } else {
            self.shape(target)
        }});
        let traits = &given["traits"];
        let text = |name: &str| traits[format!("smithy.api#{name}")].as_str().map(str::to_owned);
        for (name, place) in
            [("httpLabel", "uri"), ("httpQueryParams", "querystring"), ("httpResponseCode", "statusCode")]
        {
            if !traits[format!("smithy.api#{name}")].is_null() {
                converted["location"] = place.into();
            }
        }
        for (name, place) in [("httpHeader", "header"), ("httpPrefixHeaders", "headers"), ("httpQuery", "querystring")]
        {
            if let Some(wire) = text(name) {
                converted["location"] = place.into();
                converted["locationName"] = wire.into();
            }
        }
        if let Some(name) = text(if self.is_xml { "xmlName" } else { "jsonName" }) {
            converted["locationName"] = name.into();
        }
        self.traits(traits, &mut converted);
        // botocore's models give items of a flattened list their name on the list, Smithy gives it by the member alone.
        let target = converted["shape"].as_str().unwrap().to_owned();
        if converted["flattened"] == true && self.shapes[&target]["type"] == "list" {
            let mut own = self.shapes[&target].clone();
            own["member"].as_object_mut().map(|item| item.remove("locationName"));
            let name = format!("{target}Flattened{}", self.shapes.len());
            self.shapes.insert(name.clone(), own);
            converted["shape"] = name.into();
        }
        // What limits a member limits its shape's values there.
        let limits = ["min", "max", "pattern", "uniqueItems"];
        if limits.iter().any(|limit| !converted[*limit].is_null()) {
            let target = converted["shape"].as_str().unwrap().to_owned();
            let mut own = self.shapes[&target].clone();
            for limit in limits {
                if !converted[limit].is_null() {
                    own[limit] = converted[limit].clone();
                }
            }
            let name = format!("{target}Limited{}", self.shapes.len());
            self.shapes.insert(name.clone(), own);
            converted["shape"] = name.into();
        }
        converted
    }

    fn traits(&self, traits: &Value, converted: &mut Value) {
        for (name, value) in traits.as_object().into_iter().flatten() {
            let name = name.rsplit('#').next().unwrap();
            match name {
                "timestampFormat" => converted["timestampFormat"] = value.clone(),
                "xmlFlattened" => converted["flattened"] = true.into(),
                "xmlAttribute" => converted["xmlAttribute"] = true.into(),
                "xmlNamespace" => converted["xmlNamespace"] = value.clone(),
                "xmlName" if self.is_xml && converted["locationName"].is_null() => {
                    converted["locationName"] = value.clone();
                }
                "sparse" => converted["sparse"] = true.into(),
                "uniqueItems" => converted["uniqueItems"] = true.into(),
                "mediaType" => converted["mediaType"] = value.clone(),
                "streaming" => converted["streaming"] = true.into(),
                "pattern" => converted["pattern"] = value.clone(),
                "length" | "range" => {
                    converted["min"] = value["min"].clone();
                    converted["max"] = value["max"].clone();
                }
                "enum" => {
                    let values = value.as_array().unwrap().iter().map(|one| one["value"].clone());
                    converted["enum"] = values.collect::<Vec<_>>().into();
                }
                "error" => {
                    let is_senders = value == "client";
                    let status = traits["smithy.api#httpError"].as_u64().unwrap_or(if is_senders { 400 } else { 500 });
                    let query = &traits["aws.protocols#awsQueryError"];
                    let status = query["httpResponseCode"].as_u64().unwrap_or(status);
                    converted["exception"] = true.into();
                    converted["error"] = json!({"httpStatusCode": status, "senderFault": is_senders});
                    if query["code"].is_string() {
                        converted["error"]["code"] = query["code"].clone();
                    }
                }
                _ => {}
            }
        }
    }
}
