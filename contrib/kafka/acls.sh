#!/bin/sh
# All that a program needs which ships logs and metrics, and all that a reader of them needs.
#
#   KAFKA_ACLS="kafka-acls.sh --bootstrap-server kafka:9093 --command-config admin.properties" sh acls.sh
set -eu
: "${KAFKA_ACLS:?expected the command kafka-acls.sh with its servers and its command config}"

WRITER=User:myapp
READER=User:reader
GROUP=myapp-reader

# Describe comes with Write and with Read. Idempotent writing needs no more than Write since Kafka 3.0.
for topic in logs metrics; do
    $KAFKA_ACLS --add --allow-principal "$WRITER" --operation Write --topic "$topic"
    $KAFKA_ACLS --add --allow-principal "$READER" --operation Read --topic "$topic"
done

$KAFKA_ACLS --add --allow-principal "$READER" --operation Read --group "$GROUP"

# With dead_letter=True a writer also writes to logs.dlq and metrics.dlq. Topics are made beforehand: a program that may
# make topics may make any.
