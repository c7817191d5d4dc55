#!/bin/sh
# All that a program needs which ships logs and metrics, and all that a reader of them needs.
#
#   KAFKA_ACLS="kafka-acls.sh --bootstrap-server kafka:9093 --command-config admin.properties" sh acls.sh
set -eu
: "${KAFKA_ACLS:?expected the command kafka-acls.sh with its servers and its command config}"
: "${WRITER:=User:myapp}" "${READER:=User:reader}" "${GROUP:=reader}" "${LOGS:=logs}" "${METRICS:=metrics}"

# Describe comes with Write and with Read, and idempotent writing with Write. With dead_letter=True a writer also writes
# to the topics logs.dlq and metrics.dlq. Topics are made beforehand: a program that may make them may make any.
$KAFKA_ACLS --add --allow-principal "$WRITER" --operation Write --topic "$LOGS" --topic "$METRICS"

$KAFKA_ACLS --add --allow-principal "$READER" --operation Read --topic "$LOGS" --topic "$METRICS"
$KAFKA_ACLS --add --allow-principal "$READER" --operation Read --group "$GROUP"
