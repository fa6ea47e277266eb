#!/bin/sh
# Translates what is said: a plugin in shell. translate.sh HOST PORT NODE LANGUAGE, with mosquitto-clients and jq.
# The translation becomes an event of the microphone: `stream` makes the daemon publish the reply as its `answer`.
set -eu
host=$1 port=$2 node=$3 language=$4

# A request with a response topic of its own; prints {"id", "ok", "data" or "error"}.
ask() {
  mosquitto_rr -h "$host" -p "$port" -V mqttv5 -q 1 -W 120 -t "hearth/$node/request/$1" -e "examples/$$/answer" -m "$2"
}

mosquitto_sub -h "$host" -p "$port" -q 1 -t "hearth/$node/out/+/transcript" | while IFS= read -r event; do
  request=$(printf '%s' "$event" | jq -c --arg language "$language" \
    '{id, stream, maxTokens: 64, prompt: "Translate into \($language): \(.text)"}')
  ask generate "$request" |
    jq -r 'if .ok then .data.text else "\(.error.code): \(.error.message)" end'
done
