//! API keys, usage plans, and what of them is used.

use std::fmt::Write as _;

use super::rest::Rest;
use super::script::Plane as _;
use crate::gateway::rest::control::Row;

#[test]
fn a_key_is_made_found_and_changed() {
    let mut rest = Rest::default();
    rest.play(
        r#"
        one = CreateApiKey {"name": "one", "description": "d", "enabled": true, "value": "12345678901234567890", "customerId":
            "c",
                "tags": {"a": "b"}, "stageKeys": [{"restApiId": "x", "stageName": "y"}]}
            -> {"name": "one", "description": "d", "enabled": true, "value": "12345678901234567890", "customerId": "c",
                "stageKeys": ["x/y"], "createdDate": 1767225601, "lastUpdatedDate": 1767225601, "tags": {"a": "b"}}
        two = CreateApiKey -> {"enabled": false, "name": null, "stageKeys": []}
        CreateApiKey value=1234567890123456789 ! BadRequest API Key value should be at least 20 characters
        CreateApiKey value=12345678901234567890 ! Conflict API Key already exists
        GetApiKey apiKey=$one -> {"name": "one", "value": null, "tags": {"a": "b"}}
        GetApiKey apiKey=$one includeValue:=true -> {"value": "12345678901234567890"}
        GetApiKey apiKey=$two -> {"tags": {}}
        GetApiKey apiKey=none ! NotFound Invalid API Key identifier specified
        UpdateApiKey apiKey=none ! NotFound Invalid API Key identifier specified
        DeleteApiKey apiKey=none ! NotFound Invalid API Key identifier specified
        GetApiKeys -> {"items": [{"id": "$two.id", "value": null}, {"id": "$one.id", "value": null}]}
        GetApiKeys includeValues:=true -> {"items": [{"value": "$two.value"}, {"value": "$one.value"}]}
        GetApiKeys nameQuery=on -> {"items": [{"id": "$one.id"}]}
        GetApiKeys nameQuery=ne => {"items": []}
        GetApiKeys customerId=c -> {"items": [{"id": "$one.id"}]}
        GetApiKeys customerId=d => {"items": []}
        @ apiKey=$one
        UpdateApiKey replace /name new -> {"name": "new", "value": null, "lastUpdatedDate": 1767225617, "createdDate": 1767225601}
        UpdateApiKey replace /name "" -> {"name": null}
        UpdateApiKey replace /description new -> {"description": "new"}
        UpdateApiKey replace /customerId new -> {"customerId": "new"}
        UpdateApiKey replace /enabled false -> {"enabled": false}
        UpdateApiKey replace /enabled true -> {"enabled": true}
        UpdateApiKey add /stages a/b -> {"stageKeys": ["x/y", "a/b"]}
        UpdateApiKey add /stages x/y -> {"stageKeys": ["a/b", "x/y"]}
        UpdateApiKey remove /stages a/b -> {"stageKeys": ["x/y"]}
        UpdateApiKey replace /stages a/b
            ! BadRequest Invalid patch path  '/stages' specified for op 'replace'. Must be one of: [/name, /description, /enabled,
              /customerId, /stages]
        UpdateApiKey remove /name
            ! BadRequest Invalid patch path  '/name' specified for op 'remove'. Please choose supported operations
        UpdateApiKey add /labels a/b
            ! BadRequest Invalid patch path  '/labels' specified for op 'add'. Please choose supported operations
        UpdateApiKey replace /other x
            ! BadRequest Invalid patch path  '/other' specified for op 'replace'. Must be one of: [/name, …
        "#,
    );
    let long = "x".repeat(1_025);
    rest.play(&format!(
        "@ apiKey=$one
CreateApiKey name={long} ! BadRequest Invalid API Key name, can be at most 1024 characters.
UpdateApiKey replace /name {long} ! BadRequest Invalid API Key name, can be at most 1024 characters.
UpdateApiKey replace /name {short}
CreateApiKey value={more} ! BadRequest API Key value exceeds maximum size of 128 characters
CreateApiKey value={most}",
        short = &long[1..],
        more = &long[..129],
        most = &long[..128],
    ));
}

/// With a key go its places in plans.
#[test]
fn a_key_that_is_deleted_leaves_its_plans() {
    let mut rest = Rest::default();
    rest.play(
        r#"
        key = CreateApiKey name=k
        other = CreateApiKey name=other
        plan = CreateUsagePlan name=p
        free = CreateUsagePlan name=free
        @ usagePlanId=$plan
        CreateUsagePlanKey keyId=$key keyType=API_KEY => {"id": "$key.id", "type": "API_KEY", "value": "$key.value", "name": "k"}
        CreateUsagePlanKey keyId=$other keyType=API_KEY
        "#,
    );
    let (key, plan) =
        (rest.names["key"]["id"].as_str().unwrap().to_owned(), rest.names["plan"]["id"].as_str().unwrap());
    let expected = [Row::Key(key), Row::Plan(plan.to_owned())];
    rest.play("DeleteApiKey apiKey=$key => {}");
    assert_eq!(rest.changed, expected);
    rest.play("GetUsagePlanKeys usagePlanId=$plan -> {\"items\": [{\"name\": \"other\"}]}");
}

#[test]
fn keys_are_read_from_a_file() {
    let mut rest = Rest::default();
    let file =
        "Name,Key,Description,Enabled,UsagePlanIds\\none,11111111111111111111,\\\"d, e\\\",TRUE,\\\"PLAN, none\\\"\\n\
                two,22222222222222222222,,false,\\nthree,short,,,\\nfour,44444444444444444444,,,";
    let call = |more: &str| format!("{{\"format\": \"csv\", \"body\": \"{file}\"{more}}}").replace("PLAN", "$plan.id");
    rest.play("plan = CreateUsagePlan name=p\n");
    rest.play(&format!(
        "
         ImportApiKeys {}
            ! BadRequest Warnings found during import: row 2: there is no usage plan none; row 4: API Key value should be at…
         GetApiKeys => {{\"items\": []}}
         GetUsagePlanKeys usagePlanId=$plan => {{\"items\": []}}
         told = ImportApiKeys {}
            -> {{\"warnings\": [\"row 2: there is no usage plan none\",
                                \"row 4: API Key value should be at least 20 characters\"]}}
         GetApiKeys includeValues:=true
            -> {{\"items\": [{{\"name\": \"four\", \"enabled\": true, \"description\": null}},
                             {{\"name\": \"two\", \"enabled\": false}},
                             {{\"name\": \"one\", \"enabled\": true, \"description\": \"d, e\",
                                \"value\": \"11111111111111111111\"}}]}}
         GetUsagePlanKeys usagePlanId=$plan -> {{\"items\": [{{\"name\": \"one\"}}]}}
         ImportApiKeys body=name,value
            ! BadRequest The first row of the API key file must name the columns, 'name' and 'key' among them
         ImportApiKeys body=key,value ! BadRequest The first row of the API key file must name the columns, 'name' and…
         ImportApiKeys {{\"body\": \"\"}} ! BadRequest The first row of the API key file must name the columns…",
        call(", \"failOnWarnings\": true"),
        call("")
    ));
    assert_eq!(rest.names["told"]["ids"].as_array().unwrap().len(), 3);
}

#[test]
fn there_are_so_many_keys_plans_and_certificates() {
    let mut rest = Rest::default();
    rest.play("key = CreateApiKey name=k\nplan = CreateUsagePlan name=p\nGenerateClientCertificate");
    let mut key = rest.account.keys.values().next().unwrap().clone();
    for number in 0..9_999 {
        key.id = format!("k{number}");
        rest.account.keys.insert(key.id.clone(), key.clone());
    }
    let mut plan = rest.account.plans.values().next().unwrap().clone();
    for number in 0..299 {
        plan.id = format!("p{number}");
        rest.account.plans.insert(plan.id.clone(), plan.clone());
    }
    let mut certificate = rest.account.certificates.values().next().unwrap().clone();
    for number in 0..59 {
        certificate.client_certificate_id = format!("c{number}");
        rest.account.certificates.insert(certificate.client_certificate_id.clone(), certificate.clone());
    }
    rest.play(
        r"
        CreateApiKey name=k ! LimitExceeded Maximum number of API keys for this account reached: 10000
        CreateUsagePlan name=p ! LimitExceeded Maximum number of usage plans for this account reached: 300
        GenerateClientCertificate ! LimitExceeded Maximum number of client certificates for this account reached: 60
        DeleteApiKey apiKey=k0
        CreateApiKey name=k
        DeleteUsagePlan usagePlanId=p0
        CreateUsagePlan name=p
        DeleteClientCertificate clientCertificateId=c0
        GenerateClientCertificate
        ",
    );
}

/// An API with two stages.
fn staged() -> Rest {
    let mut rest = Rest::default();
    rest.play(
        r"
        api = CreateRestApi name=pets
        @ restApiId=$api resourceId=$api.rootResourceId httpMethod=GET
        PutMethod authorizationType=NONE
        PutIntegration type=MOCK
        CreateDeployment stageName=dev
        CreateDeployment stageName=prod
        ",
    );
    rest
}

#[test]
fn a_plan_is_what_it_is_made_of() {
    staged().play(
        r#"
        plan = CreateUsagePlan {"name": "p", "description": "d", "throttle": {"burstLimit": 5, "rateLimit": 2.5},
                "quota": {"limit": 10, "offset": 6, "period": "WEEK"}, "tags": {"a": "b"},
                "apiStages": [{"apiId": "$api.id", "stage": "dev", "throttle": {"/pets/GET": {"burstLimit": 1, "rateLimit": 1}}}]}
            -> {"name": "p", "description": "d", "throttle": {"burstLimit": 5, "rateLimit": 2.5}, "keys": null,
                "quota": {"limit": 10, "offset": 6, "period": "WEEK"}, "tags": {"a": "b"},
                "apiStages": [{"apiId": "$api.id", "stage": "dev", "throttle": {"/pets/GET": {"burstLimit": 1, "rateLimit":
                1.0}}}]}
        GetUsagePlan usagePlanId=$plan => $plan.all
        GetUsagePlan usagePlanId=none ! NotFound Invalid Usage Plan ID specified
        UpdateUsagePlan usagePlanId=none ! NotFound Invalid Usage Plan ID specified
        DeleteUsagePlan usagePlanId=none ! NotFound Invalid Usage Plan ID specified
        CreateUsagePlan {"name": ""} ! BadRequest Usage Plan name cannot be blank
        CreateUsagePlan name=q throttle:={"rateLimit": -1}
            ! BadRequest Usage Plan throttle rate and burst limits must not be negative
        CreateUsagePlan name=q throttle:={"burstLimit": -1} ! BadRequest Usage Plan throttle rate and burst limits must not be…
        CreateUsagePlan name=q throttle:={"rateLimit": 0} -> {"throttle": {"burstLimit": 0, "rateLimit": 0.0}, "quota": null}
        CreateUsagePlan name=q apiStages:=[{"apiId": "$api.id", "stage": "none"}] ! NotFound API Stage not found: $api:none
        CreateUsagePlan name=q apiStages:=["x"] ! NotFound API Stage not found: null:null
        CreateUsagePlan name=q quota:={"period": "DAY"} ! BadRequest Usage Plan quota limit must be greater than 0
        CreateUsagePlan name=q quota:={"limit": 1} ! BadRequest Usage Plan quota must specify a period of DAY, WEEK or MONTH
        CreateUsagePlan name=q quota:={"limit": 1, "period": "YEAR"}
            ! Validation 1 validation error detected: Value 'YEAR' at 'createUsagePlanInput.quota.period' failed to satisfy…
        CreateUsagePlan name=q quota:={"limit": 1, "period": "DAY", "offset": 1}
            ! BadRequest Usage Plan quota offset must be between 0 and 0
        CreateUsagePlan name=q quota:={"limit": 1, "period": "WEEK", "offset": 7}
            ! BadRequest Usage Plan quota offset must be between 0 and 6
        CreateUsagePlan name=q quota:={"limit": 1, "period": "MONTH", "offset": 28}
            ! BadRequest Usage Plan quota offset must be between 0 and 27
        CreateUsagePlan name=q quota:={"limit": 1, "period": "MONTH", "offset": 27} -> {"quota": {"offset": 27}}
        CreateUsagePlan name=q quota:={"limit": 1, "period": "DAY"} -> {"quota": {"offset": 0, "period": "DAY"}}
        DeleteUsagePlan usagePlanId=$plan
            ! BadRequest Cannot delete Usage Plan $plan because it has associated API stages: remove them first
        "#,
    );
}

#[test]
fn a_plan_is_changed_by_patches() {
    staged().play(
        r#"
        plan = CreateUsagePlan name=p
        @ usagePlanId=$plan
        UpdateUsagePlan replace /name new -> {"name": "new"}
        UpdateUsagePlan replace /name "" ! BadRequest Usage Plan name cannot be blank
        UpdateUsagePlan replace /description d -> {"description": "d"}
        UpdateUsagePlan remove /description -> {"description": null}
        UpdateUsagePlan replace /productCode c -> {"productCode": "c"}
        UpdateUsagePlan remove /productCode -> {"productCode": null}
        UpdateUsagePlan add /throttle/burstLimit 5 -> {"throttle": {"burstLimit": 5, "rateLimit": 0.0}}
        UpdateUsagePlan replace /throttle/rateLimit 2.5 -> {"throttle": {"burstLimit": 5, "rateLimit": 2.5}}
        UpdateUsagePlan replace /throttle/rateLimit 0 -> {"throttle": {"burstLimit": 5, "rateLimit": 0.0}}
        UpdateUsagePlan replace /throttle/rateLimit -1 ! BadRequest Invalid value '-1' for /throttle/rateLimit
        UpdateUsagePlan replace /throttle/rateLimit inf ! BadRequest Invalid value 'inf' for /throttle/rateLimit
        UpdateUsagePlan replace /throttle/burstLimit 1.5 ! BadRequest Invalid value '1.5' for /throttle/burstLimit
        UpdateUsagePlan remove /throttle -> {"throttle": null}
        UpdateUsagePlan replace /quota/limit 5 | replace /quota/offset 3 | replace /quota/period WEEK
            -> {"quota": {"limit": 5, "offset": 3, "period": "WEEK"}}
        UpdateUsagePlan replace /quota/period MONTH -> {"quota": {"period": "MONTH"}}
        UpdateUsagePlan replace /quota/period YEAR ! BadRequest Usage Plan quota must specify a period of DAY, WEEK or MONTH
        UpdateUsagePlan replace /quota/offset 28 ! BadRequest Usage Plan quota offset must be between 0 and 27
        UpdateUsagePlan replace /quota/limit 0 ! BadRequest Usage Plan quota limit must be greater than 0
        UpdateUsagePlan remove /quota -> {"quota": null}
        UpdateUsagePlan replace /tags x
            ! BadRequest Invalid patch path  '/tags' specified for op 'replace'. Must be one of: [/name, /description,
            /productCode,
              /apiStages, /throttle/burstLimit, /throttle/rateLimit, /quota/limit, /quota/offset, /quota/period]
        UpdateUsagePlan remove /name
            ! BadRequest Invalid patch path  '/name' specified for op 'remove'. Please choose supported operations

        UpdateUsagePlan add /apiStages $api:dev -> {"apiStages": [{"apiId": "$api.id", "stage": "dev"}]}
        UpdateUsagePlan add /apiStages $api:dev ! Conflict API Stage $api:dev is already part of the Usage Plan
        UpdateUsagePlan add /apiStages $api:prod -> {"apiStages": [{"stage": "dev"}, {"stage": "prod"}]}
        UpdateUsagePlan add /apiStages $api:none ! NotFound API Stage not found: $api:none
        UpdateUsagePlan add /apiStages none:dev ! NotFound API Stage not found: none:dev
        UpdateUsagePlan add /apiStages none ! NotFound API Stage not found: none:
        UpdateUsagePlan remove /apiStages $api:none ! NotFound API Stage not found: $api:none
        UpdateUsagePlan remove /apiStages none:dev ! NotFound API Stage not found: none:dev
        UpdateUsagePlan replace /apiStages $api:dev
            ! BadRequest Invalid patch path  '/apiStages' specified for op 'replace'. Must be…
        UpdateUsagePlan add /apiStages/$api:prod/throttle/~1a~01~1GET/rateLimit 2.5
            -> {"apiStages": [{"throttle": null}, {"throttle": {"/a~1/GET": {"rateLimit": 2.5, "burstLimit": 0}}}]}
        UpdateUsagePlan replace /apiStages/$api:prod/throttle/~1a~01~1GET/burstLimit 3 |
                        replace /apiStages/$api:prod/throttle/~1b~1GET/burstLimit 4
            -> {"apiStages": [{}, {"throttle": {"/a~1/GET": {"rateLimit": 2.5, "burstLimit": 3}, "/b/GET": {"burstLimit": 4}}}]}
        UpdateUsagePlan replace /apiStages/$api:prod/throttle/~1b~1GET/burstLimit few
            ! BadRequest Invalid value 'few' for burstLimit
        UpdateUsagePlan replace /apiStages/$api:prod/throttle/~1b~1GET/rateLimit -1
            ! BadRequest Invalid value '-1' for /apiStages…
        UpdateUsagePlan replace /apiStages/$api:prod/throttle/~1b~1GET/other 1 ! BadRequest Invalid patch path  '/apiStages…
        UpdateUsagePlan replace /apiStages/$api:prod/other/~1b~1GET/rateLimit 1 ! BadRequest Invalid patch path  '/apiStages…
        UpdateUsagePlan replace /apiStages/$api/throttle/~1b~1GET/rateLimit 1 ! BadRequest Invalid patch path  '/apiStages…
        UpdateUsagePlan replace /apiStages/$api:none/throttle/~1b~1GET/rateLimit 1 ! NotFound API Stage not found: $api:none
        UpdateUsagePlan replace /apiStages/none:prod/throttle/~1b~1GET/rateLimit 1 ! NotFound API Stage not found: none:prod
        UpdateUsagePlan remove /apiStages/$api:prod/throttle/~1b~1GET
            -> {"apiStages": [{}, {"throttle": {"/a~1/GET": {}, "/b/GET": null}}]}
        UpdateUsagePlan remove /apiStages/$api:prod/throttle -> {"apiStages": [{}, {"throttle": null}]}
        UpdateUsagePlan remove /apiStages $api:dev -> {"apiStages": [{"stage": "prod"}]}
        UpdateUsagePlan remove /apiStages $api:prod -> {"apiStages": []}
        DeleteUsagePlan => {}
        "#,
    );
}

#[test]
fn keys_are_put_to_plans() {
    staged().play(
        r#"
        one = CreateApiKey name=one
        two = CreateApiKey
        dev = CreateUsagePlan name=dev apiStages:=[{"apiId": "$api.id", "stage": "dev"}]
        prod = CreateUsagePlan name=prod apiStages:=[{"apiId": "$api.id", "stage": "prod"}]
        @ usagePlanId=$dev
        CreateUsagePlanKey keyId=$one keyType=API_KEY
        CreateUsagePlanKey keyId=$two keyType=API_KEY => {"id": "$two.id", "type": "API_KEY", "value": "$two.value"}
        CreateUsagePlanKey keyId=$one keyType=API_KEY ! Conflict Usage plan $dev already has the API key $one
        CreateUsagePlanKey keyId=$one keyType=KEY ! BadRequest Usage plan key type must be API_KEY
        CreateUsagePlanKey keyId=none keyType=API_KEY ! NotFound Invalid API Key identifier specified
        CreateUsagePlanKey usagePlanId=none keyId=$one keyType=API_KEY ! NotFound Invalid Usage Plan ID specified
        GetUsagePlanKey keyId=$one => {"id": "$one.id", "type": "API_KEY", "value": "$one.value", "name": "one"}
        GetUsagePlanKey keyId=none ! NotFound Invalid API Key identifier specified
        GetUsagePlanKey usagePlanId=$prod keyId=$one ! NotFound Invalid API Key identifier specified
        all = GetUsagePlanKeys -> {"items": [{"type": "API_KEY"}, {"type": "API_KEY"}]}
        GetUsagePlanKeys nameQuery=on -> {"items": [{"name": "one"}]}
        GetUsagePlanKeys nameQuery=ne => {"items": []}
        GetUsagePlanKeys usagePlanId=none ! NotFound Invalid Usage Plan ID specified
        GetUsagePlans keyId=$one -> {"items": [{"name": "dev"}]}
        GetUsagePlans keyId=none => {"items": []}
        # A key of two plans has but one of them for a stage.
        CreateUsagePlanKey usagePlanId=$prod keyId=$one keyType=API_KEY
        UpdateUsagePlan usagePlanId=$prod add /apiStages $api:dev
            ! Conflict API key $one is already in usage plan $dev, which has a stage of usage plan $prod
        free = CreateUsagePlan name=free
        CreateUsagePlanKey usagePlanId=$free keyId=$one keyType=API_KEY
        DeleteUsagePlanKey keyId=$one => {}
        DeleteUsagePlanKey keyId=$one ! NotFound Invalid API Key identifier specified
        UpdateUsagePlan usagePlanId=$prod add /apiStages $api:dev
        GetUsagePlanKeys -> {"items": [{"id": "$two.id"}]}
        "#,
    );
}

#[test]
fn usage_is_told_by_the_day_and_what_is_left_is_set() {
    let mut rest = Rest::default();
    rest.play(
        r#"
        key = CreateApiKey name=k
        other = CreateApiKey name=other
        stranger = CreateApiKey name=stranger
        plan = CreateUsagePlan name=p quota:={"limit": 10, "period": "DAY"}
        CreateUsagePlanKey usagePlanId=$plan keyId=$key keyType=API_KEY
        CreateUsagePlanKey usagePlanId=$plan keyId=$other keyType=API_KEY
        @ usagePlanId=$plan startDate=2026-01-01 endDate=2026-01-02 keyId=$key
        GetUsage => {"usagePlanId": "$plan.id", "startDate": "2026-01-01", "endDate": "2026-01-02",
                     "items": {"$key.id": [[0, 10], [0, 10]]}}
        GetUsage keyId:=null endDate=2026-01-01
            -> {"items": {"$key.id": [[0, 10]], "$other.id": [[0, 10]], "$stranger.id": null}}
        GetUsage keyId=none -> {"items": {"$key.id": null}}
        GetUsage usagePlanId=none ! NotFound Invalid Usage Plan ID specified
        GetUsage endDate=2025-12-31 ! BadRequest The start date must not be after the end date
        GetUsage startDate=2026-1-1 ! BadRequest Invalid date: 2026-1-1. A date is written as YYYY-MM-DD
        GetUsage startDate=20260101 ! BadRequest Invalid date: 20260101. A date is written as YYYY-MM-DD
        GetUsage startDate=1969-12-31 ! BadRequest Invalid date: 1969-12-31. A date is written as YYYY-MM-DD
        GetUsage endDate=2026-02-30 ! BadRequest Invalid date: 2026-02-30. A date is written as YYYY-MM-DD
        UpdateUsage replace /remaining 4
            => {"usagePlanId": "$plan.id", "startDate": "2026-01-01", "endDate": "2026-01-01", "items": {"$key.id": [[0, 4]]}}
        GetUsage endDate=2026-01-01 -> {"items": {"$key.id": [[0, 4]]}}
        UpdateUsage replace /remaining few ! BadRequest Invalid value 'few' for /remaining
        UpdateUsage replace /used 1
            ! BadRequest Invalid patch path  '/used' specified for op 'replace'. Must be one of: [/remaining]
        UpdateUsage remove /remaining ! BadRequest Invalid patch path  '/remaining' specified for op 'remove'. Please choose…
        UpdateUsage keyId=$stranger replace /remaining 1 ! NotFound Invalid API Key identifier specified
        UpdateUsage usagePlanId=none replace /remaining 1 ! NotFound Invalid Usage Plan ID specified
        free = CreateUsagePlan name=free
        CreateUsagePlanKey usagePlanId=$free keyType=API_KEY
        UpdateUsage usagePlanId=$free replace /remaining 1 ! BadRequest Usage Plan $free has no quota
        "#,
    );
    // AWS tells of 90 days; here, too, of as many as are kept.
    let kept = crate::gateway::rest::plans::DAYS_KEPT;
    let date = |days: u64| {
        let start = jiff::civil::date(2026, 1, 1);
        start.saturating_sub(jiff::Span::new().days(i64::try_from(days).unwrap())).to_string()
    };
    let mut script = String::from("@ usagePlanId=$plan endDate=2026-01-01 keyId=$key\n");
    let _ = writeln!(script, "GetUsage startDate={} -> {{\"endDate\": \"2026-01-01\"}}", date(kept));
    let more = kept + 1;
    let _ = writeln!(
        script,
        "GetUsage startDate={} ! BadRequest The interval has {more} days: at most {kept} are shown",
        date(more)
    );
    rest.play(&script);
}
