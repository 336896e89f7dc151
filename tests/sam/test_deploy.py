"""Deploys into a store: what comes of templates, and what of those that fail."""

import asyncio
import shutil
import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from deploying import PLACE, asked, deploy, deployer, forebay

from forebay._sam.errors import NoChanges, TemplateRefused
from forebay._stacks import host
from forebay._stacks.store import FORMAT, StackStore
from forebay.errors import ForebayError, ResourceNotFound, StoreNewerFormat

pytestmark = pytest.mark.timeout(300)  # commands are programs, and each deploy starts several

GOLDEN = Path(__file__).parents[1] / "golden"
QUEUES = """
Parameters:
  Seconds: {Type: Number, Default: 30}
Resources:
  Orders:
    Type: AWS::SQS::Queue
    Properties:
      FifoQueue: true
      VisibilityTimeout: !Ref Seconds
      RedrivePolicy: {deadLetterTargetArn: !GetAtt Failed.Arn, maxReceiveCount: 3}
  Failed:
    Type: AWS::SQS::Queue
    Properties: {FifoQueue: true}
Outputs:
  Orders: {Value: !GetAtt Orders.QueueName, Export: {Name: orders}}
"""


def names(service, name="shop"):
    return {one.logical: one.physical for one in service.store.resources(name).values()}


def test_a_stack_becomes_real_is_changed_and_goes(tmp_path):
    store = tmp_path / "store"
    assert deploy(QUEUES, store) == "CREATE_COMPLETE"
    with deployer(store) as (service, target, connection):
        made = names(service)
        assert made["Orders"].startswith("shop-Orders-")
        assert made["Orders"].endswith(".fifo")
        queue = connection.ask("queue.describe", name=made["Orders"])
        assert (queue["visibility_timeout_ms"], queue["dead_letter_queue"]) == (30_000, made["Failed"])
        with pytest.raises(NoChanges, match=r"No changes to deploy\. Stack shop is up to date"):
            service.begin(asked(QUEUES, store))
        service.begin(asked(QUEUES, store, parameters={"Seconds": "60"}))
        assert asyncio.run(service.run("shop", target)) == "UPDATE_COMPLETE"
        assert names(service) == made
        assert connection.ask("queue.describe", name=made["Orders"])["visibility_timeout_ms"] == 60_000
        service.begin_deletion("shop")
        assert asyncio.run(service.run("shop", target)) == "DELETE_COMPLETE"
        with pytest.raises(ResourceNotFound):
            connection.ask("queue.describe", name=made["Orders"])
        assert service.store.stacks() == []


def test_what_cannot_be_changed_is_replaced_and_the_old_one_goes(tmp_path):
    store = tmp_path / "store"
    text = "Resources: {Q: {Type: AWS::SQS::Queue}}"
    assert deploy(text, store) == "CREATE_COMPLETE"
    with deployer(store) as (service, target, connection):
        before = names(service)["Q"]
        service.begin(asked("Resources: {Q: {Type: AWS::SQS::Queue, Properties: {FifoQueue: true}}}", store))
        assert asyncio.run(service.run("shop", target)) == "UPDATE_COMPLETE"
        assert names(service)["Q"].endswith(".fifo")
        assert [queue["name"] for queue in connection.ask("queue.list")] == [names(service)["Q"]]
        assert before != names(service)["Q"]


def test_a_rule_that_becomes_a_schedule_and_back_leaves_nothing_behind(tmp_path):
    """A schedule could not become a rule of events, and went on for ever where it did."""
    text = """
Resources:
  Q: {Type: AWS::SQS::Queue, Properties: {QueueName: q}}
  R: {Type: AWS::Events::Rule, Properties: {Name: r, Targets: [%s], %s}}
"""
    target_ = "{Id: a, Arn: !GetAtt Q.Arn}"
    steps = [
        ("EventPattern: {source: [a]}", target_, ["r"], []),
        ("ScheduleExpression: rate(1 day)", f"{target_}, {target_.replace('a', 'b', 1)}", [], ["r-0", "r-1"]),
        ("ScheduleExpression: rate(1 day)", target_, [], ["r"]),
        ("EventPattern: {source: [a]}", target_, ["r"], []),
    ]
    with deployer(tmp_path) as (service, target, connection):
        for what, targets, rules, schedules in steps:
            service.begin(asked(text % (targets, what), tmp_path))
            assert asyncio.run(service.run("shop", target)).endswith("_COMPLETE")
            assert [one["name"] for one in connection.ask("rule.list", name="default")] == rules
            assert sorted(one["name"] for one in connection.ask("schedule.list")) == schedules


def test_retries_of_schedules_are_honoured(tmp_path):
    """They were passed over."""
    target = "{Id: a, Arn: !GetAtt Q.Arn, RetryPolicy: {MaximumRetryAttempts: 3, MaximumEventAgeInSeconds: 60}}"
    text = f"""
Resources:
  Q: {{Type: AWS::SQS::Queue, Properties: {{QueueName: q}}}}
  R: {{Type: AWS::Events::Rule, Properties: {{Name: r, ScheduleExpression: rate(1 day), Targets: [{target}]}}}}
  S:
    Type: AWS::Scheduler::Schedule
    Properties:
      Name: s
      ScheduleExpression: rate(1 day)
      FlexibleTimeWindow: {{Mode: "OFF"}}
      Target: {target.replace("Id: a, ", "")}
"""
    assert deploy(text, tmp_path) == "CREATE_COMPLETE"
    with deployer(tmp_path) as (_, _, connection):
        for one in connection.ask("schedule.list"):
            assert (one["maximum_retry_attempts"], one["maximum_event_age_ms"]) == (3, 60_000), one["name"]


def test_what_is_to_be_kept_stays_when_its_stack_goes(tmp_path):
    store = tmp_path / "store"
    assert deploy("Resources: {Q: {Type: AWS::SQS::Queue, DeletionPolicy: Retain}}", store) == "CREATE_COMPLETE"
    with deployer(store) as (service, target, connection):
        service.begin_deletion("shop")
        assert asyncio.run(service.run("shop", target)) == "DELETE_COMPLETE"
        assert len(connection.ask("queue.list")) == 1


@pytest.mark.parametrize(("policy", "left"), [("Retain", 1), ("RetainExceptOnCreate", 0)])
def test_a_new_resource_stays_when_its_deploy_is_rolled_back_if_its_policy_says_so(tmp_path, policy, left):
    store = tmp_path / "store"
    text = f"""
Resources:
  Q: {{Type: AWS::SQS::Queue, DeletionPolicy: {policy}}}
  T: {{Type: AWS::SNS::Topic, DependsOn: Q, Properties: {{TopicName: mine}}}}
"""
    with deployer(store) as (service, target, connection):
        connection.ask("topic.declare", name="mine")
        service.begin(asked(text, store))
        assert asyncio.run(service.run("shop", target)) == "ROLLBACK_COMPLETE"
        events = [(one.status, one.logical) for one in service.store.events(service.store.stack("shop").id)]
        assert (("DELETE_SKIPPED", "Q") in events) == (left == 1)
        assert len(connection.ask("queue.list")) == left


def test_what_a_rollback_could_not_remove_goes_with_its_stack(tmp_path, monkeypatch):
    """Nobody knew of it any more, and the next deploy was refused for its name."""
    store = tmp_path / "store"
    text = """
Resources:
  A: {Type: AWS::SQS::Queue, Properties: {QueueName: a}}
  B: {Type: AWS::SQS::Queue, DependsOn: A, Properties: {QueueName: b}}
  T: {Type: AWS::SNS::Topic, DependsOn: B, Properties: {TopicName: mine}}
"""
    with deployer(store) as (service, target, connection):
        connection.ask("topic.declare", name="mine")
        request = target.request

        async def breaks(one):
            if one.verb == "queue.delete":
                raise ForebayError("the disk is broken")
            return await request(one)

        service.begin(asked(text, store))
        with monkeypatch.context() as patched:
            patched.setattr(target, "request", breaks)
            assert asyncio.run(service.run("shop", target)) == "ROLLBACK_FAILED"
        assert "[A] the disk is broken" in service.store.stack("shop").reason
        assert list(service.store.resources("shop")) == ["A", "B"]
        service.begin_deletion("shop")
        assert asyncio.run(service.run("shop", target)) == "DELETE_COMPLETE"
        assert connection.ask("queue.list") == []


def test_everything_that_is_not_honoured_is_told_at_once_and_nothing_is_made(tmp_path):
    store = tmp_path / "store"
    text = """
Resources:
  Table: {Type: AWS::DynamoDB::Table}
  Topic: {Type: AWS::SNS::Topic, Properties: {FifoTopic: true}}
  Queue: {Type: AWS::SQS::Queue, Properties: {Nonsense: 1}}
  Function:
    Type: AWS::Lambda::Function
    Properties: {Runtime: nodejs20.x, Code: {ZipFile: x}, FileSystemConfigs: []}
"""
    with deployer(store) as (service, _, connection):
        with pytest.raises(TemplateRefused) as refused:
            service.begin(asked(text, store))
        assert refused.value.reasons == (
            "Table: AWS::DynamoDB::Table is not served: leave it out, or deploy with --skip-unsupported",
            "Topic.FifoTopic: there are no FIFO topics",
            "Queue.Nonsense: it is not served",
            "Function.FileSystemConfigs: file systems are not mounted: a function reaches the machine's own",
            "Function.Runtime: nodejs20.x is not run here: python3.x and provided (a program named bootstrap) are",
        )
        assert (service.store.stacks(), connection.ask("queue.list")) == ([], [])


def test_attributes_without_effect_are_told(tmp_path):
    text = """
Resources:
  Q: {Type: AWS::SQS::Queue, Metadata: {a: b}, CreationPolicy: {ResourceSignal: {Count: 1}}, UpdatePolicy: {}}
"""
    with deployer(tmp_path) as (service, _, _):
        assert service.preview(asked(text, tmp_path)).plan.notes == (
            "Q.CreationPolicy: nothing waits for signals: a resource is complete when it is there",
            "Q.UpdatePolicy: a change is made at once",
        )


def test_what_is_not_served_can_be_left_out(tmp_path):
    store = tmp_path / "store"
    text = "Resources: {Table: {Type: AWS::DynamoDB::Table}, Q: {Type: AWS::SQS::Queue}}"
    with deployer(store) as (service, _, _):
        preview = service.preview(asked(text, store, skip_unsupported=True))
        assert preview.left_out == ("Table (AWS::DynamoDB::Table)",)
        assert list(preview.plan.resources) == ["Q"]


@pytest.mark.parametrize(
    ("resources", "text"),
    [
        (
            "A: {Type: AWS::SQS::Queue, DependsOn: B}\n  B: {Type: AWS::SQS::Queue, DependsOn: A}",
            "Circular dependency between resources: [A, B]",
        ),
        (
            "A: {Type: AWS::SQS::Queue, Properties: {QueueName: !Ref Nobody}}",
            "Unresolved resource dependencies [Nobody]",
        ),
        ("A: {Type: AWS::SQS::Queue, Properties: {VisibilityTimeout: 50000}}", "A: visibility_timeout=50000: allowed"),
        ("A: {Type: AWS::SQS::Queue, Properties: {QueueName: 'no name'}}", "A: name='no name'"),
        ("A: {Type: AWS::SQS::Queue, Properties: {QueueName: a.fifo}}", "a FIFO queue's name ends in '.fifo'"),
        (
            "A: {Type: AWS::Kinesis::Stream, Properties: {StreamModeDetails: {StreamMode: SOON}}}",
            "A: StreamModeDetails.StreamMode='SOON': allowed are PROVISIONED and ON_DEMAND",
        ),
        ("A: {Type: AWS::SQS::Queue, Nonsense: 1}", "Invalid template resource property 'Nonsense'"),
    ],
)
def test_a_template_that_cannot_be_is_refused_and_nothing_is_kept(tmp_path, resources, text):
    store = tmp_path / "store"
    with deployer(store) as (service, _, connection):
        with pytest.raises(TemplateRefused) as refused:
            service.begin(asked(f"Resources:\n  {resources}\n", store))
        assert text in str(refused.value)
        assert (service.store.stacks(), service.store.operations(), connection.ask("queue.list")) == ([], [], [])


def test_a_name_that_is_taken_fails_the_deploy_which_is_rolled_back(tmp_path):
    store = tmp_path / "store"
    text = "Resources: {First: {Type: AWS::SQS::Queue}, Second: {Type: AWS::SQS::Queue, DependsOn: First, Properties: {QueueName: mine}}}"
    with deployer(store) as (service, target, connection):
        connection.ask("queue.declare", **queue("mine"))
        service.begin(asked(text, store))
        assert asyncio.run(service.run("shop", target)) == "ROLLBACK_COMPLETE"
        assert "mine already exists" in service.store.stack("shop").reason
        assert [one["name"] for one in connection.ask("queue.list")] == ["mine"]
        events = [(one.status, one.logical) for one in service.store.events(service.store.stack("shop").id)]
        assert ("CREATE_FAILED", "Second") in events
        # The stack that came to nothing can be deployed again.
        service.begin(asked("Resources: {First: {Type: AWS::SQS::Queue}}", store))
        assert asyncio.run(service.run("shop", target)) == "CREATE_COMPLETE"


def test_disable_rollback_leaves_everything_as_it_is(tmp_path):
    store = tmp_path / "store"
    text = "Resources: {A: {Type: AWS::SQS::Queue}, B: {Type: AWS::SQS::Queue, DependsOn: A, Properties: {QueueName: mine}}}"
    with deployer(store) as (service, target, connection):
        connection.ask("queue.declare", **queue("mine"))
        service.begin(asked(text, store, disable_rollback=True))
        assert asyncio.run(service.run("shop", target)) == "CREATE_FAILED"
        assert list(names(service)) == ["A"]
        assert len(connection.ask("queue.list")) == 2


def test_one_operation_at_a_time(tmp_path):
    store = tmp_path / "store"
    with deployer(store) as (service, _, _):
        service.begin(asked("Resources: {A: {Type: AWS::SQS::Queue}}", store))
        with pytest.raises(ValueError, match="is in CREATE_IN_PROGRESS state and can not be updated"):
            service.begin(asked("Resources: {B: {Type: AWS::SQS::Queue}}", store))


def test_an_export_is_imported_and_its_stack_stays_while_it_is(tmp_path):
    store = tmp_path / "store"
    assert deploy(QUEUES, store) == "CREATE_COMPLETE"
    reader = "Resources: {P: {Type: AWS::SSM::Parameter, Properties: {Type: String, Value: !ImportValue orders}}}"
    with deployer(store) as (service, target, _):
        service.begin(asked(reader, store, stack="reader"))
        assert asyncio.run(service.run("reader", target)) == "CREATE_COMPLETE"
        value = service.store.resources("reader")["P"].attributes["Value"]
        assert value == names(service)["Orders"]
        with pytest.raises(ValueError, match="cannot be deleted as it is in use by reader"):
            service.begin_deletion("shop")


IMPORTS = """
Parameters: {Of: {Type: String, Default: shop}}
Conditions: {Never: !Equals [a, b]}
Resources:
  P: {Type: AWS::SSM::Parameter, Properties: {Type: String, Value: !ImportValue {"Fn::Sub": "${Of}-orders"}}}
  Q: {Type: AWS::SSM::Parameter, Condition: Never, Properties: {Type: String, Value: !ImportValue other}}
  R: {Type: AWS::SSM::Parameter, Properties: {Type: String, Value: orders}}
"""


def test_what_is_imported_is_neither_changed_nor_taken_away_and_nothing_else_is_held(tmp_path):
    """An import by `!Sub` held nothing, and a text with an export's name in it held too much."""
    text = "Resources: {Q: {Type: AWS::SQS::Queue}}\nOutputs:\n"
    both = (
        text
        + "  A: {Value: !GetAtt Q.QueueName, Export: {Name: shop-orders}}\n"
        + "  B: {Value: kept, Export: {Name: orders}}\n  C: {Value: kept, Export: {Name: other}}\n"
    )
    assert deploy(both, tmp_path) == "CREATE_COMPLETE"
    assert deploy(IMPORTS, tmp_path, stack="reader", parameters={}) == "CREATE_COMPLETE"
    with deployer(tmp_path) as (service, target, _):
        with pytest.raises(ValueError, match="Export shop-orders cannot be deleted as it is in use by reader"):
            service.begin_deletion("shop")
        changed = both.replace("!GetAtt Q.QueueName", "another")
        for asks in (service.preview, service.begin):
            with pytest.raises(TemplateRefused, match="Export shop-orders cannot be updated as it is in use by reader"):
                asks(asked(changed, tmp_path))
        service.begin(asked(text + both.splitlines()[2] + "\n", tmp_path))  # nobody imports the others
        assert asyncio.run(service.run("shop", target)) == "UPDATE_COMPLETE"
        assert [one.export for one in service.store.stack("shop").outputs] == ["shop-orders"]


def test_roles_are_made_only_when_that_is_acknowledged(tmp_path):
    store = tmp_path / "store"
    text = "Resources: {R: {Type: AWS::IAM::Role, Properties: {RoleName: mine}}}"
    with deployer(store) as (service, _, _):
        for given in ((), ("CAPABILITY_IAM",)):
            with pytest.raises(TemplateRefused) as refused:
                service.begin(asked(text, store, capabilities=given))
            assert refused.value.code == "InsufficientCapabilitiesException"
            assert str(refused.value) == "Requires capabilities : [CAPABILITY_NAMED_IAM]"


def test_a_secret_stands_in_one_table_and_in_nothing_that_is_shown(tmp_path):
    store = tmp_path / "store"
    text = """
Parameters:
  Password: {Type: String, NoEcho: true}
Resources:
  F:
    Type: AWS::Lambda::Function
    Properties:
      Runtime: python3.11
      Handler: index.handler
      Role: x
      Code: {ZipFile: "def handler(event, context): pass"}
      Environment: {Variables: {URL: !Sub "mysql://root:${Password}@db"}}
Outputs:
  Url: {Value: !Sub "mysql://root:${Password}@db"}
"""
    secret = "correct-horse-battery"
    with deployer(store) as (service, target, _):
        service.begin(asked(text, store, parameters={"Password": secret}))
        assert asyncio.run(service.run("shop", target)) == "CREATE_COMPLETE"
        stack = service.store.stack("shop")
        for question in (
            {"operation": "describe", "stack": "shop"},
            {"operation": "list"},
            {"operation": "events", "id": stack.id},
            {"operation": "parameters", "stack": "shop"},
        ):
            assert secret not in str(host.carry_out(service, question, lambda _: None))
        told = host.carry_out(service, {"operation": "describe", "stack": "shop"}, lambda _: None)["answer"]
        assert told["outputs"][0]["value"] == "mysql://root:****@db"
        (declaration,) = service.declarations("shop").values()
        before = declaration
        assert secret not in str(declaration)
        # Another value is a change, and the deploy that gives none keeps it.
        service.begin(asked(text, store, parameters={"Password": "another-one"}))
        assert asyncio.run(service.run("shop", target)) == "UPDATE_COMPLETE"
        with pytest.raises(NoChanges):
            service.begin(asked(text, store))
        (declaration,) = service.declarations("shop").values()
        assert declaration != before  # so that a running app is given the new value
    with sqlite3.connect(store / "stacks.db") as database:
        rows = [
            str(row)
            for table in ("stacks", "resources", "events")
            for row in database.execute(f"SELECT * FROM {table}")
        ]
        assert not [row for row in rows if "another-one" in row or secret in row]
    database.close()
    assert stat.S_IMODE((store / "stacks.db").stat().st_mode) == 0o600


def test_code_that_cannot_be_loaded_fails_the_deploy_in_its_own_words(tmp_path):
    store = tmp_path / "store"
    function = """
Resources:
  F:
    Type: AWS::Lambda::Function
    Properties: {Runtime: python3.11, Handler: index.handler, Role: x, Code: {ZipFile: "CODE"}}
"""
    with deployer(store) as (service, target, _):
        service.begin(asked(function.replace("CODE", "import nothing_of_that_name"), store))
        assert asyncio.run(service.run("shop", target)) == "ROLLBACK_COMPLETE"
        assert (
            "Unable to import module 'index': No module named 'nothing_of_that_name'"
            in service.store.stack("shop").reason
        )
        service.begin(asked(function.replace("CODE", "def handler(event, context): pass"), store))
        assert asyncio.run(service.run("shop", target)) == "CREATE_COMPLETE"
        before = service.store.resources("shop")
        service.begin(asked(function.replace("CODE", "def other(event, context): pass"), store))
        assert asyncio.run(service.run("shop", target)) == "UPDATE_ROLLBACK_COMPLETE"
        assert "Handler 'handler' missing on module 'index'" in service.store.stack("shop").reason
        assert service.store.resources("shop") == before


def test_a_backup_has_the_stacks_and_their_code(tmp_path):
    store, copy = tmp_path / "store", tmp_path / "copy"
    text = "Resources: {F: {Type: AWS::Lambda::Function, Properties: {Runtime: python3.11, Handler: app.handler, Role: x, Code: src}}}"
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "app.py").write_text("def handler(event, context): pass\n")
    assert deploy(text, store, tmp_path) == "CREATE_COMPLETE"
    forebay("backup", copy, "--store", store)
    with deployer(copy) as (service, _, _):
        (function,) = service.store.resources("shop").values()
        code = copy / "stacks" / function.properties["Code"]["S3Key"] / "app.py"
        assert code.read_text() == "def handler(event, context): pass\n"


@pytest.mark.parametrize(("version", "tags"), [(1, {}), (2, {"team": "shop"})])
def test_the_file_of_an_earlier_format_is_read(tmp_path, version, tags):
    """The golden files are what a stack "shop" of two queues and an export left, with a secret; since format 2 it has a tag."""
    shutil.copyfile(GOLDEN / f"stacks-v{version}.db", tmp_path / "stacks.db")
    kept = StackStore(tmp_path)
    try:
        stack = kept.stack("shop")
        assert (stack.status, stack.region, stack.parameters.secrets) == (
            "CREATE_COMPLETE",
            "us-east-1",
            {"Word": "swordfish"},
        )
        assert stack.tags == tags
        assert list(kept.resources("shop")) == ["Failed", "Orders"]
        assert [(one.key, one.export) for one in stack.outputs] == [("Orders", "orders")]
        assert len(kept.events(stack.id)) == 6
    finally:
        kept.close()


def test_programs_that_make_the_file_together_all_open_it(tmp_path):
    """SQLite refused all but the first at once, and `forebay deploy` ended with a traceback: "database is locked"."""
    begin = threading.Barrier(4)

    def opened(directory):
        begin.wait()
        StackStore(directory).close()

    with ThreadPoolExecutor(4) as programs:
        for number in range(25):
            directory = tmp_path / str(number)
            directory.mkdir()
            list(programs.map(opened, [directory] * 4))


def test_a_file_of_a_newer_release_is_refused_and_stays_as_it_is(tmp_path):
    StackStore(tmp_path).close()
    with sqlite3.connect(tmp_path / "stacks.db") as database:
        database.execute(f"PRAGMA user_version={FORMAT + 1}")
    database.close()
    with pytest.raises(StoreNewerFormat, match="use a newer one"):
        StackStore(tmp_path)


def queue(name):
    return {
        "name": name,
        "visibility_timeout_ms": 30_000,
        "delay_ms": 0,
        "retention_ms": 345_600_000,
        "content_based_deduplication": False,
        "deduplication_scope": "queue",
        "dead_letter_queue": None,
        "maximum_receive_count": 10,
    }


def test_the_place_of_a_deploy_is_the_apps(tmp_path):
    store = tmp_path / "store"
    assert deploy(QUEUES, store) == "CREATE_COMPLETE"
    with deployer(store) as (service, _, _):
        assert service.store.stack("shop").id.startswith(
            f"arn:aws:cloudformation:{PLACE.region}:{PLACE.account}:stack/shop/"
        )
