"""What `zappa package` writes beside an app: its stage `prod`, of `flask_site`."""

APP_MODULE = "flask_site"
APP_FUNCTION = "app"
DJANGO_SETTINGS = None
EXCEPTION_HANDLER = None
DEBUG = False
LOG_LEVEL = "INFO"
BINARY_SUPPORT = True
CONTEXT_HEADER_MAPPINGS = {}
DOMAIN = None
BASE_PATH = None
ENVIRONMENT_VARIABLES = {}
API_STAGE = "prod"
PROJECT_NAME = "shop"
ASYNC_RESPONSE_TABLE = ""
AWS_EVENT_MAPPING = {}
AWS_BOT_EVENT_MAPPING = {}
COGNITO_TRIGGER_MAPPING = {}
