//! What a refused request is called by the AWS service that has the same one.

pub use crate::base::error::EngineError as ApiError;

/// An AWS service whose words are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Functions, aliases, mappings, failures.
    Lambda,
    /// Streams.
    Kinesis,
    /// Queues.
    Sqs,
    /// Topics.
    Sns,
    /// Metrics.
    CloudWatch,
}

impl ApiError {
    /// The error code of a service; `None` of a function's own error, which AWS answers as a response.
    pub fn aws_code(&self, service: Service) -> Option<&'static str> {
        use Service::{CloudWatch, Kinesis, Lambda, Sns, Sqs};
        Some(match (self, service) {
            (Self::Function { .. }, _) => return None,
            (Self::Invalid(_), Lambda) => "InvalidParameterValueException",
            (Self::Invalid(_) | Self::TooLarge(_), Kinesis) => "InvalidArgumentException",
            (Self::Invalid(_) | Self::TooLarge(_), Sqs | CloudWatch) => "InvalidParameterValue",
            (Self::Invalid(_) | Self::TooLarge(_), Sns) => "InvalidParameter",
            (Self::TooLarge(_), Lambda) => "RequestTooLargeException",
            (Self::NotFound(_), Lambda | Kinesis) => "ResourceNotFoundException",
            (Self::NotFound(_), Sqs) => "AWS.SimpleQueueService.NonExistentQueue",
            (Self::NotFound(_), Sns) => "NotFound",
            (Self::NotFound(_), CloudWatch) => "ResourceNotFound",
            (Self::Conflict(_), Lambda) => "ResourceConflictException",
            (Self::Conflict(_), Kinesis) => "ResourceInUseException",
            (Self::Conflict(_), Sqs) => "UnsupportedOperation",
            (Self::Conflict(_), Sns) => "ConcurrentAccess",
            (Self::Conflict(_), CloudWatch) => "ConflictException",
            (Self::TooMany { .. }, Lambda) => "TooManyRequestsException",
            (Self::TooMany { .. }, Kinesis) => "ProvisionedThroughputExceededException",
            (Self::TooMany { reason, .. }, Sqs) if reason == "OverLimit" => "OverLimit",
            (Self::TooMany { .. }, Sqs) => "RequestThrottled",
            (Self::TooMany { .. }, Sns) => "Throttled",
            (Self::TooMany { .. }, CloudWatch) => "Throttling",
            (Self::Closed(_) | Self::Store(_) | Self::OwnerLost(_) | Self::OwnerLeft(_), Lambda) => "ServiceException",
            (Self::Closed(_) | Self::Store(_) | Self::OwnerLost(_) | Self::OwnerLeft(_), Kinesis | Sqs) => {
                "InternalFailure"
            }
            (Self::Closed(_) | Self::Store(_) | Self::OwnerLost(_) | Self::OwnerLeft(_), Sns) => "InternalError",
            (Self::Closed(_) | Self::Store(_) | Self::OwnerLost(_) | Self::OwnerLeft(_), CloudWatch) => {
                "InternalServiceError"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_names_the_same_mistake_in_its_own_word() {
        let missing = ApiError::NotFound("there is no such thing".into());
        let named = |service| missing.aws_code(service).unwrap();
        assert_eq!(named(Service::Lambda), "ResourceNotFoundException");
        assert_eq!(named(Service::Sqs), "AWS.SimpleQueueService.NonExistentQueue");
        let over =
            |reason: &str| ApiError::TooMany { message: String::new(), reason: reason.into(), retry_after_ms: 1 };
        assert_eq!(over("OverLimit").aws_code(Service::Sqs), Some("OverLimit"));
        assert_eq!(over("StoreBacklog").aws_code(Service::Sqs), Some("RequestThrottled"));
    }

    #[test]
    fn a_functions_own_error_is_no_error_of_a_service() {
        let own = ApiError::Function { message: "m".into(), payload: "{}".into(), version: "1".into() };
        assert_eq!(own.aws_code(Service::Lambda), None);
    }
}
