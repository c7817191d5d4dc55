#!/bin/sh
# Runs the registry installed beside this file: apicurio [java options].
jars="$(dirname "$(dirname "$(readlink -f "$0")")")/jars"
if [ "$*" = --version ]; then
    echo "version $(ls "$jars" | sed -n 's/^apicurio-registry-app-\([0-9.]*[0-9]\).*-runner\.jar$/\1/p')"
else
    exec java "$@" -cp "$(ls "$jars"/*-runner.jar):$jars/lib/*" io.quarkus.runner.GeneratedMain
fi
