"""Print the execution records of the local run, and fail unless one of them has the status.

usage: records.py STATUS, with the settings of .local/env in the environment
"""

import os
import sys

import boto3

items = boto3.resource("dynamodb").Table(os.environ["TRIGGERS_TABLE_NAME"]).scan()["Items"]
records = [item for item in items if item["SK"].startswith("EXECUTION#")]
for record in records:
    print(record["triggerId"], record["executionId"], record["status"])
sys.exit(not any(record["status"] == sys.argv[1] for record in records))
