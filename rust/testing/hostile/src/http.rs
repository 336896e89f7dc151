//! Bytes on a connection to one of the two HTTP servers.

use forebay_engine::fuzzing;

const TOKEN: &str = "t0ken";

/// The page of metrics: one answer to a connection at most, and who does not know the token learns neither a metric nor what is wrong.
pub(crate) fn metrics_page(bytes: &[u8]) -> bool {
    let mut understood = false;
    for token in [None, Some(TOKEN)] {
        let said = forebay_doors::fuzzing::metrics_page(bytes, token);
        let tells = String::from_utf8_lossy(&said);
        assert!(tells.matches("HTTP/1.1 ").count() <= 1, "{tells}");
        let confides =
            ["text/plain", "openmetrics", forebay_doors::fuzzing::NOT_READY].iter().any(|word| tells.contains(word));
        let knows = bytes.windows(TOKEN.len()).any(|word| word == TOKEN.as_bytes());
        assert!(!confides || token.is_none() || knows, "{tells}");
        understood |= confides;
    }
    understood
}

pub(crate) fn metrics_page_seeds() -> Vec<Vec<u8>> {
    let requests = [
        "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "HEAD /healthz HTTP/1.1\r\nHost: localhost:9464\r\nAccept: application/openmetrics-text\r\nAuthorization: Bearer t\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer t0ken\r\n\r\n",
        "GET /readyz HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic t0ken\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: evil.example.com\r\n\r\n",
        "GET http://evil.example.com/metrics HTTP/1.1\r\nHost: [::1]\r\n\r\n",
        "POST /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\nhello",
        "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ];
    requests.iter().map(|request| request.as_bytes().to_vec()).collect()
}

/// The Lambda Runtime API, with one invocation to give: it is answered once at most.
pub(crate) fn runtime_api(bytes: &[u8]) -> bool {
    let (said, ends) = fuzzing::runtime_api(bytes);
    assert!(ends <= 1, "{ends} answers to one invocation");
    let tells = String::from_utf8_lossy(&said);
    assert!(tells.matches("lambda-runtime-aws-request-id").count() <= 1, "one invocation was given twice: {tells}");
    tells.contains("HTTP/1.1 2")
}

pub(crate) fn runtime_api_seeds() -> Vec<Vec<u8>> {
    let next = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n";
    let post = |path: &str, headers: &str, body: &str| {
        let length = body.len();
        format!(
            "POST /2018-06-01/runtime/{path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        )
    };
    let id = fuzzing::REQUEST_ID;
    let response = post(&format!("invocation/{id}/response"), "", "{\"a\": [1, null]}");
    let typed = "Lambda-Runtime-Function-Error-Type: Runtime.Odd\r\nlambda-runtime-invocation-id: 0000000000000001\r\n";
    let error = post(&format!("invocation/{id}/error"), typed, "no object");
    let chunked = format!(
        "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
    );
    [
        next.to_owned(),
        format!("{next}{response}{next}"),
        format!("{next}{error}{response}"),
        format!("{next}{chunked}"),
        post("init/error", typed, "{\"errorType\": \"Runtime.ImportModuleError\"}"),
    ]
    .map(String::into_bytes)
    .to_vec()
}
