"""Names of the files and folders in a run's directory, and in the project in it."""

SPEC_FILE = "spec.json"
ADOPTED_FILE = "adopted.json"
ADOPTED_SPEC_FILE = "spec.toml"
ENVIRONMENT_FILE = "environment.json"
BASIC_FILE = "manifest-basic.json"
EXTENDED_FILE = "manifest-extended.json"
CASES_FILE = "cases.toml"
TEST_FILE = "test-result.json"
JUNIT_FILE = "test-result.xml"
PAGE_FILE = "test-result.html"
LOG_FILE = "failure.log"

PROJECT = "project"
TEST = "test"
ENVIRONMENT = "environment"
CONTAINER = "container"

# In the project.
CONFIG_FILE = "config.json"
EXAMPLES = "examples"  # first part of the names of a user's examples
SETTINGS_FILE = "extended.json"
PLAN_FILE = "plan.json"
ARTEFACTS = "artefacts"
METRICS = f"{ARTEFACTS}/metrics"
WORKLOAD_FILE = f"{ARTEFACTS}/workload.json"
VARIANTS_FILE = f"{ARTEFACTS}/variants.json"
PIPELINE_FILE = f"{ARTEFACTS}/pipeline.json"
