#!/bin/sh
# Runs a class of the Kafka installed beside this file: run-class [java options] class [arguments].
jars="$(dirname "$(dirname "$(readlink -f "$0")")")/jars"
if [ "$*" = --version ]; then
    echo "version $(java -cp "$jars/*" kafka.Kafka --version)"
else
    exec java -cp "$jars/*" "$@"
fi
